"""The studio's own files over HTTP: one script, plotly's out of its package, and a file of Gradio's put right.

Fixed names only; no path of the installation is in an address.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import gradio
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

HERE = Path(__file__).parent
SCRIPTS = (
    "token_view/weights.js",
    "frame/dom.js",
    "frame/store.js",
    "frame/channel.js",
    "frame/plots.js",
    "frame/frame.js",
    "frame/jobs.js",
    "frame/drawer.js",
    "token_view/verdict.js",
    "token_view/tokens.js",
    "token_view/rail.js",
    "token_view/inspector.js",
    "token_view/mass.js",
    "token_view/line.js",
    "token_view/panes.js",
    "token_view/play.js",
    "token_view/table.js",
    "token_view/keys.js",
    "token_view/view.js",
    "compare/tables.js",
    "compare/compare.js",
    "groups/ribbons.js",
    "groups/groups.js",
    "tune/tune.js",
    "train/series.js",
    "train/charts.js",
    "train/standing.js",
    "train/scrubber.js",
    "train/train.js",
    "whatif/replay.js",
    "whatif/branch.js",
    "whatif/edit.js",
    "whatif/motion.js",
    "whatif/whatif.js",
    "learn/learn.js",
)
"""In this order they make studio.js."""
STYLES = (
    "frame/frame.css",
    "frame/drawer.css",
    "token_view/view.css",
    "compare/compare.css",
    "groups/groups.css",
    "tune/tune.css",
    "train/train.css",
    "whatif/whatif.css",
    "learn/learn.css",
)
TRACKERS = sorted((Path(gradio.__file__).parent / "templates/frontend/assets").glob("statustracker-*.js"))
"""Gradio's display of how far an event is."""
ENDLESS = (")/1e3),W&&ze()})", ")/1e3),W&&U&&ze()})")
"""The display of the page's own loading is taken away while it counts the time, and Gradio 6.31 goes on counting: every page draws
60 frames a second for nothing, for good. Put right, it stops where its element is gone."""
CACHED = {"Cache-Control": "public, max-age=31536000, immutable"}


@lru_cache
def script() -> str:
    """studio.js: the files of SCRIPTS, one after another."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)


def styles() -> str:
    """All of the studio's style sheets."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in STYLES)


def script_tag() -> str:
    """For ``gr.HTML(head=...)``, which runs ``js_on_load`` only once the script is there.

    The digest in the address lets the browser keep the file until it changes.
    """
    digest = hashlib.sha256(script().encode()).hexdigest()[:12]
    return f'<script src="studio/studio.js?{digest}"></script>'


def routes() -> list[Route]:
    """What ``launch`` adds to Gradio's own routes."""
    return [
        Route("/studio/studio.js", _studio),
        Route("/studio/plotly.min.js", _plotly),
        *(Route(f"/assets/{file.name}", _tracker) for file in TRACKERS),
    ]


def _studio(request: Request) -> Response:
    return PlainTextResponse(script(), media_type="text/javascript", headers=CACHED)


def _plotly(request: Request) -> Response:
    file = Path(str(files("plotly") / "package_data" / "plotly.min.js"))
    return FileResponse(file, media_type="text/javascript", headers=CACHED)


def _tracker(request: Request) -> Response:
    file = next(file for file in TRACKERS if request.url.path.endswith(file.name))
    return PlainTextResponse(file.read_text(encoding="utf-8").replace(*ENDLESS), media_type="text/javascript")
