"""The import and export drawer: a file in, the doctor's report, a selection out."""

from __future__ import annotations

from actfocus_core.interop import FORMATS
from actfocus_core.spans import RULES
from app.exchange import EXPORTS, PARTS, PATTERN_MAX, Exchange
from app.frame.components import Drawer, DrawerAnswer, DrawerRequest
from app.payload import dump
from app.transfers import RECEIVE, UPLOAD_MAX

PRIVATE = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def drawer(exchange: Exchange) -> None:
    """Build the drawer; requests and answers are small JSON strings."""
    Drawer(dump({"formats": [format.title for format in FORMATS.values()], "rules": list(RULES), "exports": list(EXPORTS.items()),
                 "parts": list(PARTS.items()), "pattern_max": PATTERN_MAX, "upload_max": UPLOAD_MAX, "receive": RECEIVE[1:]}))
    asked, answered = DrawerRequest(), DrawerAnswer()
    asked.ask(exchange.answer, [asked], [answered], trigger_mode="multiple", **PRIVATE)
