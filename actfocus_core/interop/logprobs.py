"""Log-probs of a reply as servers return them, one entry per token of text.

Known layouts: OpenAI's ``{"content": [{"token", "logprob", "bytes"}]}``, also as the list itself in the Responses API,
and that of completions, ``{"tokens": [...], "token_logprobs": [...]}``. vLLM can write ``token_id:7`` in place of a
token's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from actfocus_core.interop.messages import REASONING_FIELDS
from actfocus_core.interop.reading import Record
from actfocus_core.interop.scored import LOGPROB, Scored

_TOKEN_ID = re.compile(r"token_id:([0-9]{1,9})")


def scored(record: Record, name: str = "logprobs") -> Scored | None:
    """The tokens of the field with their log-probs; None if there are none. Raises ActFocusError for another layout."""
    value = record.value.get(name)
    if not value:
        return None
    if isinstance(value, dict) and "tokens" in value:
        tokens = record.record(name)
        texts = tokens.items("tokens", {str}, "texts of tokens")
        known = tuple(_token(text) for text in texts)
        return Scored(known, {LOGPROB: tokens.floats("token_logprobs", len(texts))})
    entries = record.record(name) if isinstance(value, dict) else record
    field = "content" if isinstance(value, dict) else name
    if not entries.value.get(field):
        return None
    items = entries.records(field)
    return Scored(
        tuple(map(_entry, items)), {LOGPROB: np.array([item.number("logprob") for item in items], np.float32)}
    )


def parsed_pieces(message: dict[str, Any]) -> tuple[str, ...]:
    """``Scored.pieces`` of a message: empty unless a server parsed reasoning or calls out of its tokens."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    reasoning = [
        *_texts([message], REASONING_FIELDS),
        *_texts([p for p in parts if _is_reasoning(p)], ("reasoning", "text")),
    ]
    calls = message.get("tool_calls")
    functions = (
        [call.get("function", call) for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    )
    names = list(_texts([one for one in functions if isinstance(one, dict)], ("name",)))
    if not reasoning and not names:
        return ()
    text = [content] if isinstance(content, str) else _texts([p for p in parts if not _is_reasoning(p)], ("text",))
    return tuple(piece.strip() for piece in (*reasoning, *text, *names) if piece.strip())


def _texts(items: list[Any], names: tuple[str, ...]) -> Iterator[str]:
    return (item[name] for item in items if isinstance(item, dict) for name in names if isinstance(item.get(name), str))


def _is_reasoning(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in ("reasoning", "thinking")


def _entry(item: Record) -> bytes | int:
    """A token by its bytes, else by its text, which shows bytes that are no character as U+FFFD."""
    text = item.text("token")
    token = _token(text)
    if isinstance(token, int) or "bytes" not in item:
        return token
    values = item.items("bytes", {int}, "bytes")
    return item.within("bytes", values, 0, 255).astype(np.uint8).tobytes()


def _token(text: str) -> bytes | int:
    by_id = _TOKEN_ID.fullmatch(text)
    return int(by_id[1]) if by_id else text.encode("utf-8", "replace")
