"""What the studio needs of Gradio beyond its public interface.

Each is looked for in the Gradio that is installed. Where a release has it no longer the studio works without, and a line of
the log names what that costs.
"""

from __future__ import annotations

import inspect
import logging
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio

ASSETS = Path(gradio.__file__).parent / "templates/frontend/assets"
TICK = re.compile(r"(performance\.now\(\)-[\w$()]+\)/1e3\),[\w$]+&&)(?=[\w$]+\(\)\}\))")
"""Where the progress display asks for its next frame while it counts the seconds of an event."""
ELEMENT = re.compile(r"([\w$]+)=>([\w$]+)=\1,\(\)=>\2\);var ")
"""Where it keeps its element, null once that is removed from the page. Each release of Gradio names the variables anew."""
IDLE = 0.5
"""Seconds between two looks at the queue, in which no event of the studio ever stands."""

log = logging.getLogger(__name__)


@lru_cache
def corrected_assets() -> dict[str, str]:
    """Files of Gradio's page that the studio serves corrected: name in ``assets`` -> content.

    The display of the page's own loading is removed while it counts seconds, and goes on counting: every page would draw 60
    frames a second for nothing. Corrected, it stops once its element is gone.
    """
    found = {}
    for file in sorted([*ASSETS.glob("statustracker-*.js"), *ASSETS.glob("index-*.js")]):
        content = file.read_text(encoding="utf-8")
        elements = {match[2] for match in ELEMENT.finditer(content)}
        if len(TICK.findall(content)) == 1 and len(elements) == 1:
            element = elements.pop()
            found[file.name] = TICK.sub(lambda match, element=element: f"{match[1]}{element}&&", content)
    if not found:
        _miss(
            "its progress display was not recognised: an open page draws frames all the time, which costs processor time"
        )
    return found


def slow_queue(demo: Any) -> None:
    """Let Gradio look for queued events twice a second instead of a thousand times, a tenth of a core all the time."""
    queue = getattr(demo, "_queue", None)
    if hasattr(queue, "sleep_when_free"):
        queue.sleep_when_free = IDLE
    else:
        _miss("its queue has no pause that could be set: an idle studio may cost a tenth of a core")


def switched_off(launch: Any) -> dict[str, bool]:
    """Services that some releases have switched on: the arguments of ``launch`` that switch them off, where it has them."""
    return {name: False for name in ("run_history",) if name in inspect.signature(launch).parameters}


def _miss(what: str) -> None:
    log.warning("gradio %s: %s; constraints.txt names a version it was tested with", gradio.__version__, what)
