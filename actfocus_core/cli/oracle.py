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
    all_: Annotated[bool, typer.Option("--all", help="Every step of the run, with one scoreboard per step.")] = False,
    reference: Reference = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="The policy that sampled the step: tiny, a model folder, or a hub id.",
            show_default="the run's model",
        ),
    ] = None,
    with_policy: Annotated[
        bool,
        typer.Option(
            "--with-policy/--no-policy",
            help="Estimate the policy's values from every turn; without them, only optimal values are the ground truth.",
        ),
    ] = True,
    rollouts: Annotated[
        int | None,
        typer.Option(min=2, help="New rollouts for each value of the policy.", show_default="16, or the stored number"),
    ] = None,
    answers: Annotated[bool, typer.Option(help="Also compute the log-probs of the solutions, for A2TGPO.")] = False,
    again: Annotated[
        bool, typer.Option("--recompute/--no-recompute", "--again/--no-again", help="Recompute stored values.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the rollouts and the bootstrap.")] = 0,
    bootstrap: Annotated[int, typer.Option(min=10, max=100_000, help="Bootstrap resamples for each interval.")] = 200,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Compute and store the true value of every turn, and score every scheme's credit against it."""
    from actfocus_core.oracle import stored
    from actfocus_core.runs import Run

    opened = Run.open(run)
    if all_ and step is not None:
        raise ActFocusError(f"--step {step} --all: use one of them")
    last = step_of(opened, step)
    annotations = {
        "oracle-optimal",
        *(["oracle-policy"] if with_policy else []),
        *(["oracle-answers"] if answers else []),
    }

    @cache
    def loaded() -> Policy:
        return load(policy or stored.policy_name(opened), device)

    def rollout_policy() -> Policy:
        if policy is None:
            stored.require_unchanged_policy(opened, current, loaded())
        return loaded()

    results = []
    with progress_bars(progress) as show:
        for current in opened.steps() if all_ else [last]:
            trajectories = opened.trajectories(current, reference)
            if again or any(current not in opened.annotated_steps(name) for name in annotations):
                opened.check_writable()
            stored.ensure_optimal(opened, current, trajectories, show, again)
            provenance = {}
            if with_policy:
                provenance = stored.ensure_policy(
                    opened, current, trajectories, rollout_policy, show, rollouts, seed, again, named=policy is not None
                )
            if answers:
                stored.ensure_answers(opened, current, trajectories, rollout_policy, show, again)
            results.append(
                {
                    "step": current,
                    "trajectories": len(trajectories),
                    "policy": provenance,
                    **_boards(trajectories, with_policy, bootstrap, seed, show(f"score {current}")),
                }
            )
    if json_:
        return print_result(True, {"run": str(opened.path), "steps": results})
    for result in results:
        _show(result)


def _boards(
    trajectories: list[Trajectory], with_policy: bool, bootstrap: int, seed: int, on_progress: OnProgress
) -> dict[str, Any]:
    """The scoreboards of one step.

    ``boards``: ground truth -> ``Scoreboard.to_dict``. ``unscored``: scheme -> the signals it lacks and how to get them.
    """
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
    """Print the tables of one step."""
    for name in result["boards"]:
        _print_board(name, result)
    for scheme, why in result["unscored"].items():
        print(f"unavailable: {scheme}: {why}")


TRUTHS = {"policy": "the policy's advantage A_pi", "optimal": "the optimal advantage A*"}
"""Titles of the ground truths."""


def _print_board(name: str, result: dict[str, Any]) -> None:
    board, provenance = result["boards"][name], result["policy"]
    rows = [*board["rows"], *([board["ceiling"]] if board["ceiling"] else [])]
    source = "exact" if board["exact"] else f"{provenance['rollouts']} rollouts per value, and as many for the ceiling"
    print_table(
        f"Ranking: is the weight on the turns that mattered? Step {result['step']}, {TRUTHS[name]}, {source}",
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
        f"Credit: does the signed credit agree with A? Step {result['step']}, {TRUTHS[name]}, {source}",
        ["scheme", "rho in groups", "rho in trajectories", "correct signs", "gradient share on luck"],
        [
            [row["name"], *(_cell(row["scores"][c]) for c in board["columns"] if not c.startswith("where"))]
            for row in rows
        ],
    )
    print(
        f"Noise floor {plain(board['noise_floor'])} (mean |A - A'| for an independent second estimate A'); signs are "
        f"compared where |A| is above {board['threshold']:.3g}; {board['left_out']} of {board['turns']} turns have no "
        f"action and are left out; {board['skipped']} of {result['trajectories']} trajectories have fewer than 3 distinct "
        "values and are not ranked. Brackets: 95% bootstrap intervals over trajectories, or over groups for rho in groups. "
        "Criticality: the standard deviation of Q* over the legal first actions."
    )


def _cell(score: dict[str, Any]) -> str:
    if score["value"] is None:
        return str(score["why"])
    if score["low"] is None:
        return plain(score["value"], 2)
    return f"{plain(score['value'], 2)} [{plain(score['low'], 2)}, {plain(score['high'], 2)}]"
