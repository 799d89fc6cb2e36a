"""`actfocus credit`, `diagnose` and `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from actfocus_core.cli.base import app
from actfocus_core.cli.options import (
    Alpha,
    Beta,
    Json,
    Reference,
    RunArgument,
    Step,
    names_in,
    step_of,
)
from actfocus_core.cli.show import percent, plain, print_result, print_table


@app.command()
def credit(
    run: RunArgument,
    scheme: Annotated[
        str,
        typer.Option(
            help="Comma-separated names, or all; shuffle:NAME, random:NAME and reversed:NAME are null controls."
        ),
    ] = "uniform,actfocus,role_only,energy_only",
    step: Step = None,
    reference: Reference = None,
    alpha: Alpha = None,
    beta: Beta = None,
    signal: Annotated[
        str | None,
        typer.Option(
            help="energy, entropy, nll or shift, or centred_energy or policy_entropy, which are not from the paper.",
            show_default="the scheme's default",
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Show the gradient share of each token kind, and the similarity of credit schemes."""
    from actfocus_core.analysis.comparison import compare
    from actfocus_core.credit import SCHEMES, Batch, get_scheme
    from actfocus_core.runs import Run

    names = list(SCHEMES) if scheme == "all" else names_in(scheme)
    schemes = [get_scheme(name) for name in names]
    params = {k: v for k, v in (("alpha", alpha), ("beta", beta), ("signal", signal)) if v is not None}
    opened = Run.open(run)
    step = step_of(opened, step)
    batch = Batch.of(opened.trajectories(step, reference))
    table = compare(
        batch,
        {s.name: s.compute(batch, **{k: v for k, v in params.items() if k in s.defaults}) for s in schemes},
    )
    if json_:
        return print_result(True, {"run": str(opened.path), "step": step, "trajectories": len(batch.returns), **table})
    _credit_table(table, step)


@app.command()
def diagnose(
    run: RunArgument,
    step: Annotated[
        int | None, typer.Option(min=0, help="Only the groups of this training step.", show_default="all steps")
    ] = None,
    reference: Reference = None,
    bootstrap: Annotated[int, typer.Option(min=10, max=100_000, help="Bootstrap resamples of the groups.")] = 1000,
    json_: Json = False,
) -> None:
    """Test the action bottleneck: correlate the standard deviation of returns with the energy of action tokens."""
    from actfocus_core.analysis.diagnostics import action_bottleneck
    from actfocus_core.credit import Batch
    from actfocus_core.runs import Run

    opened = Run.open(run)
    last = step_of(opened, step)
    batch = Batch.of(opened.trajectories(None if step is None else last, reference))
    result = action_bottleneck(batch, bootstrap=bootstrap)
    if json_:
        return print_result(True, {"run": str(opened.path), "step": step, "trajectories": len(batch.returns), **result})
    _bottleneck_table(result)


@app.command()
def report(
    run: RunArgument,
    out: Annotated[Path, typer.Option(help="The HTML file; an existing file is replaced.")] = Path("report.html"),
    step: Step = None,
    reference: Reference = None,
    bootstrap: Annotated[int, typer.Option(min=10, max=100_000, help="Bootstrap resamples for each interval.")] = 200,
    json_: Json = False,
) -> None:
    """Write a report about one batch of a run as one HTML file that opens offline."""
    from actfocus_core.reports.html import write_report
    from actfocus_core.runs import Run

    opened = Run.open(run)
    step = step_of(opened, step)
    print_result(json_, write_report(opened, out, step, reference, bootstrap=bootstrap))


def _credit_table(table: dict[str, Any], step: int) -> None:
    from actfocus_core.credit import HOW_TO_GET

    rows, unavailable = [], []
    for row in table["schemes"]:
        if row["missing"]:
            unavailable.append(f"{row['scheme']}: no {', '.join(row['missing'])}; {HOW_TO_GET[row['missing'][0]]}")
            continue
        weight, effective = row["kinds"], row["credit"]
        rows.append(
            [
                row["scheme"],
                *(percent(weight[kind]["mass_share"]) for kind in ("reasoning", "action", "format")),
                f"{row['effective_tokens']:.0f}",
                percent(effective["kinds"]["action"]["mass_share"]),
                f"{effective['effective_tokens']:.0f}",
                percent(row["sign_flips"]),
            ]
        )
    tokens = next((f" of {row['tokens']} response tokens" for row in table["schemes"] if not row["missing"]), "")
    print_table(
        f"Gradient share by token kind{tokens}, step {step}, of the weights and of the effective credit |c|; "
        "sign flips against Uniform",
        ["scheme", "reasoning", "action", "format", "effective tokens", "|c| action", "|c| effective", "sign flips"],
        rows,
    )
    for line in unavailable:
        print(f"unavailable: {line}")
    names = list(table["spearman"])
    if len(names) > 1:
        print_table(
            "Spearman's rho of the signed credit per token",
            ["", *map(str, range(1, len(names) + 1))],
            [[f"{i} {a}", *(plain(table["spearman"][a][b], 2) for b in names)] for i, a in enumerate(names, 1)],
        )


def _bottleneck_table(result: dict[str, Any]) -> None:
    rows = []
    for r in result["correlations"]:
        cells = (
            [r["why"]]
            if r["why"]
            else [
                f"{plain(r['rho'])} [{plain(r['low'])}, {plain(r['high'])}]",
                f"{r['p']:.2g}",
                plain(r["rho_success"]),
                f"{plain(r['partial'])} [{plain(r['partial_low'])}, {plain(r['partial_high'])}]",
                plain(r["partial_spread"]),
            ]
        )
        rows.append([f"{r['signal']}, {r['part']}", *cells])
    print_table(
        f"Standard deviation of returns (sigma) against the mean signal, {len(result['groups'])} groups",
        [
            "signal, tokens",
            "rho [95% interval]",
            "p-value",
            "rho with success",
            "partial rho given success [95% interval]",
            "and given p(1-p)",
        ],
        rows,
    )
    confound = result["confound"]
    print(
        f"sigma: rho {plain(confound['rho_success'])} with the groups' success rate p, "
        f"{plain(confound['rho_spread'])} with p(1-p)"
        + ("; returns take two values, so sigma is a function of p" if confound["binary"] else "")
    )
    returns, success = (sum(g[name] for g in result["groups"]) for name in ("unknown_returns", "unknown_success"))
    if returns or success:
        print(f"unknown, and left out: the return of {returns} rollouts, the success of {success}")
    if result["missing"]:
        print(f"not recorded: {', '.join(result['missing'])}; `actfocus score` adds the signals of a reference model")
