"""What a reader takes out of a file: one rollout, as messages, as text, or as exact token ids."""

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
"""In ``kinds``: the policy wrote the token; a span rule will say of which kind it is."""
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
    """False: an assistant's message that the policy read and did not write here"""


@dataclass(frozen=True)
class Part:
    """A piece of plain text and who wrote it; SAMPLED where the policy did."""

    text: str
    kind: int


@dataclass(frozen=True)
class Tokens:
    """The exact stream. ``kinds`` is uint8 [T]: SAMPLED, a TokenKind, or None where unknown but
    for ``sampled``, bool [T]."""

    ids: np.ndarray
    sampled: np.ndarray
    logprobs: np.ndarray
    """float32 [T], NaN where not scored"""
    signals: dict[str, np.ndarray] = field(default_factory=dict)
    """name -> float32 [T]"""
    kinds: np.ndarray | None = None


@dataclass
class Sample:
    """One rollout as it was read. NaN reward: never scored."""

    where: str
    content: list[Message] | list[Part] | Tokens
    group: str
    """The prompt's name, unique in its step."""
    step: int = 0
    env: str = ""
    model: str = ""
    reward: float = float("nan")
    success: bool | None = None
    """None: the file does not say"""
    terminated: bool = True
    truncated: bool = False
    advantage: float | None = None
    """One number for all sampled tokens."""
    rollout: str = ""
    """Samples of one rollout share this name, unique in its group; empty for a rollout of its own."""
    columns: dict[str, str | bool | int | float | None] = field(default_factory=dict)
    """As ``Trajectory.columns``"""
    rewards: dict[str, Component] = field(default_factory=dict)
    """As ``Trajectory.rewards``"""
    error: str = ""
    stop_reason: str = ""


@dataclass(frozen=True)
class LeftOut:
    """Something in a file that is no rollout to train on."""

    what: str
    """What such things are called, in the plural"""


def on_sampled(value: float, sampled: np.ndarray) -> np.ndarray:
    """float32 [T]: one number on the sampled tokens, NaN elsewhere; too large is infinite."""
    with np.errstate(over="ignore"):
        return np.where(sampled, np.float64(value), np.nan).astype(np.float32)


def digest(*parts: object) -> str:
    """A short name for a prompt: equal for equal prompts."""
    return hashlib.sha1(json.dumps(parts, default=repr).encode("utf-8", "replace")).hexdigest()[:12]


def messages_of(record: Record, name: str) -> list[Message]:
    """A field that is a list of messages; tool calls and thoughts are put into the text."""
    return [_message(item) for item in record.records(name)]


def dialogue_or_text(record: Record, name: str) -> list[Message] | str:
    """A prompt or completion: messages, or one string."""
    value = record.value.get(name)
    return messages_of(record, name) if isinstance(value, list) else record.text(name)


def _message(record: Record) -> Message:
    role = record.text("role").lower()
    if role not in _ROLES:
        raise record.error("'role'", f"is {role[:40]!r}; it must be one of {', '.join(_ROLES)}")
    thought = record.text("reasoning_content", "") or record.text("reasoning", "")
    text = _content(record)
    if thought:
        text = f"<think>\n{thought}\n</think>\n{text}"
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
    """A tool call as text, in the manner of the Hermes and Qwen templates."""
    if isinstance(call, str):
        # As some programs write them: each call a string of JSON.
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
        # Arguments that are no JSON are shown as the string they are.
        with suppress(ValueError, RecursionError):
            arguments = json.loads(arguments)
    shown = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{check_text(shown, record.where)}\n</tool_call>"


def prompt_and_completion(record: Record, prompt: str, completion: str) -> list[Message] | list[Part]:
    """The content of a record that keeps what was read and what was written apart."""
    first, second = dialogue_or_text(record, prompt), dialogue_or_text(record, completion)
    if isinstance(first, str) and isinstance(second, str):
        return [Part(first, TokenKind.USER), Part(second, SAMPLED)]
    before = [Message("user", first)] if isinstance(first, str) else first
    return before + ([Message("assistant", second)] if isinstance(second, str) else second)
