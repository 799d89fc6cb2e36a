"""Whether a tool's result is an error: by what it states, else by how its text begins or ends."""

from __future__ import annotations

import json
import re
from typing import Any

_FAILED_WORDS = {"error", "failed", "failure", "exception"}
_CODES = ("exit_code", "exitcode", "returncode", "return_code")
_FLAGS = ("is_error", "isError")
_BEGINS = re.compile(
    r"(?:\[?(?:tool |execution |runtime |api |http )?(?:error|exception|failure)"
    r"(?: *[:!(\]\d]| *$| +(?:in|at|while|when|on|during|occurred|executing|calling|running|code)\b| +- )"
    r"|\w*(?:Error|Exception)\b *[:(]"
    r"|Traceback \(most recent call last\)"
    r"|(?:fatal|failed) *:|failed to\b|invalid (?:tool|argument|json|function)\b"
    r"|(?:/bin/)?(?:ba)?sh: .{0,200}: (?:command )?not found)",
    re.IGNORECASE | re.MULTILINE,
)
_TRACEBACK = re.compile(r"^Traceback \(most recent call last\):", re.M)
_RAISED = re.compile(r"[\w.]*(?:Error|Exception|Interrupt|Exit)\b")
_LONGEST = 100_000
"""Characters of a result that are parsed as JSON"""


def is_error(text: str) -> bool:
    """Whether the text of a result says that the call failed.

    A JSON object states it by one of ``error``, ``errors``, ``is_error``, ``success``, ``ok``, ``status`` (a word, or a number of 400
    or more) and an exit code. Other text is an error if it begins as one (Error: ..., Traceback ..., bash: x: command not found)
    or is a traceback up to its last line.
    """
    text = text.strip()
    stated = _stated(text)
    if stated is not None:
        return stated
    if _BEGINS.match(text):
        return True
    last = text[text.rfind("\n") + 1 :]
    return bool(_RAISED.match(last) and _TRACEBACK.search(text))


def _stated(text: str) -> bool | None:
    """What a JSON object states; None where it is none or states nothing."""
    if not text.startswith("{") or len(text) > _LONGEST:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _states(value) if isinstance(value, dict) else None


def _states(value: dict[str, Any]) -> bool | None:
    found = []
    for name in ("error", "errors"):
        if name in value:
            found.append(value[name] not in (None, False, "", 0, [], {}, "null", "None"))
    found += [value[name] for name in _FLAGS if isinstance(value.get(name), bool)]
    found += [not value[name] for name in ("success", "ok") if isinstance(value.get(name), bool)]
    found += [value[name] != 0 for name in _CODES if isinstance(value.get(name), int)]
    status = value.get("status", value.get("status_code"))
    if isinstance(status, str):
        found.append(status.lower() in _FAILED_WORDS)
    elif isinstance(status, int) and not isinstance(status, bool) and status >= 100:
        found.append(status >= 400)
    return any(found) if found else None
