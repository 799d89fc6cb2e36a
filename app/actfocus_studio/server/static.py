"""The studio's own files over HTTP: its modules, and plotly's script out of its package.

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

PACKAGE = Path(__file__).parents[1]
WEB, PLOTLY = "/studio/web/", "/studio/plotly.min.js"
STYLES = (
    "shell/shell.css",
    "panels/import_export/panel.css",
    "web/trace/trace.css",
    "pages/compare/page.css",
    "pages/groups/page.css",
    "pages/tune/page.css",
    "pages/train/page.css",
    "panels/whatif/panel.css",
    "pages/learn/page.css",
)
"""In their order: later ones override."""
CACHED = {"Cache-Control": "public, max-age=31536000, immutable"}


@lru_cache
def modules() -> dict[str, str]:
    """The studio's JavaScript modules: path within the package -> content."""
    return {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.js")}


@lru_cache
def digest() -> str:
    """Of all modules. It is part of their addresses, so that a browser keeps them until one changes."""
    return hashlib.sha256("\n".join(f"{name}\n{modules()[name]}" for name in sorted(modules())).encode()).hexdigest()[
        :12
    ]


def module_url(name: str) -> str:
    """The address of a module, relative to that of the page. Raises KeyError where there is no such module."""
    modules()[name]
    return f"{WEB[1:]}{digest()}/{name}"


def head() -> str:
    """For the head of the page: the modules load while Gradio still builds it."""
    return f'<script type="module" src="{module_url("main.js")}"></script>'


def styles() -> str:
    """All style sheets of the studio, concatenated."""
    return "\n".join((PACKAGE / name).read_text(encoding="utf-8") for name in STYLES)


def routes() -> list[Route]:
    return [Route(f"{WEB}{{digest}}/{{name:path}}", _module), Route(PLOTLY, _plotly)]


def _module(request: Request) -> Response:
    content = modules().get(request.path_params["name"])
    if content is None or request.path_params["digest"] != digest():
        return PlainTextResponse("no such module; reload the page", 404)
    return PlainTextResponse(content, media_type="text/javascript", headers=CACHED)


def _plotly(request: Request) -> Response:
    file = Path(str(files("plotly") / "package_data" / "plotly.min.js"))
    return FileResponse(file, media_type="text/javascript", headers=CACHED)
