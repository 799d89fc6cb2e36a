"""Messages as other programs write them: OpenAI's chat and Responses, Anthropic's blocks, ShareGPT, LLaMA-Factory's parts.

A message becomes its role and its text, with reasoning in ``<think>`` tags and tool calls as the Hermes and Qwen templates
write them. Contents without a place in a text, such as images, are named in ``Message.unread``.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from actfocus_core.interop.reading import Record, check_text
from actfocus_core.interop.scored import Scored
from actfocus_core.interop.tool_calls import call_text, parsed

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "text": "user",
    "environment": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "function_response": "tool",
    "ipython": "tool",
}
"""A role in a file, in lower case -> system, user, assistant or tool."""
LOSS_FLAGS = ("sampled", "trainable", "mask", "loss_mask", "train", "weight", "loss_weight")
"""Fields of a message that state whether the trainer trained on it, or with which weight."""
LISTED_FLAGS = ("sampled", "loss_mask", "loss_weights")
"""Fields of a record with such an entry per message."""
PARTIAL_MASK = "masks of a part of a message, which say nothing about text without token ids"
REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks")
_CALLS = {"function_call", "tool_call", "tool_calls", "custom_tool_call", "tool_use", "server_tool_use"}
"""Types of items and parts that are calls."""
_RESULTS = {"function_call_output", "custom_tool_call_output", "tool_result", "tool_response", "tool_output"}
_RESULTS |= {"tool_call_response"}
_MEDIA = {"blob", "file", "uri"}
"""Types of parts whose content is not text"""
_REASONING = {
    "reasoning",
    "thinking",
    "thought",
    "reasoning_text",
    "reasoning.text",
    "reasoning.summary",
    "summary_text",
}
_TEXT_KEYS = ("text", "value", "content", "thinking", "reasoning", "refusal", "summary", "output")
"""Where a part has its text, the first of which is used."""
OTHER_REASONING = "reasoning fields that differ from the reasoning in the content"
_THOUGHT = re.compile(r"\s*<think>.*?</think>\s*", re.S)
Kind = Literal["text", "reasoning", "call"]


@dataclass(frozen=True)
class Message:
    """One message of a dialogue; ``role`` is system, user, assistant or tool."""

    role: str
    content: str
    sampled: bool = True
    """False: an assistant's message that is context: it was not sampled here, or is out of the trainer's loss"""
    loss_weight: float = 1.0
    """Factor of the message's tokens in the trainer's loss"""
    flagged: bool = False
    """Whether the file states if it was sampled or trained on"""
    in_prompt: bool = False
    """Whether the file states that it stands before the first reply"""
    unread: tuple[str, ...] = ()
    """What of it has no place in the text, in the plural"""
    scored: Scored | None = field(default=None, compare=False)
    """Its tokens with their scores, if the file has them"""


@dataclass
class _Draft:
    """A message under construction: its pieces in their order."""

    role: str
    pieces: list[tuple[Kind, str]]
    unread: list[str]

    def text(self) -> str:
        """The pieces as one text."""
        out = ""
        for kind, piece in self.pieces:
            if kind == "reasoning":
                out += f"<think>\n{piece}\n</think>\n"
            elif kind == "call":
                out += ("\n" if out and not out.endswith("\n") else "") + piece
            else:
                out += piece
        return out


def messages_of(record: Record, name: str) -> list[Message]:
    """The messages of a field. Raises ActFocusError for a message with an unknown role or without a readable content."""
    items = record.records(name)
    listed = _listed_flags(record, len(items))
    found: list[tuple[Message, bool]] = []
    for number, item in enumerate(items):
        for message, is_item in _messages(item, listed, number):
            is_item = is_item or item.value.get("type") == "message"
            if found and is_item and found[-1][1] and (merged := _merged(found[-1][0], message)):
                found[-1] = merged, True
            else:
                found.append((message, is_item))
    return [message for message, _ in found]


def dialogue_or_text(record: Record, name: str) -> list[Message] | str:
    """A prompt or completion, as messages or one string."""
    value = record.value.get(name)
    return messages_of(record, name) if isinstance(value, list) else record.text(name)


def as_context(messages: list[Message]) -> list[Message]:
    """Messages of a prompt: those of the assistant were not sampled in this rollout."""
    return [replace(message, sampled=False, in_prompt=True) for message in messages]


def _merged(first: Message, second: Message) -> Message | None:
    """Two items of one reply in a Responses API's list, its reasoning, its text or its calls; None if they are of different
    messages."""
    if not first.role == second.role == "assistant":
        return None
    flags = {(message.sampled, message.loss_weight) for message in (first, second) if message.flagged}
    if len(flags) > 1:
        return None
    flagged = first if first.flagged else second
    gap = (
        "\n" if second.content.startswith("<tool_call>") and not first.content.endswith("\n") and first.content else ""
    )
    return replace(flagged, content=first.content + gap + second.content, unread=first.unread + second.unread)


def _messages(item: Record, listed: list[list[Any]], number: int) -> list[tuple[Message, bool]]:
    """The messages of one item, and whether it is an item of a Responses API; a tool's result in a content is a message of
    its own."""
    role_field = "role" if "role" in item or "from" not in item else "from"
    kind = item.value.get("type")
    if role_field not in item and isinstance(kind, str) and kind != "message":
        return [(message, True) for message in _item(item, kind)]
    role = item.text(role_field).lower()
    if role not in ROLES:
        raise item.error(f"{role_field!r}", f"is {role[:40]!r}; it must be one of {', '.join(ROLES)}")
    draft, results = _Draft(ROLES[role], [], []), []
    _add_reasoning_fields(item, draft)
    if role in ("function_call", "tool_call"):
        _add_written_calls(item, _content_field(item), draft)
    else:
        results = _add_content(item, draft)
    _drop_repeated_reasoning(draft)
    if "tool_calls" in item:
        item.get("tool_calls", list, "a list of tool calls")
        _add_calls(item, "tool_calls", draft)
    if "function_call" in item:
        _add_calls(item, "function_call", draft)
    message = _with_flags(item, listed, number, Message(draft.role, draft.text(), unread=tuple(draft.unread)))
    tools = [(Message("tool", text), False) for text in results]
    return tools if tools and not message.content and not message.unread else [*tools, (message, kind == "message")]


def _item(item: Record, kind: str) -> list[Message]:
    """The messages of a Responses API's item without a role."""
    if kind in _CALLS:
        draft = _Draft("assistant", [], [])
        _add_call(item, item.value, "call", draft)
    elif kind in _RESULTS:
        draft = _Draft("tool", [("text", _result_text(item))], [])
    elif kind in _REASONING:
        draft = _Draft("assistant", [], [])
        _add_reasoning(item, item.value, draft)
    else:
        draft = _Draft("assistant", [], [f"items of the type {kind[:40]!r}"])
    return [Message(draft.role, draft.text(), unread=tuple(draft.unread))]


# --- the content -------------------------------------------------------------------------------


def _content_field(item: Record) -> str:
    return next((name for name in ("content", "value", "parts") if name in item), "content")


def _add_content(item: Record, draft: _Draft) -> list[str]:
    """Add the content's pieces; returns the texts of tools' results among them."""
    name = _content_field(item)
    content = item.get(name, (str, list, dict), "a string or a list of parts", "")
    if isinstance(content, str):
        if content:
            draft.pieces.append(("text", check_text(content, f"{item.where}: {name!r}")))
        return []
    if (
        isinstance(content, dict)
        and draft.role == "tool"
        and "type" not in content
        and not _text_of(Record(content, item.where))
    ):
        # The result of a tool as it was returned.
        shown = json.dumps(content, ensure_ascii=False)
        draft.pieces.append(("text", check_text(shown, f"{item.where}: {name!r}")))
        return []
    results = []
    parts = content if isinstance(content, list) else [content]
    for number, part in enumerate(parts):
        where = f"{item.where}: {name!r}[{number}]"
        if isinstance(part, str):
            draft.pieces.append(("text", check_text(part, where)))
        elif not isinstance(part, dict):
            raise item.error(f"{name!r}[{number}]", "is neither a string nor an object; a part is one of them")
        elif (result := _add_part(Record(part, where, item.from_table), draft)) is not None:
            results.append(result)
    return results


def _add_part(part: Record, draft: _Draft) -> str | None:
    """Add a part of a content; a tool's result is returned instead if the message is not the tool's own."""
    kind = part.value.get("type", "untyped")
    kind = kind if isinstance(kind, str) else "unknown"
    if kind in _CALLS:
        inner = part.value.get("value")
        calls = inner if inner is not None else part.value.get("tool_calls", part.value)
        for call in calls if isinstance(calls, list) else [calls]:
            _add_call(part, call, "value", draft)
    elif kind in _RESULTS:
        text = _result_text(part)
        if draft.role != "tool":
            return text
        draft.pieces.append(("text", text))
    elif kind in _REASONING:
        _add_reasoning(part, part.value, draft)
    elif kind not in _MEDIA and (own := _text_of(part)) is not None:
        draft.pieces.append(("text", own))
    else:
        draft.unread.append(f"{kind[:40]} parts")
    return None


def _text_of(part: Record) -> str | None:
    """The text of a part, None if it has none."""
    name = next((name for name in _TEXT_KEYS if isinstance(part.value.get(name), str)), None)
    return None if name is None else part.text(name)


def _result_text(part: Record) -> str:
    """The text of a tool's result, which is a string or a list of parts."""
    name = next((n for n in ("output", "content", "value", "text", "response", "result") if n in part), "output")
    value = part.value.get(name)
    if isinstance(value, dict) or (name in ("response", "result") and not isinstance(value, str)):
        return check_text(json.dumps(value, ensure_ascii=False), part.where)
    if isinstance(value, list):
        draft = _Draft("tool", [], [])
        _add_content(Record({"content": value}, part.where, part.from_table), draft)
        return draft.text()
    return part.text(name, "")


# --- reasoning ---------------------------------------------------------------------------------


def _add_reasoning_fields(item: Record, draft: _Draft) -> None:
    for name in REASONING_FIELDS:
        value = item.value.get(name)
        for part in value if isinstance(value, list) else [] if value is None else [value]:
            _add_reasoning(item, part, draft)


def _add_reasoning(item: Record, part: Any, draft: _Draft) -> None:
    """Add reasoning that is a string, or an object of a known layout; equal reasoning is added once."""
    if isinstance(part, dict):
        inner = next((part[n] for n in ("content", "summary") if isinstance(part.get(n), list) and part[n]), None)
        if inner is not None:
            for one in inner:
                _add_reasoning(item, one, draft)
            return
        found = next((part[name] for name in _TEXT_KEYS if isinstance(part.get(name), str)), None)
    else:
        found = part if isinstance(part, str) else None
    if found is None:
        draft.unread.append("encrypted or unreadable reasoning")
        return
    text = check_text(found, item.where)
    said = [piece.strip() for kind, piece in draft.pieces if kind == "reasoning"]
    if text.strip() and not any(text.strip() in one for one in said):
        draft.pieces.append(("reasoning", text))


def _drop_repeated_reasoning(draft: _Draft) -> None:
    """Remove reasoning of a field that the content contains too, as servers repeat it.

    A content with reasoning of its own keeps it; another text in the field is counted as unread.
    """
    content = "".join(piece for kind, piece in draft.pieces if kind == "text")
    if "</think>" not in content:
        return
    kept = [piece for kind, piece in draft.pieces if kind == "reasoning" and piece.strip() not in content]
    draft.pieces = [piece for piece in draft.pieces if piece[0] != "reasoning"]
    draft.unread += [OTHER_REASONING] * len(kept)


# --- calls and flags ---------------------------------------------------------------------------


def _add_calls(item: Record, name: str, draft: _Draft) -> None:
    """Add the call or calls of a field."""
    value = item.value.get(name)
    for call in value if isinstance(value, list) else [value]:
        _add_call(item, call, name, draft)


def _add_written_calls(item: Record, name: str, draft: _Draft) -> None:
    """Add a content that is calls: a string of JSON, of one call or a list, with reasoning before it or without."""
    value = item.value.get(name)
    if isinstance(value, str):
        thought = _THOUGHT.match(value)
        if thought:
            draft.pieces.append(("text", check_text(thought[0], item.where)))
        value = parsed(value[thought.end() if thought else 0 :])
    for call in value if isinstance(value, list) else [value]:
        _add_call(item, call, name, draft)


def _add_call(item: Record, call: Any, field: str, draft: _Draft) -> None:
    text, unread = call_text(item, call, field, from_table=item.from_table)
    draft.pieces.append(("call", text))
    if unread:
        draft.unread.append(unread)


def _with_flags(item: Record, listed: list[list[Any]], number: int, message: Message) -> Message:
    """The message with what the file states about its loss; other roles than the assistant's are never in the loss.

    ``listed``: the record's lists with an entry per message.
    """
    if message.role != "assistant":
        return message
    flags = [item.value.get(name) for name in LOSS_FLAGS] + [entries[number] for entries in listed]
    agent = item.value.get("agent")
    if isinstance(agent, dict):
        flags.append(agent.get("trainable"))
    weights = [_weight(item, flag) for flag in flags if flag is not None]
    known = [weight for weight in weights if weight is not None]
    unread = message.unread + (PARTIAL_MASK,) * (len(weights) - len(known))
    if not known:
        return replace(message, unread=unread)
    weight = math.prod(known)
    kept = weight if weight > 0 else 1.0
    return replace(message, sampled=weight > 0, loss_weight=kept, flagged=True, unread=unread)


def _weight(item: Record, flag: Any) -> float | None:
    """A flag, a weight, or a mask with an entry per token as the weight of the message; None if its tokens differ."""
    if isinstance(flag, list):
        entries = {_weight(item, one) for one in flag}
        return entries.pop() if len(entries) == 1 else None
    if isinstance(flag, str) and flag.lower() in ("true", "false"):
        flag = flag.lower() == "true"
    if type(flag) not in (bool, int, float) or not math.isfinite(flag) or flag < 0:
        raise item.error("the loss flag", f"is {str(flag)[:40]!r}; it must be true, false, or a weight of 0 or above")
    return float(flag)


def _listed_flags(record: Record, length: int) -> list[list[Any]]:
    """The record's lists of flags, with an entry for each of ``length`` messages."""
    lists = [record.value.get(name) for name in LISTED_FLAGS]
    return [
        entries
        for entries in lists
        if isinstance(entries, list) and len(entries) == length and {*map(type, entries)} <= {bool, int, float}
    ]
