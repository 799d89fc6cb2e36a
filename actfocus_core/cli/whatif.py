"""`actfocus replay`, `branch`, `edit` and `whatif`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from actfocus_core.cli.base import app
from actfocus_core.cli.options import (
    Alpha,
    Beta,
    Json,
    ProgressMode,
    RunArgument,
    key_values,
    load,
    names_in,
    spare_a_core,
    step_of,
)
from actfocus_core.cli.show import OnProgress, Show, print_result, print_table, progress_bars
from actfocus_core.cli.whatif_tables import TABLES, branch_table, edit_table, replay_table, request_line
from actfocus_core.errors import ActFocusError

if TYPE_CHECKING:
    from actfocus_core.counterfactual.store import WhatIf
    from actfocus_core.runs import Run

TrajectoryArgument = Annotated[str, typer.Argument(help="A trajectory's id.", show_default=False)]
Rebuild = Annotated[
    bool,
    typer.Option("--rebuild", help="If the preceding checkpoint is not stored, repeat the steps since the last one."),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda.", show_default="the run's")]


@app.command()
def replay(
    run: RunArgument,
    step: Annotated[
        int | None, typer.Option(min=0, help="Training step whose update is replayed.", show_default="the last")
    ] = None,
    schemes: Annotated[
        str, typer.Option(help="Comma-separated names of schemes; own is the run's scheme.")
    ] = "own,uniform,actfocus",
    alpha: Alpha = None,
    beta: Beta = None,
    signal: Annotated[
        str | None, typer.Option(help="energy, entropy, nll, shift.", show_default="the scheme's default")
    ] = None,
    match: Annotated[
        Literal["rate", "norm"],
        typer.Option(
            help="rate: the same learning rate for all schemes. norm: gradients scaled to the norm of the first scheme's."
        ),
    ] = "rate",
    evaluate: Annotated[
        int, typer.Option(min=0, help="Prompts of the evaluation set to play before and after the update.")
    ] = 0,
    rebuild: Rebuild = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="For a run without training: use its model and a new optimizer.")
    ] = False,
    group: Annotated[
        list[str] | None,
        typer.Option(help="With --fresh: a group to update on; may be repeated.", show_default="the step's first"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="With --fresh: a field of the training config, for instance lr=1e-4."
        ),
    ] = None,
    device: Device = None,
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Replay one stored update under several schemes, and compare the changes of every token's log-prob."""
    from actfocus_core.credit import get_scheme
    from actfocus_core.runs import Run

    opened = Run.open(run)
    step = step_of(opened, step)
    run_scheme = opened.metadata.scheme or "uniform"
    names = [run_scheme if name == "own" else name for name in names_in(schemes)]
    values = {k: v for k, v in (("alpha", alpha), ("beta", beta), ("signal", signal)) if v is not None}
    params = (
        {name: {k: v for k, v in values.items() if k in get_scheme(name).defaults} for name in names}
        if values
        else None
    )
    spare_a_core()
    from actfocus_core.counterfactual.replay import replay as replay_update
    from actfocus_core.counterfactual.store import store

    with progress_bars(progress) as show:
        what = replay_update(
            opened,
            step,
            names,
            params=params,
            match=match,
            evaluation=evaluate,
            rebuild=rebuild,
            fresh=fresh,
            groups=group or None,
            settings=key_values(set_ or [], "--set"),
            device=device,
            on_progress=_by_phase(show),
        )
    store(opened, what)
    if json_:
        return _print_json(opened, what)
    replay_table(what)


@app.command()
def branch(
    run: RunArgument,
    trajectory: TrajectoryArgument,
    turn: Annotated[
        int | None, typer.Option(min=0, help="The turn to branch from, counted from 0.", show_default=False)
    ] = None,
    token: Annotated[
        int | None, typer.Option(min=0, help="The token of the stream to branch from.", show_default=False)
    ] = None,
    rollouts: Annotated[int, typer.Option(min=1, help="Number of rollouts.")] = 8,
    action: Annotated[
        str | None, typer.Option(help="Answer of the turn instead of a sampled one: Left, or Left || Up.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Text of the reply, or its continuation at --token, instead of sampled text.")
    ] = None,
    end: Annotated[
        bool | None,
        typer.Option(
            help="End the turn after the text, or let the policy continue it.", show_default="--end without --token"
        ),
    ] = None,
    common_random_numbers: Annotated[
        bool,
        typer.Option(
            "--common-random-numbers",
            "--same-dice",
            help="Use the environment's random numbers of the stored trajectory.",
        ),
    ] = False,
    temperature: Annotated[float, typer.Option(min=0, help="Sampling temperature.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Sampling seed.")] = 0,
    policy: Annotated[
        str | None,
        typer.Option(
            help="The policy that continues: tiny, smollm2, a model folder such as RUN/policy, or a hub id.",
            show_default="the policy that sampled the trajectory",
        ),
    ] = None,
    rebuild: Rebuild = False,
    device: Device = None,
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Sample continuations of a trajectory from one of its turns or tokens, as a tree of outcomes."""
    from actfocus_core.runs import Run

    opened = Run.open(run)
    stored = opened.trajectory(trajectory)
    spare_a_core()
    from actfocus_core.counterfactual.branch import branch as sample_branches
    from actfocus_core.counterfactual.history import policy_before
    from actfocus_core.counterfactual.store import store

    loaded = load(policy, device or "auto") if policy else policy_before(opened, stored.step, rebuild, device)
    with progress_bars(progress) as show:
        what = sample_branches(
            opened,
            trajectory,
            loaded,
            turn,
            token=token,
            rollouts=rollouts,
            action=action,
            text=text,
            end=end,
            common_random_numbers=common_random_numbers,
            temperature=temperature,
            seed=seed,
            on_progress=show("rollout"),
        )
    store(opened, what)
    if json_:
        return _print_json(opened, what)
    branch_table(what)


@app.command()
def edit(
    run: RunArgument,
    trajectory: TrajectoryArgument,
    text: Annotated[str, typer.Option(help="The replacement text.", show_default=False)],
    turn: Annotated[
        int | None, typer.Option(min=0, help="The turn whose reply is replaced.", show_default=False)
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST:END",
            help="The tokens of the stream to replace instead of a whole reply.",
            show_default=False,
        ),
    ] = None,
    schemes: Annotated[str, typer.Option(help="Comma-separated names of schemes.")] = "uniform,actfocus",
    reference: Annotated[
        str | None, typer.Option(help="tiny, smollm2, a model folder, or a hub id.", show_default="the run's model")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    json_: Json = False,
) -> None:
    """Replace text in a trajectory; the reference scores it again, and weights and credit are recomputed."""
    from actfocus_core.runs import Run

    opened = Run.open(run)
    opened.trajectory(trajectory)
    name = reference or opened.metadata.reference
    if not name:
        raise ActFocusError(f"{run}: its run.json names no model; choose one with --reference")
    span = _span(tokens) if tokens else None
    loaded = load(name, device)
    from actfocus_core.counterfactual.edit import edit as edit_trajectory
    from actfocus_core.counterfactual.store import store

    what = edit_trajectory(opened, trajectory, text, loaded, turn=turn, span=span, schemes=names_in(schemes))
    store(opened, what)
    if json_:
        return _print_json(opened, what)
    edit_table(what)


@app.command()
def whatif(
    run: RunArgument,
    id: Annotated[str | None, typer.Argument(help="The what-if to show in full.", show_default=False)] = None,
    json_: Json = False,
) -> None:
    """List a run's replays, branches and edits (what-ifs), or show one."""
    from actfocus_core.counterfactual.store import listing
    from actfocus_core.counterfactual.store import load as find
    from actfocus_core.runs import Run

    opened = Run.open(run)
    if id is not None:
        what = find(opened, id)
        return _print_json(opened, what) if json_ else TABLES[what.kind](what)
    rows = listing(opened)
    if json_:
        return print_result(True, {"run": str(opened.path), "whatif": rows})
    print_table(
        f"{len(rows)} what-ifs of {opened.path}",
        ["id", "created", "request"],
        [[row["id"], row["created"], request_line(row["request"])] for row in rows],
    )


def _print_json(run: Run, what: WhatIf) -> None:
    from actfocus_core.counterfactual.store import plain as as_json

    print_result(
        True,
        as_json(
            {"run": str(run.path), "id": what.id, "kind": what.kind, "request": what.request, "result": what.result}
        ),
    )


def _by_phase(show: Show) -> Callable[[str, int, int], None]:
    """A progress callback that shows one bar per phase."""
    bars: dict[str, OnProgress] = {}

    def report(phase: str, done: int, total: int) -> None:
        if phase not in bars:
            bars[phase] = show(phase)
        bars[phase](done, total)

    return report


def _span(text: str) -> tuple[int, int]:
    first, _, end = text.partition(":")
    if not (first.isdecimal() and end.isdecimal()):
        raise ActFocusError(f"--tokens {text!r}: must be FIRST:END, for instance 120:125, with END exclusive")
    return int(first), int(end)
