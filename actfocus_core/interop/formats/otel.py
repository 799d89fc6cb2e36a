"""OpenTelemetry's spans of calls of a model, with the messages in attributes ``gen_ai.*`` or in events.

Source: ``docs/gen-ai`` of open-telemetry/semantic-conventions-genai; files of one object per span are those of
``Span.to_json`` of the Python SDK 1.45, and of OTLP those of its published JSON encoding. A conversation, else a trace, is a rollout, and its calls are the turns,
in the order in which they began. Spans of agents repeat the messages of their calls; they are read where a trace has
no span of a call. ``gen_ai.evaluation.result`` is a component of the reward, or the reward if there is only one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actfocus_core.interop.contexts import dialogues
from actfocus_core.interop.fields import NAN
from actfocus_core.interop.formats.otel_spans import Span, messages, spans
from actfocus_core.interop.formats.preparation import Prepared
from actfocus_core.interop.gathering import Gathering, Turns
from actfocus_core.interop.messages import Message
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import RECORDED, LeftOut, Sample
from actfocus_core.trajectory import Component

CALLS = ("chat", "generate_content", "text_completion")
AGENTS = ("invoke_agent", "invoke_workflow")
OTHER_SPANS = "spans that are no calls of a model"
WITHOUT_SPANS = "documents without a span"
WITHOUT_MESSAGES = "calls of a model whose messages were not recorded (capturing them is off by default)"
AGENT_SPANS = "spans of agents, which repeat the messages of their calls"
SEVERAL_SCORES = "sets of several evaluations, of which no one says which is the reward"


def matches(fields: dict[str, Any]) -> bool:
    names = set(fields)
    flat = {"name", "context", "parent_id", "attributes"} <= names or {"traceId", "spanId", "attributes"} <= names
    return "resourceSpans" in fields or "resource_spans" in fields or flat


def samples(record: Record, file: DataFile) -> Iterator[Sample | LeftOut]:
    """The rollouts of one record; ``prepared`` joins those whose spans stand in several."""
    found: dict[str, list[_Item]] = {}
    for item in _items(record, file):
        if isinstance(item, LeftOut):
            yield item
        else:
            found.setdefault(item[0], []).append(item[1])
    for items in found.values():
        yield from _rollout(items, file.path)


def prepared(files: list[DataFile], given: Sequence[str] | None, omissions: Omissions) -> Prepared:
    """Joins the spans of a trace, which programs write as they end."""
    gathering = Gathering(files, _items, _rollout)
    return Prepared(gathering.samples, finish=gathering.finish)


@dataclass(frozen=True)
class _Item:
    """A call, or the evaluations of one."""

    span: Span
    before: list[Message]
    reply: list[Message]
    """Empty for a span that has evaluations only"""
    is_agent: bool


def _items(record: Record, file: DataFile) -> Turns[_Item]:
    found = list(spans(record))
    if not found:
        yield LeftOut(WITHOUT_SPANS)
    for span in found:
        operation = span.attributes.text("gen_ai.operation.name", "")
        before, reply = ([], []) if operation in ("execute_tool", "embeddings", "create_agent") else messages(span)
        is_call = operation in CALLS or bool(reply and operation not in AGENTS)
        if reply:
            yield span.rollout, _Item(span, before, reply, operation in AGENTS)
        elif span.evaluations:
            yield span.rollout, _Item(span, [], [], False)
        else:
            yield LeftOut(WITHOUT_MESSAGES if is_call else OTHER_SPANS)


def _rollout(items: list[_Item], file: Path) -> Iterator[Sample | LeftOut]:
    """The samples of a conversation or trace, one per dialogue."""
    items = sorted(items, key=lambda item: item.span.start)
    calls = [item for item in items if item.reply and not item.is_agent]
    agents = [item for item in items if item.is_agent]
    yield from [LeftOut(AGENT_SPANS)] * (len(agents) if calls else 0)
    # Without calls, the outermost agent, which begins first, has the messages of all.
    calls = calls or agents[:1]
    if not calls:
        yield LeftOut(OTHER_SPANS)
        return
    rewards = {name: score for item in items for name, score in item.span.evaluations.items()}
    scores = list(rewards.values())
    last = calls[-1]
    truncated = last.span.stop in ("length", "max_tokens")
    contexts = dialogues((item.before, item.reply) for item in calls)
    error = next((item.span.error for item in reversed(items) if item.span.error), "")
    for number, (content, _) in enumerate(contexts):
        yield Sample(
            last.span.record.where,
            [replace(message, flagged=True) if message.role == "assistant" else message for message in content],
            env=last.span.service,
            model=last.span.model,
            reward=scores[0] if len(scores) == 1 else NAN,
            rewards={name: Component(score, 1.0 if len(scores) == 1 else NAN) for name, score in rewards.items()},
            terminated=not truncated,
            truncated=truncated,
            rollout=last.span.rollout if len(contexts) > 1 else "",
            error=error,
            stop_reason=last.span.stop,
            agent=last.span.attributes.text("gen_ai.agent.name", ""),
            columns={"trace": last.span.trace},
            mask_by=RECORDED,
            unread=(SEVERAL_SCORES,) if len(scores) > 1 and not number else (),
        )
