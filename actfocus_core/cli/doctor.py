"""`actfocus doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actfocus_core.cli.base import app
from actfocus_core.cli.exchange import script_for_dumps
from actfocus_core.cli.findings import print_findings
from actfocus_core.cli.options import Json, ProgressMode, load
from actfocus_core.cli.show import print_result, progress_bars
from actfocus_core.errors import ActFocusError

if TYPE_CHECKING:
    from actfocus_core.runs import Run


@app.command()
def doctor(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="RUN|FILE", help="A run folder, or rollouts that can be imported.", show_default=False),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="The policy's tokenizer, to check token ids against the text.", show_default="that of the import"
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="The policy that sampled, to check the recorded log-probs.", show_default="none"),
    ] = None,
    format: Annotated[str, typer.Option(help="The format of a file, as for `actfocus import`.")] = "auto",
    spans: Annotated[
        str | None, typer.Option(help="The span rule.", show_default="that of the import; auto for a file")
    ] = None,
    environment_spans: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="For a file: as for `actfocus import`.")
    ] = "auto",
    reward_columns: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="For a file: as for `actfocus import`.", show_default="inferred"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    whole: Annotated[
        bool, typer.Option("--all", help="Print every finding in full; by default at most one screen.")
    ] = False,
    rules: Annotated[bool, typer.Option("--rules", help="List the rules with their thresholds, and stop.")] = False,
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Check rollouts for problems; the exit code is 1 if there are errors, and 2 if they cannot be read at all."""
    if rules:
        _print_rules(json_)
        return
    if path is None:
        raise ActFocusError("doctor: name a run folder or a file of rollouts, or --rules")
    import tempfile

    from actfocus_core.analysis.validate import diagnose
    from actfocus_core.interop import import_run
    from actfocus_core.policy import load_tokenizer
    from actfocus_core.runs import Run

    with tempfile.TemporaryDirectory() as hidden, progress_bars(progress) as show:
        opened: Run
        if path.exists() and not (path / "run.json").is_file():
            with script_for_dumps():
                opened = import_run(
                    path,
                    Path(hidden) / "run",
                    format=format,
                    tokenizer=tokenizer,
                    spans=spans or "auto",
                    environment_spans=environment_spans,
                    reward_columns=None if reward_columns is None else [n.strip() for n in reward_columns.split(",")],
                    on_progress=show("import"),
                )
        else:
            opened = Run.open(path)
        policy = load(reference, device) if reference else None
        name = tokenizer or opened.metadata.config.tokenizer
        loaded = policy.tokenizer if policy else load_tokenizer(name) if name else None
        report = diagnose(opened, tokenizer=loaded, reference=policy, spans=spans, on_progress=show("check"))
    if json_:
        print_result(True, {"run": str(path), **report.as_dict()})
    else:
        print_findings(report, str(path), whole)
    raise typer.Exit(0 if report.healthy else 1)


def _print_rules(as_json: bool) -> None:
    """The registry of rules, as a table or as JSON lines' worth of objects."""
    from dataclasses import asdict

    from actfocus_core.analysis.validate import RULES

    if as_json:
        print_result(True, {"rules": [asdict(rule) for rule in RULES.values()]})
        return
    for rule in RULES.values():
        limit = f" [{rule.threshold:g} {rule.unit}]" if rule.threshold is not None else ""
        print(f"{rule.severity:8} {rule.name}: {rule.message('...')}{limit}")
