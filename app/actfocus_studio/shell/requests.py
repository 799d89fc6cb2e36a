"""Small JSON requests of a page and their answers; everything that comes in is checked here or where it is used."""

from __future__ import annotations

import json
from collections.abc import Callable

from actfocus_core.errors import ActFocusError
from actfocus_studio.data.serialize import dump

PRIVATE = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
REQUEST_MAX = 20_000
"""Characters; a page sends some hundreds."""


def answer(text: object, work: Callable[[dict], dict]) -> str:
    """The JSON for a request: what ``work`` says with the request's number; bad input gives one clear line."""
    number = 0
    try:
        asked = _read(text)
        number = asked.pop("number")
        return dump({**work(asked), "number": number})
    except ActFocusError as error:
        return dump({"error": " ".join(str(error).split()), "number": number})


def _read(text: object) -> dict:
    """The request with its number. Raises ActFocusError for anything else."""
    try:
        value = json.loads(text) if isinstance(text, str) and len(text) <= REQUEST_MAX else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or type(value.get("number")) is not int:
        raise ActFocusError("the page's request could not be read; reload it")
    return value
