"""`actfocus replay`, `branch`, `edit` and `whatif`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from actfocus_core.cli.base import app
from actfocus_core.cli.options import (
    Json,
    ProgressMode,
    RunArgument,
    key_values,
    load,
    names_in,
    spare_a_core,
    step_of,
)
from actfocus_core.cli.show import OnProgress, Show, clean, percent, plain, print_result, print_table, progress_bars
from actfocus_core.errors import ActFocusError

if TYPE_CHECKING:
    from actfocus_core.counterfactual.store import WhatIf
    from actfocus_core.runs import Run

TrajectoryArgument = Annotated[str, typer.Argument(help="A trajectory's id.", show_default=False)]
Rebuild = Annotated[
    bool,
    typer.Option("--rebuild", help="Where the checkpoint before is not kept, do the steps since the last one again."),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda.", show_default="the run's")]


@app.command()
def replay(
    run: RunArgument,
    step: Annotated[int | None, typer.Option(min=0, help="The update to take again.", show_default="the last")] = None,
    schemes: Annotated[
        str, typer.Option(help="Names, with commas between them; own is the run's.")
    ] = "own,uniform,actfocus",
    alpha: Annotated[float | None, typer.Option(min=0, max=1, help="Instead of the schemes' own.")] = None,
    beta: Annotated[float | None, typer.Option(min=0, help="Instead of the schemes' own.")] = None,
    signal: Annotated[str | None, typer.Option(help="energy, entropy, nll, shift.")] = None,
    match: Annotated[
        Literal["rate", "norm"],
        typer.Option(help="rate: one learning rate for all. norm: gradients as long as the first scheme's."),
    ] = "rate",
    evaluate: Annotated[int, typer.Option(min=0, help="Prompts of the evaluation set to play before and after.")] = 0,
    rebuild: Rebuild = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="For a run that was not trained: its own model and a fresh optimiser.")
    ] = False,
    group: Annotated[
        list[str] | None,
        typer.Option(
            help="With --fresh: a group to update on; may be given more than once.", show_default="the step's first"
        ),
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
    """Take one stored update again under several schemes: what each changes in every token's log-prob."""
    from actfocus_core.credit import get_scheme
    from actfocus_core.runs import Run

    opened = Run.open(run)
    step = step_of(opened, step)
    wanted = names_in(schemes)
    own = opened.metadata.scheme or "uniform"
    names = [own if name == "own" else name for name in wanted]
    given = {k: v for k, v in (("alpha", alpha), ("beta", beta), ("signal", signal)) if v is not None}
    params = (
        {name: {k: v for k, v in given.items() if k in get_scheme(name).defaults} for name in names} if given else None
    )
    spare_a_core()
    from actfocus_core.counterfactual.replay import replay as take_again
    from actfocus_core.counterfactual.store import store

    with progress_bars(progress) as show:
        what = take_again(
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
    _replay_table(what)


@app.command()
def branch(
    run: RunArgument,
    trajectory: TrajectoryArgument,
    turn: Annotated[
        int | None, typer.Option(min=0, help="The turn to answer again, from 0.", show_default=False)
    ] = None,
    token: Annotated[
        int | None, typer.Option(min=0, help="Only from this token of the stream on.", show_default=False)
    ] = None,
    rollouts: Annotated[int, typer.Option(min=1, help="How often.")] = 8,
    action: Annotated[str | None, typer.Option(help="The turn's answer says this: Left, or Left || Up.")] = None,
    text: Annotated[str | None, typer.Option(help="The reply says this, or goes on with this at --token.")] = None,
    end: Annotated[
        bool | None,
        typer.Option(
            help="The turn ends after the text, or the policy writes on.", show_default="ends without --token"
        ),
    ] = None,
    common_random_numbers: Annotated[
        bool,
        typer.Option(
            "--common-random-numbers",
            "--same-dice",
            help="The environment draws the random numbers of the stored trajectory.",
        ),
    ] = False,
    temperature: Annotated[float, typer.Option(min=0, help="Of the sampling.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampling.")] = 0,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Who answers: tiny, smollm2, a model folder such as RUN/policy, or a hub id.",
            show_default="the one that sampled",
        ),
    ] = None,
    rebuild: Rebuild = False,
    device: Device = None,
    progress: ProgressMode = "bar",
    json_: Json = False,
) -> None:
    """Play a trajectory on from one of its turns or tokens: the tree of what might have come."""
    from actfocus_core.runs import Run

    opened = Run.open(run)
    stored = opened.trajectory(trajectory)
    spare_a_core()
    from actfocus_core.counterfactual.branch import branch as play_on
    from actfocus_core.counterfactual.history import policy_before
    from actfocus_core.counterfactual.store import store

    who = load(policy, device or "auto") if policy else policy_before(opened, stored.step, rebuild, device)
    with progress_bars(progress) as show:
        what = play_on(
            opened,
            trajectory,
            who,
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
    _branch_table(what)


@app.command()
def edit(
    run: RunArgument,
    trajectory: TrajectoryArgument,
    text: Annotated[str, typer.Option(help="What stands there instead.", show_default=False)],
    turn: Annotated[
        int | None, typer.Option(min=0, help="The turn whose reply is replaced.", show_default=False)
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(metavar="FIRST:END", help="The tokens of the stream to replace instead.", show_default=False),
    ] = None,
    schemes: Annotated[str, typer.Option(help="Names, with commas between them.")] = "uniform,actfocus",
    reference: Annotated[
        str | None, typer.Option(help="tiny, smollm2, a model folder, or a hub id.", show_default="the run's model")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    json_: Json = False,
) -> None:
    """Put other words into a trajectory: the reference scores it again, weights and credit follow."""
    from actfocus_core.runs import Run

    opened = Run.open(run)
    opened.trajectory(trajectory)
    name = reference or opened.metadata.reference
    if not name:
        raise ActFocusError(f"{run}: its run.json names no model; give one with --reference")
    span = _span(tokens) if tokens else None
    who = load(name, device)
    from actfocus_core.counterfactual.edit import edit as put
    from actfocus_core.counterfactual.store import store

    what = put(opened, trajectory, text, who, turn=turn, span=span, schemes=names_in(schemes))
    store(opened, what)
    if json_:
        return _print_json(opened, what)
    _edit_table(what)


@app.command()
def whatif(
    run: RunArgument,
    id: Annotated[str | None, typer.Argument(help="One of them, in full.", show_default=False)] = None,
    json_: Json = False,
) -> None:
    """List a run's replays, branches and edits, or show one."""
    from actfocus_core.counterfactual.store import listing
    from actfocus_core.counterfactual.store import load as find
    from actfocus_core.runs import Run

    opened = Run.open(run)
    if id is not None:
        what = find(opened, id)
        return _print_json(opened, what) if json_ else _TABLES[what.kind](what)
    rows = listing(opened)
    if json_:
        return print_result(True, {"run": str(opened.path), "whatif": rows})
    print_table(
        f"{len(rows)} what-ifs of {opened.path}",
        ["id", "made", "asked"],
        [[row["id"], row["created"], _asked(row["request"])] for row in rows],
    )


def _print_json(run: Run, what: WhatIf) -> None:
    from actfocus_core.counterfactual.store import plain as as_json

    print_result(
        True,
        as_json(
            {"run": str(run.path), "id": what.id, "kind": what.kind, "request": what.request, "result": what.result}
        ),
    )


def _asked(request: dict[str, Any]) -> str:
    hidden = ("policy", "reference", "params", "temperature", "seed", "settings")
    shown = {k: v for k, v in request.items() if k not in hidden and v is not None and v is not False}
    if shown.get("schemes") and isinstance(shown["schemes"][0], dict):
        shown["schemes"] = [one["scheme"] for one in shown["schemes"]]
    return ", ".join(f"{k} {' '.join(map(str, v)) if isinstance(v, list) else v}" for k, v in shown.items())


def _by_phase(show: Show) -> Callable[[str, int, int], None]:
    """One bar a phase."""
    bars: dict[str, OnProgress] = {}

    def report(phase: str, done: int, total: int) -> None:
        if phase not in bars:
            bars[phase] = show(phase)
        bars[phase](done, total)

    return report


def _span(text: str) -> tuple[int, int]:
    first, _, end = text.partition(":")
    if not (first.isdecimal() and end.isdecimal()):
        raise ActFocusError(f"--tokens {text!r}: give FIRST:END, for instance 120:125; END is not part of it")
    return int(first), int(end)


def _replay_table(what: WhatIf) -> None:
    found, rows = what.result, []
    for i, row in enumerate(found["updates"]):
        change = row["change"]
        rows.append(
            [
                row["scheme"] + (" (own)" if row["own"] else ""),
                plain(row["gradient_norm"]),
                plain(row["update_norm"]),
                plain(found["cosine_gradient"][0][i]),
                plain(found["cosine_update"][0][i]),
                *(plain(change[kind][sign]["mean"], 4) for kind in ("action", "reasoning") for sign in ("up", "down")),
                "-" if row["reproduced"] is None else f"{row['reproduced']:.1g}",
            ]
        )
    print_table(
        f"Step {what.request['step']} taken again, {found['trajectories']} trajectories; mean change of log-prob "
        "where the advantage is above and below 0; cosines with the first",
        [
            "scheme",
            "gradient",
            "update",
            "cos gradient",
            "cos update",
            "action +",
            "action -",
            "reasoning +",
            "reasoning -",
            "off checkpoint",
        ],
        rows,
    )
    for row in found["updates"]:
        if score := row.get("evaluation"):
            print(
                f"{row['scheme']}: success {percent(found['before']['success'])} -> {percent(score['success'])}, gain "
                f"{plain(score['gain'])} [{plain(score.get('gain_low'))}, {plain(score.get('gain_high'))}]"
            )
    _foot(what)


def _branch_table(what: WhatIf) -> None:
    found, rows = what.result, []

    def walk(nodes: list[dict[str, Any]], depth: int) -> None:
        for node in nodes:
            low, high = node["to_go"]["low"], node["to_go"]["high"]
            exact = node["optimal"] or {}
            rows.append(
                [
                    "  " * depth + (" || ".join(node["actions"]) or "(nothing)"),
                    str(node["count"]),
                    f"{plain(node['to_go']['mean'])} [{plain(low)}, {plain(high)}]",
                    percent(node["success"]["rate"]),
                    plain(exact.get("turn")),
                    plain(exact.get("after")),
                ]
            )
            if depth < 2:
                walk(node["children"], depth + 1)

    walk(found["tree"], 0)
    print_table(
        f"{what.request['trajectory']} from turn {what.request['turn']} on, {found['return']['n']} times",
        ["actions", "times", "return from there [95 %]", "success", "Q*", "V* after"],
        rows,
    )
    own = found["original"]
    print(
        f"stored: {clean(' || '.join(own['actions'])) or '(nothing)'}, return from there {plain(own['to_go'])}; "
        f"perfect play {plain((found['optimal'] or {}).get('value'))}; all: {plain(found['to_go']['mean'])} "
        f"[{plain(found['to_go']['low'])}, {plain(found['to_go']['high'])}], success {percent(found['success']['rate'])}"
    )
    _foot(what)


def _edit_table(what: WhatIf) -> None:
    found = what.result
    print(f"{found['replaced']!r} -> {found['text']!r}, tokens {found['span']} -> {found['new_span']}")
    for part, (before, after) in found["energy"].items():
        print(
            f"mean energy of the {'edited span' if part == 'span' else 'tokens after it'}: {plain(before)} -> {plain(after)}"
        )
    rows = [
        [
            name,
            *(
                f"{percent(row['share'][0].get(k) or 0)} -> {percent(row['share'][1].get(k) or 0)}"
                for k in ("reasoning", "action", "format")
            ),
            " -> ".join("-" if c is None else f"{c:.3g}" for c in row["credit"]),
        ]
        for name, row in found["schemes"].items()
        if not row["missing"]
    ]
    print_table(
        "Share of the trajectory's weight, and its credit", ["scheme", "reasoning", "action", "format", "|c|"], rows
    )
    for name, row in found["schemes"].items():
        if row["missing"]:
            print(f"unavailable: {name}: no {', '.join(row['missing'])}")
    _foot(what)


def _foot(what: WhatIf) -> None:
    for badge in what.result.get("badges", []):
        print(f"note: {clean(badge)}")
    print(what.id)


_TABLES = {"replay": _replay_table, "branch": _branch_table, "edit": _edit_table}
