"""Requests of the panel, validated and converted to the arguments of the library's functions."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from actfocus_core.credit import SCHEMES
from actfocus_core.envs import make_env
from actfocus_core.errors import ActFocusError
from actfocus_core.policy.loading import NAMES, available_policies
from actfocus_core.reports.token_html import shown
from actfocus_core.runs import Run
from actfocus_core.runs.info import Training
from actfocus_core.trajectory import Trajectory
from actfocus_studio.data.serialize import env_options
from actfocus_studio.data.view import View

RECORDED = ("energy", "entropy", "centred_energy", "shift", "nll", "policy_entropy", "state_key", "turn_reward")
"""Signals that a replay can provide: recorded with the rollouts, or computed by the reference."""
CHOICES = tuple(name for name, scheme in SCHEMES.items() if set(scheme.needs) <= set(RECORDED))
SCHEMES_MAX = 3
MATCHES = ("rate", "norm")
GROUPS = (1, 4, 8)
"""Numbers of groups in the update, for a run that was not trained."""
EVALUATIONS = (0, 8, 32)
"""Numbers of prompts of the evaluation set; 0: no evaluation."""
ROLLOUTS_MAX, TEMPERATURE_MAX, TEXT_MAX = 64, 2.0, 4000
LEGAL_MAX = 40
"""Largest number of legal actions that the form suggests; others can be typed."""


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


def facts(run: Run, t: Trajectory) -> dict:
    """What the panel can do with a trajectory; ``why``: the reason if it can do nothing."""
    try:
        model, why = model_of(run), None
    except ActFocusError as error:
        model, why = None, str(error)
    trained = is_trained(run)
    replayable = steps(run) if trained else [t.step]
    return {
        "model": model,
        "why": why,
        "trained": trained,
        "steps": replayable,
        "turns": _turns(run, t),
        "trajectory": t.id,
        "group": t.group,
        "step": t.step,
        "own": run.metadata.scheme if trained else None,
    }


def _turns(run: Run, t: Trajectory) -> list[dict]:
    """For every turn: actions, response, legal actions, and the span of its response tokens."""
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
            {
                "actions": [shown(action) for action in record.actions],
                "response": record.response,
                "legal": legal,
                "span": [int(where[0]), int(where[-1]) + 1] if len(where) else None,
            }
        )
    return found


def replay(run: Run, view: View, request: dict, t: Trajectory) -> dict:
    """Arguments of ``actfocus_core.counterfactual.replay.replay``."""
    schemes = request.get("schemes")
    if (
        not isinstance(schemes, list)
        or not 1 <= len(schemes) <= SCHEMES_MAX
        or len(set(map(str, schemes))) != len(schemes)
        or any(name not in CHOICES for name in schemes)
    ):
        raise ActFocusError(f"schemes: choose one to {SCHEMES_MAX} of {', '.join(CHOICES)}, each once")
    params = {name: values for name, values in view.scheme_params().items() if name in schemes}
    arguments = {
        "schemes": schemes,
        "match": _one_of(request, "match", MATCHES),
        "evaluation": _one_of(request, "evaluation", EVALUATIONS),
        "look": t.id,
    }
    if not is_trained(run):
        return {
            **arguments,
            "params": params,
            "step": t.step,
            "fresh": True,
            "groups": _groups(run, t, _one_of(request, "groups", GROUPS)),
        }
    own = run.metadata.scheme
    step = _whole(request, "step", 0, 10**7)
    if step not in run.steps():
        raise ActFocusError(f"the run \u201c{run.name}\u201d has no step {step}")
    return {**arguments, "params": {name: values for name, values in params.items() if name != own}, "step": step}


def _groups(run: Run, t: Trajectory, count: int) -> list[str]:
    """The trajectory's group and the ones after it, in the order of the step."""
    index = run.index()
    every = index.loc[index["step"] == t.step, "group"].drop_duplicates().tolist()
    at = every.index(t.group)
    return (every[at:] + every[:at])[:count]


def branch(run: Run, view: View, request: dict, t: Trajectory) -> dict:
    """Arguments of ``actfocus_core.counterfactual.branch.branch``."""
    return {
        "id": t.id,
        "turn": _whole(request, "turn", 0, len(t.turn_records) - 1),
        "token": None if request.get("token") is None else _whole(request, "token", 0, len(t) - 1),
        "rollouts": _whole(request, "rollouts", 1, ROLLOUTS_MAX),
        "action": _text(request, "action"),
        "text": _text(request, "text"),
        "common_random_numbers": request.get("same_dice") is True,
        "temperature": _number(request, "temperature", 0, TEMPERATURE_MAX),
        "seed": _whole(request, "seed", 0, 2**31 - 1),
    }


def edit(run: Run, view: View, request: dict, t: Trajectory) -> dict:
    """Arguments of ``actfocus_core.counterfactual.edit.edit``, and ``model``, which scores."""
    text = _text(request, "text")
    if text is None:
        raise ActFocusError("text: give the new text; it may be empty")
    arguments = {
        "id": t.id,
        "text": text,
        "model": reference_of(run),
        "schemes": ["uniform", "actfocus"],
        "params": view.scheme_params(),
    }
    if request.get("first") is None:
        return {**arguments, "turn": _whole(request, "turn", 0, len(t.turn_records) - 1)}
    return {**arguments, "span": (_whole(request, "first", 0, len(t) - 1), _whole(request, "end", 1, len(t)))}


KINDS = {"replay": replay, "branch": branch, "edit": edit}


def _one_of(request: dict, name: str, allowed: tuple):
    value = request.get(name)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value not in allowed:
        raise ActFocusError(f"{name}: must be one of {', '.join(map(str, allowed))}")
    return value


def _number(request: dict, name: str, low: float, high: float) -> float:
    value = request.get(name)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise ActFocusError(f"{name}: must be a number from {low} to {high}")
    return value


def _whole(request: dict, name: str, low: int, high: int) -> int:
    value = request.get(name)
    if type(value) is not int or not low <= value <= high:
        raise ActFocusError(f"{name}: must be a whole number from {low} to {high}")
    return value


def _text(request: dict, name: str) -> str | None:
    value = request.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > TEXT_MAX):
        raise ActFocusError(f"{name}: must be text of at most {TEXT_MAX} characters")
    return value
