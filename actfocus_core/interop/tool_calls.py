"""Tool calls as other programs write them, laid out as the Hermes and Qwen templates do.

Known layouts: OpenAI's ``{"function": {"name", "arguments"}}``, the older ``function_call``, LangChain's ``args``,
Anthropic's ``tool_use`` with ``input``, Llama's and Cohere's ``parameters``, ``{"custom": {"name", "input"}}``, and a call
written as a string of JSON.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from actfocus_core.interop.reading import Record, check_text

ARGUMENTS = ("arguments", "args", "parameters", "input", "kwargs")
"""The keys of a call's arguments, the first of which is used."""
_OTHER_KEYS = {"name", "id", "call_id", "type", "index", "function", "custom", "status", "caller", "thought_signature"}
NO_ARGUMENTS = "tool calls whose arguments have an unknown name"


def call_text(record: Record, call: Any, field: str, *, from_table: bool = False) -> tuple[str, str]:
    """One tool call as text, and what of it was not read (empty if everything was).

    ``field``: the call's field, for messages. ``from_table``: the call is from a table, in which Arrow gives every object
    all keys that occur in the column, with null for those that were absent; keys that are null are left out.
    Raises ActFocusError for a call without a name.
    """
    if isinstance(call, str):
        text = call
        call = parsed(call)
        if not isinstance(call, dict):
            return _tagged(text, record), ""
    if not isinstance(call, dict):
        raise record.error(repr(field), 'holds no object; a call is {"function": {"name", "arguments"}}')
    call = without_nulls(call) if from_table else call
    function = next((call[name] for name in ("function", "custom") if isinstance(call.get(name), dict)), call)
    name = function.get("name", call.get("name"))
    if not isinstance(name, str):
        raise record.error(repr(field), 'holds a call without a name; a call is {"function": {"name", "arguments"}}')
    key = next((key for key in ARGUMENTS if function.get(key) is not None), None)
    unread = NO_ARGUMENTS if key is None and set(function) - _OTHER_KEYS - set(ARGUMENTS) else ""
    arguments = {} if key is None else parsed(function[key])
    shown = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return _tagged(shown, record), unread


def without_nulls(value: Any) -> Any:
    """The value without the keys of objects that are null, at any depth."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return value


def parsed(value: Any) -> Any:
    """The value of a string of JSON; what is not JSON stays a string."""
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _tagged(text: str, record: Record) -> str:
    return f"<tool_call>\n{check_text(text, record.where)}\n</tool_call>"
