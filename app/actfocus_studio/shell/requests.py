"""JSON requests of a page and their responses; every input is validated here or where it is used."""

from __future__ import annotations

import json
from collections.abc import Callable

from actfocus_core.errors import ActFocusError
from actfocus_studio.data.serialize import dump

PRIVATE = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
REQUEST_MAX = 20_000
"""Characters of a request; a page sends some hundreds."""


def answer(text: object, work: Callable[[dict], dict]) -> str:
    """The JSON response: the result of ``work`` with the request's number, or an error of one line."""
    number = 0
    try:
        request = _read(text)
        number = request.pop("number")
        return dump({**work(request), "number": number})
    except ActFocusError as error:
        return dump({"error": " ".join(str(error).split()), "number": number})


def _read(text: object) -> dict:
    """Parse a request. Raises ActFocusError if it is not a JSON object with a number."""
    try:
        value = json.loads(text) if isinstance(text, str) and len(text) <= REQUEST_MAX else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or type(value.get("number")) is not int:
        raise ActFocusError("the page's request could not be read; reload it")
    return value
