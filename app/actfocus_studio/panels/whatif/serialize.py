"""Stored what-ifs as the panel receives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from actfocus_core.counterfactual.store import WhatIf, signal
from actfocus_core.counterfactual.walkthrough import ADVANTAGE, AFTER, BEFORE, WEIGHT, walkthrough
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.signals import signal_values
from actfocus_core.trajectory import Trajectory
from actfocus_studio.data import columns
from actfocus_studio.data.serialize import drawn_turns, finite, token_columns
from actfocus_studio.panels.whatif.results import (
    BranchAsked,
    BranchResult,
    EditAsked,
    EditResult,
    ReplayAsked,
    ReplayResult,
)
from actfocus_studio.panels.whatif.schema import (
    BranchShown,
    CreditColumns,
    EditPane,
    EditShown,
    Listed,
    Motion,
    MotionColumns,
    MotionParams,
    MotionSignal,
    ReplayedTrajectory,
    ReplayShown,
    StoredAnswers,
    UpdateColumns,
    WhatIfPane,
    WhatIfTokens,
)

TOP = 99
"""Percentile of |change| over the response tokens of a batch at which the colour saturates."""
LISTED: TypeAdapter[Listed] = TypeAdapter(Listed)
Shown = ReplayShown | BranchShown | EditShown
T = TypeVar("T")


def listing(rows: Iterable[dict[str, Any]]) -> StoredAnswers:
    """Rows of ``Answers.listing``."""
    fields = ("id", "kind", "kept", "request")
    return StoredAnswers(answers=[_read(LISTED, row["id"], {name: row[name] for name in fields}) for row in rows])


def shown(what: WhatIf, kept: bool, run: Run, name: str, selected: str) -> Shown:
    """Request and result, and the tokens of trajectory ``selected``, or of the one that tells most."""
    return _SHOWN[what.kind](what, run, selected, {"id": what.id, "kind": what.kind, "kept": kept, "run": name})


def motion(what: WhatIf, run: Run, id: str, scheme: str) -> Motion:
    """The steps of one update on one trajectory, for the walkthrough."""
    if what.kind != "replay":
        raise ActFocusError(f"{what.id}: the walkthrough needs a replayed update, and this is a {what.kind}")
    steps = walkthrough(what, id, scheme)
    row = next(row for row in what.result["updates"] if row["scheme"] == scheme)
    t = _pick(what, id)
    return Motion(
        id=what.id,
        scheme=scheme,
        params=_read(TypeAdapter(MotionParams), what.id, row["params"]),
        lr=what.result["lr"],
        update_norm=row["update_norm"],
        gradient_norm=row["gradient_norm"],
        trajectories=what.result["trajectories"],
        returns=[finite(value) for value in steps["rewards"]["group"].values()],
        divisor=steps["loss"]["divisor"],
        signal=_signal(steps),
        columns=MotionColumns(
            advantage=columns.float32(steps["advantages"]["values"]),
            weight=columns.float32(steps["weights"]["values"]),
            loss=columns.float32(steps["loss"]["values"]),
            share=columns.float32(steps["mass"]["values"]),
            **{part: columns.float32(steps["logprobs"][part]) for part in ("before", "after", "change")},
        ),
        pane=WhatIfPane(**_pane(run, t)),
    )


def _signal(steps: dict[str, Any]) -> MotionSignal | None:
    energies, z = steps["energies"], steps["z"]
    if energies is None:
        return None
    return MotionSignal(
        name=energies["signal"],
        values=columns.float32(energies["values"]),
        z=columns.float32(z["values"]),
        **{name: z[name] for name in ("mean", "std", "count")},
    )


def _replay(what: WhatIf, run: Run, selected: str, common: dict[str, Any]) -> ReplayShown:
    schemes = [row["scheme"] for row in what.result["updates"]]
    changes = {t.id: {s: signal(t, f"{AFTER}:{s}") - signal(t, BEFORE) for s in schemes} for t in what.trajectories}
    moved = {id: max(_mean_absolute(change) for change in of.values()) for id, of in changes.items()}
    t = _pick(what, selected if selected in changes else max(moved, key=moved.__getitem__, default=""))
    return ReplayShown(
        **common,
        request=_read(TypeAdapter(ReplayAsked), what.id, what.request),
        result=_read(TypeAdapter(ReplayResult), what.id, what.result),
        trajectories=[
            ReplayedTrajectory(id=t.id, group=t.group, rollout=t.rollout, return_=finite(t.ret), moved=moved[t.id])
            for t in what.trajectories
        ],
        top=_percentiles((change for of in changes.values() for change in of.values()), [TOP], absolute=True)[0],
        pane=WhatIfPane(**_pane(run, t)),
        before=columns.float32(signal(t, BEFORE)),
        schemes={
            s: UpdateColumns(
                after=columns.float32(signal(t, f"{AFTER}:{s}")),
                change=columns.float32(changes[t.id][s]),
                weight=columns.float32(signal(t, f"{WEIGHT}:{s}")),
                advantage=columns.float32(signal(t, f"{ADVANTAGE}:{s}")),
            )
            for s in schemes
        },
    )


def _branch(what: WhatIf, run: Run, selected: str, common: dict[str, Any]) -> BranchShown:
    request, result = (
        _read(TypeAdapter(BranchAsked), what.id, what.request),
        _read(TypeAdapter(BranchResult), what.id, what.result),
    )
    ids = [t.id for t in what.trajectories]
    outcome = _pick(what, selected if selected in ids else result.tree[0].ids[0])
    return BranchShown(
        **common,
        request=request,
        result=result,
        outcome=WhatIfPane(**_pane(run, outcome)),
        original=WhatIfPane(**_pane(run, run.trajectory(request.trajectory, None))),
    )


def _edit(what: WhatIf, run: Run, selected: str, common: dict[str, Any]) -> EditShown:
    result = _read(TypeAdapter(EditResult), what.id, what.result)
    names = [name for name, row in result.schemes.items() if not row.missing]
    if len(what.trajectories) != 2:
        raise ActFocusError(f"{what.id}: needs the original and the edited trajectory; it was stored incompletely")
    original, edited = (
        EditPane(
            **_pane(run, t),
            schemes={
                name: CreditColumns(
                    weight=columns.float32(signal(t, f"weight:{name}")),
                    credit=columns.float32(signal(t, f"credit:{name}")),
                )
                for name in names
            },
        )
        for t in what.trajectories
    )
    energies = [signal_values(t, "energy") for t in what.trajectories]
    return EditShown(
        **common,
        request=_read(TypeAdapter(EditAsked), what.id, what.request),
        result=result,
        original=original,
        edited=edited,
        range=tuple(_percentiles(energies, [1, 99])) if any(np.isfinite(e).any() for e in energies) else None,
    )


_SHOWN = {"replay": _replay, "branch": _branch, "edit": _edit}


def _pane(run: Run, t: Trajectory) -> dict[str, Any]:
    """The fields of ``WhatIfPane``, for a pane that has more of them."""
    return {
        "id": t.id,
        "group": t.group,
        "rollout": t.rollout,
        "return_": finite(t.ret),
        "success": t.success,
        "terminated": t.terminated,
        "truncated": t.truncated,
        "tokens": WhatIfTokens(
            **token_columns(t),
            logprob=columns.float32(t.logprobs),
            energy=columns.float32(signal_values(t, "energy")),
        ),
        "turns": drawn_turns(run, t),
    }


def _mean_absolute(change: np.ndarray) -> float:
    known = np.abs(change[np.isfinite(change)])
    return float(known.mean()) if len(known) else 0.0


def _percentiles(values: Iterable[np.ndarray], at: list[int], absolute: bool = False) -> list[float]:
    """Percentiles of the known values of all arrays; 0 where none is known."""
    known = np.concatenate(list(values))
    known = known[np.isfinite(known)]
    return np.percentile(np.abs(known) if absolute else known, at).tolist() if len(known) else [0.0] * len(at)


def _pick(what: WhatIf, id: str) -> Trajectory:
    t = next((t for t in what.trajectories if t.id == id), None)
    if t is None:
        raise ActFocusError(f"{what.id}: has no trajectory {id!r}")
    return t


def _read(shape: TypeAdapter[T], id: str, stored: object) -> T:
    """A part of a stored file. Raises ActFocusError with the field that does not fit."""
    try:
        return shape.validate_python(stored)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ActFocusError(f"{id}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
