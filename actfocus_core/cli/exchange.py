"""`actfocus import` and `export`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actfocus_core.cli.base import app
from actfocus_core.cli.findings import print_findings
from actfocus_core.cli.options import (
    Alpha,
    Beta,
    Json,
    ProgressMode,
    Reference,
    RunArgument,
)
from actfocus_core.cli.show import print_result, progress_bars

if TYPE_CHECKING:
    import pandas as pd

    from actfocus_core.runs.info import Import


@app.command("import")
def import_(
    format: Annotated[
        str,
        typer.Argument(
            help="auto, or jsonl, parquet, verifiers, prime-rl, verl, trl, ragen, areal, skyrl, nemo-rl, nemo-gym, atropos, "
            "tau-bench, swe-agent, trackio, tinker, rllm, art, atif, inspect, otel, completions, prompt-response, chat.",
            show_default=False,
        ),
    ],
    path: Annotated[
        Path, typer.Argument(help="A file or folder; files may be compressed (.gz, .zst).", show_default=False)
    ],
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Tokenizer of the model that generated the rollouts: tiny, a folder, or a hub id.",
            show_default="none, for ActFocus's own formats",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The new run folder.", show_default="runs/NAME-N")] = None,
    spans: Annotated[
        str,
        typer.Option(
            help="auto (the rule that fits the replies), think_answer, tool_call, boxed, react, or pattern:REGEX with a "
            "group (?P<action>...)."
        ),
    ] = "auto",
    environment_spans: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME",
            help="What the environment wrote inside the replies: auto, none, names of tags such as information, "
            "observation, or pattern:REGEX with a group (?P<environment>...).",
        ),
    ] = "auto",
    success_at: Annotated[
        float, typer.Option(help="Smallest reward that counts as success if the file does not state success.")
    ] = 1.0,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum length of a rollout; a longer one is an error.", show_default="no limit"),
    ] = None,
    reward_columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME",
            help="TRL columns, or scores of Inspect, whose sum is the reward.",
            show_default="inferred from the files if possible",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse files with unreadable lines or records, instead of counting them.")
    ] = False,
    check: Annotated[bool, typer.Option(help="Check the imported rollouts as `actfocus doctor` does.")] = True,
    preview: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="ROLLOUTS",
            help="Show what would become of the first rollouts, and write nothing.",
            show_default=False,
        ),
    ] = None,
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Import rollouts of other trainers, or files in ActFocus's own formats, into a new run folder."""
    from actfocus_core.analysis.validate import diagnose
    from actfocus_core.interop.importing import import_run, run_name
    from actfocus_core.policy import load_tokenizer
    from actfocus_core.runs import free_path
    from actfocus_core.runs.info import Import

    how: dict[str, Any] = {
        "format": format,
        "tokenizer": tokenizer,
        "spans": spans,
        "environment_spans": environment_spans,
        "strict": strict,
        "success_at": success_at,
        "max_tokens": max_tokens,
        "reward_columns": None if reward_columns is None else [name.strip() for name in reward_columns.split(",")],
    }
    if preview is not None:
        from actfocus_core.cli.preview import print_preview
        from actfocus_core.interop.head import preview as read_head

        with script_for_dumps():
            return print_preview(read_head(path, preview, **how), json_)
    out = out or free_path(Path("runs"), run_name(path))
    with script_for_dumps(), progress_bars(progress, files=True) as show:
        run = import_run(path, out, **how, on_progress=show("import"))
    with progress_bars(progress) as show:
        report = (
            diagnose(run, tokenizer=load_tokenizer(tokenizer) if tokenizer else None, on_progress=show("check"))
            if check
            else None
        )
    index, config = run.index(), run.metadata.config
    assert isinstance(config, Import)
    print_result(
        json_,
        {
            "run": str(run.path),
            "format": config.format,
            "approximate": config.approximate,
            "spans": config.spans,
            **_of_import(config, json_),
            "trajectories": len(index),
            "groups": int(index["group"].nunique()),
            "steps": len(run.steps()),
            "tokens": int(index["n_tokens"].sum()),
            "action_tokens": int(index["n_action"].sum()),
            **_success(index, json_),
            **({"doctor": report.as_dict()} if report and json_ else {}),
        },
    )
    if report and not json_:
        print_findings(report, str(run.path))


@contextmanager
def script_for_dumps() -> Iterator[None]:
    """Print the script that converts dumps if one was refused, so that it can be redirected to a file."""
    from actfocus_core.interop.reading.content import NeverLoaded

    try:
        yield
    except NeverLoaded:
        print(files("actfocus_core.interop").joinpath("convert_dump.py.txt").read_text(), end="")
        raise


def _of_import(config: Import, as_json: bool) -> dict[str, Any]:
    """What the import found and chose, and the items that it left out."""
    entries: dict[str, Any] = {}
    for name in ("action_tokens_by_rule", "environment_text", "success_by"):
        if found := getattr(config, name):
            entries[name] = found if as_json else ", ".join(f"{key} {number}" for key, number in found.items())
    if by := config.reward_columns_by:
        names = list(config.reward_columns)
        entries = (
            {"reward_columns": names, "reward_columns_by": by}
            if as_json
            else {"reward_columns": f"{', '.join(names) or 'none'} ({by})"}
        )
    if left_out := config.left_out:
        entries["left_out"] = (
            left_out if as_json else ", ".join(f"{number} {kind}" for kind, number in left_out.items())
        )
    return entries


def _success(index: pd.DataFrame, as_json: bool) -> dict[str, Any]:
    """The success rate over rollouts, and the number of rollouts whose success is unknown."""
    from actfocus_core.outcomes import mean_known, rollout_rows

    success = rollout_rows(index)["success"]
    rate = mean_known(success.to_numpy(float, na_value=float("nan")))
    return {"success": rate.value, "success_unknown": rate.unknown} if as_json else {"success": str(rate)}


@app.command()
def export(
    run: RunArgument,
    format: Annotated[
        str,
        typer.Option(
            help="parquet, jsonl, csv (tokens), html (a page), or advantages (weighted, for another trainer); "
            "trl or verl: a start script for that trainer with the run's setting."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="The new file.", show_default="RUN.FORMAT")] = None,
    id: Annotated[list[str] | None, typer.Option("--id", help="Only this trajectory; may be repeated.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="Only this group; may be repeated.")] = None,
    step: Annotated[int | None, typer.Option(min=0, help="Only this training step.")] = None,
    success: Annotated[
        bool | None,
        typer.Option("--success/--failure", help="Only successes, or only failures.", show_default="both"),
    ] = None,
    malformed: Annotated[
        bool, typer.Option("--malformed", help="Only trajectories with a malformed or illegal turn.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of trajectories.")] = None,
    scheme: Annotated[str, typer.Option(help="Credit scheme of the weights in html and advantages.")] = "actfocus",
    alpha: Alpha = None,
    beta: Beta = None,
    signal: Annotated[
        str | None, typer.Option(help="energy, entropy, nll, shift.", show_default="the scheme's default")
    ] = None,
    reference: Reference = None,
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Write a selection of a run to a file for other programs, or as an HTML page to share."""
    from actfocus_core.interop.exporting import Selection, export_run
    from actfocus_core.interop.recipes import SETTING_FORMATS, export_setting
    from actfocus_core.runs import Run

    opened = Run.open(run)
    params = {k: v for k, v in (("alpha", alpha), ("beta", beta), ("signal", signal)) if v is not None}
    if format in SETTING_FORMATS:
        file = export_setting(opened, out, format, params)
        print_result(json_, {"run": str(opened.path), "file": str(file), "format": format})
        return
    selection = Selection(tuple(id or ()), tuple(group or ()), step, success, malformed, limit)
    with progress_bars(progress) as show:
        file, count = export_run(
            opened,
            out,
            format,
            selection,
            scheme=scheme,
            params=params,
            reference=reference,
            on_progress=show("export"),
        )
    print_result(json_, {"run": str(opened.path), "file": str(file), "format": format, "trajectories": count})
