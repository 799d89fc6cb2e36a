"""The studio's own files over HTTP: its modules as one script, and plotly's script out of its package.

Fixed names only; no path of the installation is in an address.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from actfocus_studio.server.join import joined

PACKAGE = Path(__file__).parents[1]
SCRIPTS, PLOTLY = "/studio/script/", "/studio/plotly.min.js"
STYLES = (
    "shell/shell.css",
    "panels/runs/panel.css",
    "panels/import_export/panel.css",
    "web/lib/components/grid.css",
    "panels/scoring/panel.css",
    "web/trace/trace.css",
    "pages/compare/page.css",
    "pages/groups/page.css",
    "pages/rollouts/page.css",
    "pages/tune/page.css",
    "pages/train/page.css",
    "panels/whatif/panel.css",
    "pages/learn/page.css",
)
"""In their order: later ones override."""
CACHED = {"Cache-Control": "public, max-age=31536000, immutable"}


@lru_cache
def script() -> str:
    """The studio's JavaScript modules, joined; they are named by their paths within the package."""
    found = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.js")}
    return joined({name: found[name].read_text(encoding="utf-8") for name in sorted(found)})


@lru_cache
def script_url() -> str:
    """The script's address, relative to that of the page: its digest, so that a browser keeps it until it changes."""
    return f"{SCRIPTS[1:]}{hashlib.sha256(script().encode()).hexdigest()[:12]}.js"


def head() -> str:
    """For the head of the page: the script runs, and opens what the address names, while Gradio builds the page."""
    return f'<script type="module" src="{script_url()}"></script>'


def styles() -> str:
    """All style sheets of the studio, concatenated."""
    return "\n".join((PACKAGE / name).read_text(encoding="utf-8") for name in STYLES)


def routes() -> list[Route]:
    return [Route(f"{SCRIPTS}{{name}}", _script), Route(PLOTLY, _plotly)]


def _script(request: Request) -> Response:
    if request.url.path != f"/{script_url()}":
        return PlainTextResponse("no such script; reload the page", 404)
    return PlainTextResponse(script(), media_type="text/javascript", headers=CACHED)


def _plotly(request: Request) -> Response:
    file = Path(str(files("plotly") / "package_data" / "plotly.min.js"))
    return FileResponse(file, media_type="text/javascript", headers=CACHED)
