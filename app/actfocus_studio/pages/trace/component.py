"""The component of the Trace page."""

from __future__ import annotations

from actfocus_studio.pages.trace import figures
from actfocus_studio.shell.components import ClientHTML


class TraceView(ClientHTML):
    """The part of the Trace page that depends on the sliders.

    Its value is one JSON string (``actfocus_studio.data.serialize``). It is never the input of an event, which
    would send all of it to the server; ``Nav`` is.
    """

    def __init__(self):
        super().__init__("ActFocus.trace.mount(element, props, watch)", elem_id="af-trace", figure=figures.token_line())
