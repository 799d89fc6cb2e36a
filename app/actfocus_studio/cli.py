"""`actfocus app`, which the library's command line finds by an entry point. Only the command itself imports the studio."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actfocus_core.cli.options import (
    Json,
    ProgressMode,
)
from actfocus_core.cli.show import clean, progress_bars
from actfocus_core.errors import ActFocusError

if TYPE_CHECKING:
    from actfocus_core.runs import Run


def open_app(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN|FILE|FOLDER]...",
            show_default=False,
            help="Runs, folders of runs, or rollouts as other trainers write them: their format is recognised, and they are "
            "imported into --runs-dir, once.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Any other host than loopback needs --auth.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 7860,
    runs_dir: Annotated[Path, typer.Option(help="Where runs are found and made.")] = Path("runs"),
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Of the model that wrote the rollouts: tiny, a folder, or a hub id.",
            show_default="none, for our own formats",
        ),
    ] = None,
    spans: Annotated[
        str | None,
        typer.Option(
            help="Of rollouts: auto, think_answer, tool_call, boxed, react, or pattern:REGEX with a group (?P<action>...).",
            show_default="auto, the rule that fits the replies",
        ),
    ] = None,
    environment_spans: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME",
            help="What the environment wrote inside the replies: auto, none, names of tags, or pattern:REGEX with a group "
            "(?P<environment>...).",
            show_default="auto",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse files with unreadable lines or records, instead of counting them.")
    ] = False,
    auth: Annotated[str | None, typer.Option(metavar="USER:PASSWORD", help="Ask visitors for a login.")] = None,
    lessons: Annotated[
        list[Path] | None,
        typer.Option(help="A YAML file of lessons for the Learn tab; may be repeated.", show_default="only our own"),
    ] = None,
    read_only: Annotated[
        bool,
        typer.Option(
            "--read-only",
            help="For a host of many: nothing is trained, rolled out, scored, imported or exported from the page.",
        ),
    ] = False,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Open the studio in the browser."""
    from actfocus_core.extras import require_version
    from actfocus_core.interop.opening import needs_choice, open_paths

    # Another one may start, and show an empty page.
    require_version("gradio")
    if auth is not None and (":" not in auth or auth.startswith(":") or auth.endswith(":")):
        raise ActFocusError(f"--auth {auth!r}: give USER:PASSWORD")
    # A page can ask what a command line cannot: which tokenizer, after a look at the file.
    waiting = [] if read_only or tokenizer or json_ else [path for path in paths or [] if needs_choice(path, runs_dir)]
    with progress_bars(progress, files=True) as show:
        runs = open_paths(
            [path for path in paths or [] if path not in waiting],
            runs_dir,
            tokenizer=tokenizer,
            spans=spans,
            environment_spans=environment_spans,
            strict=strict,
            on_progress=show,
        )
    launch = _launch()

    if json_:
        print(json.dumps({"url": f"http://{host}:{port}", "runs": [str(run.path) for run in runs]}), flush=True)
    else:
        for run in runs:
            _say_imported(run)
    user, _, password = (auth or "").partition(":")
    launch(
        [run.path for run in runs],
        host=host,
        port=port,
        open_browser=browser,
        runs_dir=runs_dir,
        auth=(user, password) if auth else None,
        tokenizers=[tokenizer] if tokenizer else [],
        lessons=lessons or [],
        read_only=read_only,
        waiting=waiting,
    )


def _launch() -> Callable[..., None]:
    """``main.launch``. Raises ActFocusError where a library that the studio needs is not installed."""
    try:
        from actfocus_studio.main import launch
    except ModuleNotFoundError as error:
        raise ActFocusError(
            f"the studio needs the package {error.name}, which is not installed; `pip install actfocus` installs it"
        ) from None
    return launch


def _say_imported(run: Run) -> None:
    from actfocus_core.runs.info import Import

    config = run.metadata.config
    if isinstance(config, Import):
        print(
            f"{clean(run.path)}: {len(run.index())} rollouts of {clean(config.source)} ({config.format}"
            f"{', approximate: their text was tokenised again' if config.approximate else ''})"
        )
