"""Dialogues as messages, or as a prompt and a completion: OpenAI's format and its relatives, optionally with rewards.

``system`` is the system's message if the messages begin with none. The reward is ``reward``, else ``score``, else ``rewards``: an object of named components, a list with a number per reply,
whose sum counts, or one number. Other numbers are columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from actfocus_core.interop.fields import NAN, components, error_text, number, scalars, success_of, total
from actfocus_core.interop.messages import Message, messages_of
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import (
    BY_COMPLETION,
    RECORDED,
    Content,
    Sample,
    is_reply,
    masked_by,
    prompt_and_completion,
)
from actfocus_core.runs.provenance import Source
from actfocus_core.trajectory import Component

MESSAGES = ("messages", "conversations", "conversation")
SUCCESS = ("success", "is_success", "correct", "is_correct", "resolved", "solved")
STEP = ("step", "global_step", "step_index")
_KNOWN = {*MESSAGES, *STEP, "prompt", "completion", "reward", "score", "rewards", "group", "env", "model", "truncated"}
_KNOWN |= {"success", "error", "stop_reason"}
PER_TURN = Source(how="derived", rule="the sum of the rewards of the replies")
LISTED_REWARDS = "'rewards' that are a list without an entry per reply"


def matches(fields: dict[str, Any]) -> bool:
    return any(name in fields for name in MESSAGES) or {"prompt", "completion"} <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample]:
    name = next((name for name in MESSAGES if name in record), None)
    content: Content = messages_of(record, name) if name else prompt_and_completion(record, "prompt", "completion")
    columns = scalars(record, _KNOWN)
    if isinstance(content, list) and isinstance(record.value.get("system"), str):
        with_system = _with_system(content, record.text("system"))
        if with_system is not content:
            content = with_system
            columns.pop("system", None)
    truncated = record.flag("truncated", False)
    sample = Sample(
        record.where,
        content,
        record.key("group", ""),
        step=next((record.integer(name) for name in STEP if name in record), None),
        env=record.text("env", ""),
        model=record.text("model", ""),
        success=success_of(record, SUCCESS),
        terminated=not truncated,
        truncated=truncated,
        columns=columns,
        error=error_text(record),
        stop_reason=record.text("stop_reason", ""),
    )
    if isinstance(content, list):
        sample.mask_by = masked_by(content) if name else masked_by(content, BY_COMPLETION)
    yield with_reward(sample, record)


def _with_system(messages: list[Message], system: str) -> list[Message]:
    """The messages after the system's, which Anthropic's and ShareGPT's layouts have in a field of its own."""
    has_one = bool(messages) and messages[0].role == "system"
    if has_one or not system:
        return messages
    return [Message("system", system, in_prompt=any(message.in_prompt for message in messages)), *messages]


def with_reward(sample: Sample, record: Record) -> Sample:
    """The sample with its reward, in the order of the module's docstring."""
    for name in ("reward", "score"):
        if name in record:
            return replace(sample, reward=number(record, name))
    value = record.value.get("rewards")
    if isinstance(value, dict):
        parts = components(record, "rewards")
        return replace(sample, rewards=parts, reward=total(parts))
    if isinstance(value, list):
        return _with_listed(sample, record, value)
    return replace(sample, reward=number(record, "rewards") if value is not None else NAN)


def _with_listed(sample: Sample, record: Record, values: list[Any]) -> Sample:
    """With rewards that are a list of numbers, or of objects with a name and a score."""
    if values and all(isinstance(value, dict) for value in values):
        parts = {
            part.text("name"): Component(part.number("score"), part.number("weight", 1.0))
            for part in record.records("rewards")
        }
        return replace(sample, rewards=parts, reward=total(parts))
    replies = sum(map(is_reply, sample.content)) if isinstance(sample.content, list) else 1
    if len(values) != replies or not values:
        return replace(sample, unread=(*sample.unread, LISTED_REWARDS))
    summed = float(record.floats("rewards", replies).astype(float).sum())
    return replace(sample, reward=summed, rewards_by=PER_TURN if replies > 1 else RECORDED)
