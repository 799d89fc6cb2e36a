"""Requests of the What-if panel, and the arguments of the library's functions that they become."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import BeforeValidator, Field, StringConstraints

from actfocus_core.credit import SCHEMES
from actfocus_core.envs import make_env
from actfocus_core.errors import ActFocusError
from actfocus_core.policy.loading import NAMES, available_policies
from actfocus_core.reports.token_html import shown
from actfocus_core.runs import Run
from actfocus_core.runs.info import Training
from actfocus_core.trajectory import Trajectory
from actfocus_studio.data.message import Request
from actfocus_studio.data.serialize import env_options
from actfocus_studio.data.view import INDEX_MAX, Name, ViewRequest
from actfocus_studio.panels.whatif.results import Match
from actfocus_studio.panels.whatif.schema import EditableTurn, WhatIfFacts

RECORDED = ("energy", "entropy", "centred_energy", "shift", "nll", "policy_entropy", "state_key", "turn_reward")
"""Signals that a replay can provide: recorded with the rollouts, or computed by the reference."""
CHOICES = tuple(name for name, scheme in SCHEMES.items() if set(scheme.needs) <= set(RECORDED))
SCHEMES_MAX, SCHEMES_SENT = 3, 100
"""Schemes in an update, and in a request that is read at all."""
Groups = Literal[1, 4, 8]
"""Number of groups in the update, for a run that was not trained."""
Prompts = Literal[0, 8, 32]
"""Number of prompts of the evaluation set; 0: no evaluation."""
GROUPS, EVALUATIONS = get_args(Groups), get_args(Prompts)
ROLLOUTS_MAX, TEMPERATURE_MAX, TEXT_MAX, SEED_MAX = 64, 2.0, 4000, 2**31 - 1
LEGAL_MAX = 40
"""Largest number of legal actions that the form suggests; others can be typed."""


def _number(value: object) -> object:
    """True equals 1, but is no number of groups."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Number = BeforeValidator(_number)
Index = Annotated[int, Field(strict=True, ge=0, le=INDEX_MAX)]
Text = Annotated[str, StringConstraints(max_length=TEXT_MAX)]


class WhatIfWorkRequest(Request):
    """A request about the work in progress, which all pages share."""


class WhatIfRequest(ViewRequest):
    """A stored answer; the view says which of its trajectories."""

    id: Name


class MotionRequest(WhatIfRequest):
    """The walkthrough of one update on the trajectory of the view."""

    scheme: Name


class ReplayRequest(ViewRequest):
    """Take one update again under each of these schemes."""

    schemes: Annotated[list[Name], Field(max_length=SCHEMES_SENT)]
    match: Match = "rate"
    evaluation: Annotated[Prompts, Number] = 0
    step: Index | None = None
    """Of a training run."""
    groups: Annotated[Groups, Number] = 4
    """Of a run that was not trained."""


class BranchRequest(ViewRequest):
    """Continue the trajectory of the view from a turn, or from a token of it."""

    turn: Index
    token: Index | None = None
    rollouts: Annotated[int, Field(strict=True, ge=1, le=ROLLOUTS_MAX)]
    action: Text | None = None
    text: Text | None = None
    same_dice: bool = False
    """The environment draws the random numbers of the stored trajectory."""
    temperature: Annotated[float, Field(ge=0, le=TEMPERATURE_MAX)] = 1.0
    seed: Annotated[int, Field(strict=True, ge=0, le=SEED_MAX)] = 0


class EditRequest(ViewRequest):
    """Replace the reply of a turn, or the tokens from ``first`` up to ``end``, by a text."""

    text: Text
    turn: Index | None = None
    first: Index | None = None
    end: Index | None = None


def is_trained(run: Run) -> bool:
    return isinstance(run.metadata.config, Training)


def model_of(run: Run) -> str:
    """The model that a run started from. Raises ActFocusError if a page may not load it or it is not available."""
    return _loadable(run, run.metadata.model_name or "")


def reference_of(run: Run) -> str:
    """The model that scores an edit. Raises like ``model_of``."""
    return _loadable(run, run.metadata.reference or "")


def _loadable(run: Run, name: str) -> str:
    if name in available_policies() or name and name not in NAMES and (Path(name) / "config.json").is_file():
        return name
    raise ActFocusError(
        f"the panel needs the policy that sampled these rollouts, and \u201c{name or 'unknown'}\u201d is not here: a page loads "
        f"{', '.join(NAMES)} or a model folder of this machine; on the command line, `actfocus replay {run.path}`, "
        "`branch` and `edit` load others"
    )


def steps(run: Run) -> list[int]:
    """The steps of a training run that can be replayed: their rollouts and the checkpoint before them are stored."""
    kept = {0, *(int(path.name[5:]) for path in (run.path / "checkpoints").glob("step-*") if path.name[5:].isdecimal())}
    return [step for step in run.steps() if step - 1 in kept]


def facts(run: Run, name: str, t: Trajectory) -> WhatIfFacts:
    """What the panel can do with a trajectory."""
    model, why = None, None
    try:
        model = model_of(run)
    except ActFocusError as error:
        why = str(error)
    trained = is_trained(run)
    return WhatIfFacts(
        run=name,
        trajectory=t.id,
        group=t.group,
        step=t.step,
        model=model,
        why=why,
        trained=trained,
        steps=steps(run) if trained else [t.step],
        own=run.metadata.scheme if trained else None,
        turns=_turns(run, t),
    )


def _turns(run: Run, t: Trajectory) -> list[EditableTurn]:
    found = []
    try:
        env = make_env(t.env, **env_options(run))
    except ActFocusError:
        env = None
    for k, record in enumerate(t.turn_records):
        where = np.flatnonzero((t.turns == k) & t.response_mask)
        legal = []
        try:
            if env:
                env.restore(record.state)
                legal = env.legal_actions()[:LEGAL_MAX]
        except (LookupError, TypeError, ValueError, AttributeError):
            # Runs of other trainers store turns without a state.
            pass
        found.append(
            EditableTurn(
                actions=[shown(action) for action in record.actions],
                response=record.response,
                legal=legal,
                span=(int(where[0]), int(where[-1]) + 1) if len(where) else None,
            )
        )
    return found


def replay(run: Run, t: Trajectory, request: ReplayRequest) -> dict[str, Any]:
    """Arguments of ``actfocus_core.counterfactual.replay.replay``."""
    schemes = request.schemes
    if not 1 <= len(schemes) <= SCHEMES_MAX or len(set(schemes)) != len(schemes) or not set(schemes) <= set(CHOICES):
        raise ActFocusError(f"schemes: choose one to {SCHEMES_MAX} of {', '.join(CHOICES)}, each once")
    params = {name: values for name, values in request.view.scheme_params().items() if name in schemes}
    arguments = {"schemes": schemes, "match": request.match, "evaluation": request.evaluation, "look": t.id}
    if not is_trained(run):
        groups = _groups(run, t, request.groups)
        return {**arguments, "params": params, "step": t.step, "fresh": True, "groups": groups}
    # The run's own scheme keeps the parameters of the run.
    params.pop(run.metadata.scheme, None)
    if request.step not in run.steps():
        raise ActFocusError(f"the run \u201c{run.name}\u201d has no step {request.step}")
    return {**arguments, "params": params, "step": request.step}


def _groups(run: Run, t: Trajectory, count: int) -> list[str]:
    """The trajectory's group and the ones after it, in the order of the step."""
    index = run.index()
    every = index.loc[index["step"] == t.step, "group"].drop_duplicates().tolist()
    at = every.index(t.group)
    return (every[at:] + every[:at])[:count]


def branch(run: Run, t: Trajectory, request: BranchRequest) -> dict[str, Any]:
    """Arguments of ``actfocus_core.counterfactual.branch.branch``."""
    return {
        "id": t.id,
        "turn": _within("turn", request.turn, 0, len(t.turn_records) - 1),
        "token": None if request.token is None else _within("token", request.token, 0, len(t) - 1),
        "rollouts": request.rollouts,
        "action": request.action,
        "text": request.text,
        "common_random_numbers": request.same_dice,
        "temperature": request.temperature,
        "seed": request.seed,
    }


def edit(run: Run, t: Trajectory, request: EditRequest) -> dict[str, Any]:
    """Arguments of ``actfocus_core.counterfactual.edit.edit``, and ``model``, which scores."""
    arguments = {
        "id": t.id,
        "text": request.text,
        "model": reference_of(run),
        "schemes": ["uniform", "actfocus"],
        "params": request.view.scheme_params(),
    }
    if request.first is None:
        return {**arguments, "turn": _within("turn", request.turn, 0, len(t.turn_records) - 1)}
    return {
        **arguments,
        "span": (_within("first", request.first, 0, len(t) - 1), _within("end", request.end, 1, len(t))),
    }


def _within(name: str, value: int | None, low: int, high: int) -> int:
    """An index of something that the trajectory has."""
    if value is None or not low <= value <= high:
        raise ActFocusError(f"{name}: must be a whole number from {low} to {high}")
    return value
