"""`actfocus oracle`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actfocus_core.cli.base import app
from actfocus_core.cli.options import Json, ProgressMode, Reference, RunArgument, Step, load, step_of
from actfocus_core.cli.show import OnProgress, plain, print_result, print_table, progress_bars
from actfocus_core.errors import ActFocusError

if TYPE_CHECKING:
    from actfocus_core.credit import Credit
    from actfocus_core.policy import Policy
    from actfocus_core.trajectory import Trajectory


@app.command()
def oracle(
    run: RunArgument,
    step: Step = None,
    all_: Annotated[bool, typer.Option("--all", help="Every step of the run, a scoreboard each.")] = False,
    reference: Reference = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="The weights that sampled the step: tiny, a model folder, or a hub id.",
            show_default="the run's own model",
        ),
    ] = None,
    with_policy: Annotated[
        bool,
        typer.Option(
            "--with-policy/--no-policy",
            help="Whether to play the policy on from every turn; without it only perfect play is the truth.",
        ),
    ] = True,
    rollouts: Annotated[
        int | None,
        typer.Option(
            min=2, help="Fresh rollouts behind each of the policy's values.", show_default="16, or what is stored"
        ),
    ] = None,
    answers: Annotated[bool, typer.Option(help="Also the log-probs of the solutions, for A2TGPO.")] = False,
    again: Annotated[bool, typer.Option(help="Make anew what is stored.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the rollouts and the resamples.")] = 0,
    bootstrap: Annotated[int, typer.Option(min=10, max=100_000, help="Resamples behind an interval.")] = 200,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """What every turn was worth, stored in the run, and how every scheme's credit scores against it."""
    from actfocus_core.oracle import stored
    from actfocus_core.runs import Run

    opened = Run.open(run)
    if all_ and step is not None:
        raise ActFocusError(f"--step {step} --all: give one of them")
    last = step_of(opened, step)
    wanted = {"oracle-optimal", *(["oracle-policy"] if with_policy else []), *(["oracle-answers"] if answers else [])}

    @cache
    def loaded() -> Policy:
        return load(policy or stored.policy_name(opened), device)

    def player() -> Policy:
        if policy is None:
            stored.require_unchanged_policy(opened, one, loaded())
        return loaded()

    found = []
    with progress_bars(progress) as show:
        for one in opened.steps() if all_ else [last]:
            trajectories = opened.trajectories(one, reference)
            if again or any(one not in opened.annotated_steps(name) for name in wanted):
                opened.demand_writable()
            stored.ensure_optimal(opened, one, trajectories, show, again)
            made = {}
            if with_policy:
                made = stored.ensure_policy(
                    opened, one, trajectories, player, show, rollouts, seed, again, named=policy is not None
                )
            if answers:
                stored.ensure_answers(opened, one, trajectories, player, show, again)
            found.append(
                {
                    "step": one,
                    "trajectories": len(trajectories),
                    "policy": made,
                    **_boards(trajectories, with_policy, bootstrap, seed, show(f"score {one}")),
                }
            )
    if json_:
        return print_result(True, {"run": str(opened.path), "steps": found})
    for result in found:
        _show(result)


def _boards(
    trajectories: list[Trajectory], with_policy: bool, bootstrap: int, seed: int, on_progress: OnProgress
) -> dict[str, Any]:
    """``boards``: by truth, as ``Scoreboard.to_dict``; ``unscored``: scheme -> what it lacks and where that comes from."""
    from actfocus_core.analysis.scoreboard import Truth, credits_of, scoreboard
    from actfocus_core.credit import HOW_TO_GET, SCHEMES, Batch

    batch = Batch.of(trajectories)
    credits: dict[str, Credit] = {}
    for done, name in enumerate(SCHEMES, 1):
        credits |= credits_of(batch, [name])
        on_progress(done, len(SCHEMES))
    truths = {"policy": "policy", "optimal": "oracle"} if with_policy else {"optimal": "oracle"}
    boards = {
        name: scoreboard(batch, credits, Truth.of(batch, signals), bootstrap=bootstrap, seed=seed).to_dict()
        for name, signals in truths.items()
    }
    return {
        "boards": boards,
        "unscored": {
            name: f"no {', '.join(c.missing)}; {HOW_TO_GET[c.missing[0]]}" for name, c in credits.items() if c.missing
        },
    }


def _show(result: dict[str, Any]) -> None:
    """The tables of one step."""
    for name in result["boards"]:
        _print_board(name, result)
    for scheme, why in result["unscored"].items():
        print(f"unavailable: {scheme}: {why}")


TRUTHS = {"policy": "the policy's own advantage A_pi", "optimal": "perfect play, A*"}


def _print_board(name: str, result: dict[str, Any]) -> None:
    board, made = result["boards"][name], result["policy"]
    rows = [*board["rows"], *([board["ceiling"]] if board["ceiling"] else [])]
    source = "exact" if board["exact"] else f"{made['rollouts']} rollouts a value, and as many for the ceiling"
    print_table(
        f"Where: does the weight lie on turns that mattered? Step {result['step']}, {TRUTHS[name]}, {source}",
        [
            "scheme",
            "ranked by",
            "rho |A|",
            "tau-b |A|",
            "AUROC |A|",
            "rho criticality",
            "tau-b criticality",
            "AUROC criticality",
        ],
        [
            [row["name"], row["focus"], *(_cell(row["scores"][c]) for c in board["columns"] if c.startswith("where"))]
            for row in rows
        ],
    )
    print_table(
        f"Right: is the signed credit that of the turn? Step {result['step']}, {TRUTHS[name]}, {source}",
        ["scheme", "rho in groups", "rho in trajectories", "right signs", "mass on luck"],
        [
            [row["name"], *(_cell(row["scores"][c]) for c in board["columns"] if not c.startswith("where"))]
            for row in rows
        ],
    )
    print(
        f"noise floor {plain(board['noise_floor'])} (mean |A - a second estimate|); signs are asked for where |A| is above "
        f"{board['threshold']:.3g}; {board['left_out']} of {board['turns']} turns have no action and are left out; "
        f"{board['skipped']} of {result['trajectories']} trajectories have under 3 different values and rank nothing. "
        "Brackets: 95 % bootstrap intervals over trajectories, of rho in groups over groups. Criticality is that of "
        "perfect play: the deviation of Q* over the legal first actions."
    )


def _cell(score: dict[str, Any]) -> str:
    if score["value"] is None:
        return str(score["why"])
    if score["low"] is None:
        return plain(score["value"], 2)
    return f"{plain(score['value'], 2)} [{plain(score['low'], 2)}, {plain(score['high'], 2)}]"
