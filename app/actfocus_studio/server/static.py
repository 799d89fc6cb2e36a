"""The studio's own files over HTTP: one script, plotly's out of its package, and a file of Gradio's put right.

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

from actfocus_studio.server.gradio_fit import corrected_assets

PACKAGE = Path(__file__).parents[1]
SCRIPTS = (
    "web/trace/weights.js",
    "web/lib/dom.js",
    "web/lib/store.js",
    "web/lib/channel.js",
    "web/lib/plots.js",
    "shell/top_bar.js",
    "shell/rollout_form.js",
    "panels/import_export/panel.js",
    "web/trace/label.js",
    "web/trace/tokens.js",
    "web/trace/timeline.js",
    "web/trace/inspector.js",
    "pages/trace/gradient_share.js",
    "web/trace/chart.js",
    "web/trace/side_by_side.js",
    "pages/trace/play.js",
    "pages/trace/token_table.js",
    "web/trace/keys.js",
    "pages/trace/model.js",
    "pages/trace/ramp.js",
    "pages/trace/picker.js",
    "pages/trace/page.js",
    "pages/compare/tables.js",
    "pages/compare/scoring.js",
    "pages/compare/page.js",
    "pages/groups/ribbons.js",
    "pages/groups/charts.js",
    "pages/groups/page.js",
    "pages/tune/page.js",
    "pages/train/series.js",
    "pages/train/charts.js",
    "pages/train/progress.js",
    "pages/train/scrubber.js",
    "pages/train/page.js",
    "panels/whatif/replay.js",
    "panels/whatif/branch.js",
    "panels/whatif/edit.js",
    "panels/whatif/walkthrough.js",
    "panels/whatif/forms.js",
    "panels/whatif/panel.js",
    "pages/learn/page.js",
)
"""The files of studio.js, in their order."""
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
CACHED = {"Cache-Control": "public, max-age=31536000, immutable"}


@lru_cache
def script() -> str:
    """studio.js: the files of SCRIPTS, concatenated."""
    return "\n".join((PACKAGE / name).read_text(encoding="utf-8") for name in SCRIPTS)


def styles() -> str:
    """All style sheets of the studio, concatenated."""
    return "\n".join((PACKAGE / name).read_text(encoding="utf-8") for name in STYLES)


def script_tag() -> str:
    """For ``gr.HTML(head=...)``, which runs ``js_on_load`` only once the script is there.

    The digest in the address lets the browser keep the file until it changes.
    """
    digest = hashlib.sha256(script().encode()).hexdigest()[:12]
    return f'<script src="studio/studio.js?{digest}"></script>'


def routes() -> list[Route]:
    """The routes that ``launch`` adds to Gradio's."""
    return [
        Route("/studio/studio.js", _studio),
        Route("/studio/plotly.min.js", _plotly),
        *(Route(f"/assets/{name}", _corrected) for name in corrected_assets()),
    ]


def _studio(request: Request) -> Response:
    return PlainTextResponse(script(), media_type="text/javascript", headers=CACHED)


def _plotly(request: Request) -> Response:
    file = Path(str(files("plotly") / "package_data" / "plotly.min.js"))
    return FileResponse(file, media_type="text/javascript", headers=CACHED)


def _corrected(request: Request) -> Response:
    content = corrected_assets()[request.url.path.rpartition("/")[2]]
    return PlainTextResponse(content, media_type="text/javascript")
