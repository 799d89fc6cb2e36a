"""`actfocus app`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from actfocus_core.cli.base import app
from actfocus_core.cli.options import (
    Json,
)
from actfocus_core.errors import ActFocusError


@app.command("app")
def open_app(
    runs: Annotated[list[Path] | None, typer.Argument(help="Run folders to open.", show_default=False)] = None,
    host: Annotated[str, typer.Option(help="Any other host than loopback needs --auth.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 7860,
    runs_dir: Annotated[Path, typer.Option(help="Where runs are found and made.")] = Path("runs"),
    auth: Annotated[str | None, typer.Option(metavar="USER:PASSWORD", help="Ask visitors for a login.")] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
    json_: Json = False,
) -> None:
    """Open the studio in the browser."""
    from actfocus_core.runs import Run

    for run in runs or []:
        Run.open(run)
    if auth is not None and (":" not in auth or auth.startswith(":") or auth.endswith(":")):
        raise ActFocusError(f"--auth {auth!r}: give USER:PASSWORD")
    from app.main import launch

    if json_:
        print(json.dumps({"url": f"http://{host}:{port}", "runs": [str(r) for r in runs or []]}), flush=True)
    launch(list(runs or []), host=host, port=port, open_browser=browser, runs_dir=runs_dir,
           auth=tuple(auth.split(":", 1)) if auth else None)
