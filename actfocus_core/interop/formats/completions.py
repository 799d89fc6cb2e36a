"""Logged calls of a chat completions or Responses API: a request and its response in one record.

Source: vLLM's ``entrypoints/openai/chat_completion/protocol.py``, which follows OpenAI's API. Known layouts
are ``{"request", "response"}``, also with a ``body`` in each, and ``{"messages", "response"}`` or ``{"messages",
"choices"}``. The ids of vLLM are exact. Log-probs are kept if each token's text is that of exactly one token of the
tokenizer. A call is a rollout, and each of several choices is one of its group, unless the record names a rollout or
session: then its calls are the turns of one rollout, in the order of the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actfocus_core.interop.contexts import chained, dialogues, turn
from actfocus_core.interop.fields import error_text, scalars, success_of
from actfocus_core.interop.formats.chat import PER_TURN, STEP, SUCCESS, with_reward
from actfocus_core.interop.formats.preparation import Prepared
from actfocus_core.interop.gathering import Gathering, Turns
from actfocus_core.interop.logprobs import parsed_pieces, scored
from actfocus_core.interop.messages import Message, as_context, messages_of
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import RECORDED, Content, LeftOut, Sample, Tokens
from actfocus_core.interop.scored import UNREAD_SCORES

_ROLLOUT = ("rollout_id", "trajectory_id", "episode_id", "session_id", "conversation_id")
"""Fields of a record, its metadata or the request that name the rollout of a call"""
_KNOWN = {"request", "response", "messages", "choices", "prompt", "group", "env", "model", "error", "id", "object"}
_KNOWN |= {"reward", "score", "rewards", "created", *STEP, *SUCCESS, *_ROLLOUT}
WITHOUT_CHOICE = "calls without a choice (errors, or calls that were cancelled)"


def matches(fields: dict[str, Any]) -> bool:
    request, response = _body(fields.get("request")), _body(fields.get("response"))
    asked = "messages" in fields or any(name in request for name in ("messages", "input", "prompt"))
    return asked and any(isinstance(holder.get(name), list) for holder in (response, fields) for name in _ANSWERS)


_ANSWERS = ("choices", "output")


def _body(value: Any) -> dict[str, Any]:
    """A request or response, possibly inside an envelope of HTTP."""
    inner = value.get("body") if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else value if isinstance(value, dict) else {}


def samples(record: Record, file: DataFile) -> Iterator[Sample | LeftOut]:
    """Each choice of a call as a rollout."""
    for item in _calls(record, file):
        yield from [item] if isinstance(item, LeftOut) else _rollout([item[1]], file.path)


def prepared(files: list[DataFile], given: Sequence[str] | None, omissions: Omissions) -> Prepared:
    """Joins the calls of a rollout."""
    gathering = Gathering(files, _calls, _rollout)
    return Prepared(gathering.samples, finish=gathering.finish)


@dataclass(frozen=True)
class _Call:
    """One choice of a call."""

    record: Record
    before: list[Message]
    reply: list[Message]
    tokens: tuple[Tokens, int] | None
    """with the length of the prompt; None if the ids are not given"""
    model: str
    stop: str
    rewarded: Record
    """Where its reward stands: the choice, if the call has several"""
    unread: tuple[str, ...] = ()


def _calls(record: Record, file: DataFile) -> Turns[_Call]:
    request = Record(_body(record.value.get("request")) or record.value, f"{record.where}: 'request'")
    response = Record(_body(record.value.get("response")) or record.value, f"{record.where}: 'response'")
    before = as_context(_asked(request))
    model = response.text("model", "") or request.text("model", "")
    name = _name(record, request)
    if "output" in response and "choices" not in response:
        yield name or record.where, _responses(record, response, before, model)
        return
    choices = response.records("choices") if "choices" in response else []
    for number, choice in enumerate(choices):
        own = f"{record.where} {number}" if len(choices) > 1 or not name else name
        call = _choice(record, response, choice, before, model)
        yield own, replace(call, rewarded=choice) if len(choices) > 1 else call
    if not choices:
        yield LeftOut(WITHOUT_CHOICE)


def _name(record: Record, request: Record) -> str:
    """What the record, its metadata or the request calls the rollout of the call; empty if none does."""
    metadata = record.value.get("metadata")
    holders = [record, *([Record(metadata, record.where)] if isinstance(metadata, dict) else []), request]
    return next((holder.key(name) for holder in holders for name in _ROLLOUT if name in holder), "")


def _asked(request: Record) -> list[Message]:
    """The messages of a request."""
    name = next((name for name in ("messages", "input", "prompt") if name in request), "messages")
    instructions = request.text("instructions", "")
    items: list[Any] = [{"role": "system", "content": instructions}] if instructions else []
    asked = request.get(name, (str, list), "a string or a list of messages")
    items += [{"role": "user", "content": request.text(name)}] if isinstance(asked, str) else asked
    return messages_of(Record({name: items}, request.where), name)


def _choice(record: Record, response: Record, choice: Record, before: list[Message], model: str) -> _Call:
    if "message" in choice:
        reply = messages_of(Record({"message": [choice.record("message").value]}, choice.where), "message")
    else:
        reply = [Message("assistant", choice.text("text"))]
    tokens, known = _exact(response, choice), scored(choice)
    unread: tuple[str, ...] = ()
    if tokens is None and known is not None:
        pieces = parsed_pieces(choice.record("message").value) if "message" in choice else ()
        reply = [replace(reply[0], scored=replace(known, pieces=pieces)), *reply[1:]]
    elif tokens is not None and known is not None:
        if len(known.tokens) == len(tokens[0].ids) - tokens[1]:
            tokens = turn(tokens[0].ids[: tokens[1]], tokens[0].ids[tokens[1] :], known.scores["logprob"])
        else:
            unread = (UNREAD_SCORES,)
    return _Call(record, before, reply, tokens, model, choice.text("finish_reason", "") or "", record, unread)


def _exact(response: Record, choice: Record) -> tuple[Tokens, int] | None:
    """The tokens of a choice if the server returned ids."""
    holder = next((holder for holder in (response, choice) if holder.value.get("prompt_token_ids")), None)
    if holder is None or not choice.value.get("token_ids"):
        return None
    return turn(holder.ids("prompt_token_ids"), choice.ids("token_ids"))


def _responses(record: Record, response: Record, before: list[Message], model: str) -> _Call:
    """The output of a Responses API, whose text may have log-probs."""
    reply = messages_of(response, "output")
    contents = [item.value.get("content") for item in response.records("output")]
    parts = [
        Record(part, response.where)
        for content in contents
        for part in (content if isinstance(content, list) else ())
        if isinstance(part, dict) and part.get("logprobs")
    ]
    unread: tuple[str, ...] = ()
    if len(parts) == 1 and len(reply) == 1:
        reply = [replace(reply[0], scored=scored(parts[0]))]
    elif parts:
        unread = (UNREAD_SCORES,) * len(parts)
    incomplete = response.value.get("incomplete_details")
    stop = str(incomplete.get("reason", "")) if isinstance(incomplete, dict) else ""
    return _Call(record, before, reply, None, model, stop, record, unread)


def _rollout(calls: list[_Call], file: Path) -> Iterator[Sample]:
    """The samples of a rollout, one per context."""
    last = calls[-1]
    contexts: list[tuple[Content, int, list[int]]]
    if all(call.tokens for call in calls):
        contexts = [*chained(call.tokens for call in calls if call.tokens)]
    else:
        contexts = [(content, 0, turns) for content, turns in dialogues((c.before, c.reply) for c in calls)]
    scores = [with_reward(Sample(call.record.where, []), call.rewarded) for call in calls]
    rewards = tuple(score.reward for score in scores)
    stated = [score for score in scores if not math.isnan(score.reward)]
    truncated = last.stop in ("length", "max_output_tokens") or last.record.flag("truncated", False)
    for content, shared, turns in contexts:
        yield Sample(
            last.record.where,
            content,
            calls[0].record.key("group", ""),
            step=next((last.record.integer(name) for name in STEP if name in last.record), None),
            env=last.record.text("env", ""),
            model=last.model,
            reward=sum(score.reward for score in stated) if stated else math.nan,
            rewards=stated[0].rewards if len(stated) == 1 else {},
            rewards_by=PER_TURN if len(stated) > 1 else RECORDED,
            turn_rewards=tuple(rewards[n] for n in turns) if len(stated) == len(calls) > 1 else None,
            success=success_of(last.record, SUCCESS),
            terminated=not truncated,
            truncated=truncated,
            rollout=last.record.where if len(contexts) > 1 else "",
            shared=shared,
            columns=scalars(last.record, _KNOWN),
            error=error_text(last.record),
            stop_reason=last.stop,
            mask_by=RECORDED,
            unread=tuple(kind for call in calls for kind in call.unread) if 0 in turns else (),
        )
