"""`actfocus credit`, `diagnose` and `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from actfocus_core.cli.base import app
from actfocus_core.cli.options import (
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
            help="Names, with commas between them, or all; shuffle:NAME, random:NAME "
            "and reversed:NAME are null controls."
        ),
    ] = "uniform,actfocus,role_only,energy_only",
    step: Step = None,
    reference: Reference = None,
    alpha: Annotated[float | None, typer.Option(min=0, max=1, help="Instead of the scheme's own.")] = None,
    beta: Annotated[float | None, typer.Option(min=0, help="Instead of the scheme's own.")] = None,
    signal: Annotated[
        str | None, typer.Option(help="energy, entropy, nll, shift; ours: centred_energy, policy_entropy.")
    ] = None,
    json_: Json = False,
) -> None:
    """How much of the gradient each kind of token gets, and how alike schemes are."""
    from actfocus_core.analysis.comparison import compare
    from actfocus_core.credit import SCHEMES, Batch, get_scheme
    from actfocus_core.runs import Run

    names = list(SCHEMES) if scheme == "all" else names_in(scheme)
    schemes = [get_scheme(name) for name in names]
    given = {k: v for k, v in (("alpha", alpha), ("beta", beta), ("signal", signal)) if v is not None}
    opened = Run.open(run)
    step = step_of(opened, step)
    batch = Batch.of(opened.trajectories(step, reference))
    table = compare(
        batch,
        {one.name: one.compute(batch, **{k: v for k, v in given.items() if k in one.defaults}) for one in schemes},
    )
    if json_:
        return print_result(True, {"run": str(opened.path), "step": step, "trajectories": len(batch.returns), **table})
    _credit_table(table, step)


@app.command()
def diagnose(
    run: RunArgument,
    step: Annotated[
        int | None, typer.Option(min=0, help="Only the groups of one training step.", show_default="all steps")
    ] = None,
    reference: Reference = None,
    bootstrap: Annotated[int, typer.Option(min=10, max=100_000, help="Resamples of the groups.")] = 1000,
    json_: Json = False,
) -> None:
    """The action bottleneck: does the spread of returns follow the energy of action tokens?"""
    from actfocus_core.analysis.diagnostics import action_bottleneck
    from actfocus_core.credit import Batch
    from actfocus_core.runs import Run

    opened = Run.open(run)
    last = step_of(opened, step)
    batch = Batch.of(opened.trajectories(None if step is None else last, reference))
    found = action_bottleneck(batch, bootstrap=bootstrap)
    if json_:
        return print_result(True, {"run": str(opened.path), "step": step, "trajectories": len(batch.returns), **found})
    _bottleneck_table(found)


@app.command()
def report(
    run: RunArgument,
    out: Annotated[Path, typer.Option(help="The HTML file; an earlier one is replaced.")] = Path("report.html"),
    step: Step = None,
    reference: Reference = None,
    bootstrap: Annotated[int, typer.Option(min=10, max=100_000, help="Resamples behind an interval.")] = 200,
    json_: Json = False,
) -> None:
    """Everything about one batch of a run in one HTML file that opens offline."""
    from actfocus_core.reports.html import write_report
    from actfocus_core.runs import Run

    opened = Run.open(run)
    step = step_of(opened, step)
    print_result(json_, write_report(opened, out, step, reference, bootstrap=bootstrap))


def _credit_table(table: dict[str, Any], step: int) -> None:
    from actfocus_core.credit import HOW_TO_GET

    rows, lacking = [], []
    for row in table["schemes"]:
        if row["missing"]:
            lacking.append(f"{row['scheme']}: no {', '.join(row['missing'])}; {HOW_TO_GET[row['missing'][0]]}")
            continue
        weight, own = row["kinds"], row["credit"]
        rows.append(
            [
                row["scheme"],
                *(percent(weight[kind]["mass_share"]) for kind in ("reasoning", "action", "format")),
                f"{row['effective_tokens']:.0f}",
                percent(own["kinds"]["action"]["mass_share"]),
                f"{own['effective_tokens']:.0f}",
                percent(row["sign_flips"]),
            ]
        )
    tokens = next((f" of {row['tokens']} response tokens" for row in table["schemes"] if not row["missing"]), "")
    print_table(
        f"Share of the weight by kind{tokens}, step {step}; of the credit |c|; signs against Uniform",
        ["scheme", "reasoning", "action", "format", "effective tokens", "|c| action", "|c| effective", "sign flips"],
        rows,
    )
    for line in lacking:
        print(f"unavailable: {line}")
    names = list(table["spearman"])
    if len(names) > 1:
        print_table(
            "Spearman of the signed credit a token",
            ["", *map(str, range(1, len(names) + 1))],
            [[f"{i} {a}", *(plain(table["spearman"][a][b], 2) for b in names)] for i, a in enumerate(names, 1)],
        )


def _bottleneck_table(found: dict[str, Any]) -> None:
    rows = []
    for r in found["correlations"]:
        known = (
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
        rows.append([f"{r['signal']}, {r['part']}", *known])
    print_table(
        f"Spread of returns (sigma) against the mean signal, {len(found['groups'])} groups",
        ["signal, tokens", "rho [95 %]", "p", "rho with success", "given success [95 %]", "and given p(1-p)"],
        rows,
    )
    confound = found["confound"]
    print(
        f"sigma itself: rho {plain(confound['rho_success'])} with the groups' success rate p, "
        f"{plain(confound['rho_spread'])} with p(1-p)"
        + ("; returns take two values, so sigma is a function of p" if confound["binary"] else "")
    )
    returns, success = (sum(g[name] for g in found["groups"]) for name in ("unknown_returns", "unknown_success"))
    if returns or success:
        print(f"not known, and left out: the return of {returns} rollouts, the success of {success}")
    if found["missing"]:
        print(f"not recorded: {', '.join(found['missing'])}; `actfocus score` adds what comes from a reference")
