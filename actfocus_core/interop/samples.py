"""``Sample``: one rollout as read from a file, as messages, as text, or as exact token ids."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actfocus_core.interop.sources import Record, check_text
from actfocus_core.trajectory import Component, TokenKind

SAMPLED = 255
"""In ``kinds``: the policy sampled the token; a span rule later determines its kind."""
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "text": "user",
}


@dataclass(frozen=True)
class Message:
    """One message of a dialogue; ``role`` is system, user, assistant or tool."""

    role: str
    content: str
    sampled: bool = True
    """False: an assistant's message that is context and was not sampled here"""


@dataclass(frozen=True)
class Part:
    """A piece of plain text and its kind, SAMPLED if the policy wrote it."""

    text: str
    kind: int


@dataclass(frozen=True)
class Tokens:
    """The exact token stream."""

    ids: np.ndarray
    """int32 [T]"""
    sampled: np.ndarray
    """bool [T]"""
    logprobs: np.ndarray
    """float32 [T], NaN where not scored"""
    signals: dict[str, np.ndarray] = field(default_factory=dict)
    """name -> float32 [T]"""
    kinds: np.ndarray | None = None
    """uint8 [T], SAMPLED or a TokenKind; None where only ``sampled`` is known"""


@dataclass
class Sample:
    """One rollout as read from a file."""

    where: str
    """Its file and line, for messages"""
    content: list[Message] | list[Part] | Tokens
    group: str
    """Name of the prompt, unique in its step"""
    step: int = 0
    env: str = ""
    model: str = ""
    reward: float = float("nan")
    """NaN: never scored"""
    success: bool | None = None
    """None: not in the file"""
    terminated: bool = True
    truncated: bool = False
    advantage: float | None = None
    """The advantage of every sampled token"""
    rollout: str = ""
    """Name of the rollout, unique in its group, which its samples share; empty if the sample is a whole rollout"""
    columns: dict[str, str | bool | int | float | None] = field(default_factory=dict)
    """As ``Trajectory.columns``"""
    rewards: dict[str, Component] = field(default_factory=dict)
    """As ``Trajectory.rewards``"""
    error: str = ""
    stop_reason: str = ""


@dataclass(frozen=True)
class LeftOut:
    """An item of a file that is not a rollout to train on."""

    what: str
    """The kind of the item, in the plural"""


def on_sampled(value: float, sampled: np.ndarray) -> np.ndarray:
    """float32 [T]: ``value`` on the sampled tokens, NaN elsewhere; infinite where float32 overflows."""
    with np.errstate(over="ignore"):
        return np.where(sampled, np.float64(value), np.nan).astype(np.float32)


def digest(*parts: object) -> str:
    """A short name of a prompt, equal for equal prompts."""
    return hashlib.sha1(json.dumps(parts, default=repr).encode("utf-8", "replace")).hexdigest()[:12]


def messages_of(record: Record, name: str) -> list[Message]:
    """The messages of a field; reasoning and tool calls become part of the text."""
    return [_message(item) for item in record.records(name)]


def dialogue_or_text(record: Record, name: str) -> list[Message] | str:
    """A prompt or completion, as messages or one string."""
    value = record.value.get(name)
    return messages_of(record, name) if isinstance(value, list) else record.text(name)


def _message(record: Record) -> Message:
    role = record.text("role").lower()
    if role not in _ROLES:
        raise record.error("'role'", f"is {role[:40]!r}; it must be one of {', '.join(_ROLES)}")
    reasoning = record.text("reasoning_content", "") or record.text("reasoning", "")
    text = _content(record)
    if reasoning:
        text = f"<think>\n{reasoning}\n</think>\n{text}"
    calls = record.get("tool_calls", list, "a list of tool calls", ())
    return Message(_ROLES[role], "\n".join([*([text] if text else []), *(_tool_call(record, c) for c in calls)]))


def _content(record: Record) -> str:
    content = record.get("content", (str, list), "a string or a list of parts", "")
    if isinstance(content, str):
        return check_text(content, f"{record.where}: 'content'")
    return "".join(
        part.text("text") if part.value.get("type", "text") == "text" else f"[{part.text('type')}]"
        for part in record.records("content")
    )


def _tool_call(record: Record, call: Any) -> str:
    """A tool call as text, formatted as in the Hermes and Qwen templates."""
    if isinstance(call, str):
        # Some programs write each call as a string of JSON.
        try:
            call = json.loads(call)
        except (ValueError, RecursionError):
            return f"<tool_call>\n{check_text(call, record.where)}\n</tool_call>"
    if not isinstance(call, dict):
        raise record.error("'tool_calls'", 'holds no object; a call is {"function": {"name", "arguments"}}')
    inner = call.get("function")
    function = inner if isinstance(inner, dict) else call
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str):
        raise record.error("'tool_calls'", 'holds a call without a name; a call is {"function": {"name", "arguments"}}')
    if isinstance(arguments, str):
        # Arguments that are not JSON stay a string.
        with suppress(ValueError, RecursionError):
            arguments = json.loads(arguments)
    shown = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{check_text(shown, record.where)}\n</tool_call>"


def prompt_and_completion(record: Record, prompt: str, completion: str) -> list[Message] | list[Part]:
    """The content of a record with separate fields for the prompt and the completion."""
    context, reply = dialogue_or_text(record, prompt), dialogue_or_text(record, completion)
    if isinstance(context, str) and isinstance(reply, str):
        return [Part(context, TokenKind.USER), Part(reply, SAMPLED)]
    messages = [Message("user", context)] if isinstance(context, str) else context
    return messages + ([Message("assistant", reply)] if isinstance(reply, str) else reply)
