"""What a page may ask of a run, checked, as the arguments the library takes."""

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
"""What a scheme may need and a replay has: rollouts record it, or the reference is asked."""
CHOICES = tuple(name for name, scheme in SCHEMES.items() if set(scheme.needs) <= set(RECORDED))
SCHEMES_MAX = 3
MATCHES = ("rate", "norm")
GROUPS = (1, 4, 8)
"""How many groups of a run that was not trained are updated on."""
EVALUATIONS = (0, 8, 32)
"""Prompts of the evaluation set."""
ROLLOUTS_MAX, TEMPERATURE_MAX, TEXT_MAX = 64, 2.0, 4000
LEGAL_MAX = 40
"""Actions of a turn that are offered; others can be typed."""


def is_trained(run: Run) -> bool:
    return isinstance(run.metadata.config, Training)


def model_of(run: Run) -> str:
    """The model a run began with. Raises ActFocusError where a page may not load it or it is not here."""
    return _loadable(run, run.metadata.model_name or "")


def reference_of(run: Run) -> str:
    """The model that scores an edit. Raises as ``model_of``."""
    return _loadable(run, run.metadata.reference or "")


def _loadable(run: Run, name: str) -> str:
    if name in available_policies() or name and name not in NAMES and (Path(name) / "config.json").is_file():
        return name
    raise ActFocusError(
        f"what-ifs need the policy that wrote these rollouts, and \u201c{name or 'unknown'}\u201d is not here: a page loads "
        f"{', '.join(NAMES)} or a model folder of this machine; on the command line, `actfocus replay {run.path}`, "
        "`branch` and `edit` load others"
    )


def steps(run: Run) -> list[int]:
    """The steps of a training run whose rollouts and whose checkpoint before are kept."""
    kept = {0, *(int(path.name[5:]) for path in (run.path / "checkpoints").glob("step-*") if path.name[5:].isdecimal())}
    return [step for step in run.steps() if step - 1 in kept]


def facts(run: Run, t: Trajectory) -> dict:
    """What can be asked about a trajectory, and the one line that says why not."""
    try:
        model, why = model_of(run), None
    except ActFocusError as error:
        model, why = None, str(error)
    trained = is_trained(run)
    at_once = steps(run) if trained else [t.step]
    return {
        "model": model,
        "why": why,
        "trained": trained,
        "steps": at_once,
        "turns": _turns(run, t),
        "trajectory": t.id,
        "group": t.group,
        "step": t.step,
        "own": run.metadata.scheme if trained else None,
    }


def _turns(run: Run, t: Trajectory) -> list[dict]:
    """What the policy wrote in every turn, where it stands, and what the environment allowed there."""
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
            # Another trainer's run: the turns were stored without a state.
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


def replay(run: Run, view: View, asked: dict, t: Trajectory) -> dict:
    """Arguments of ``actfocus_core.counterfactual.replay.replay``."""
    schemes = asked.get("schemes")
    if (
        not isinstance(schemes, list)
        or not 1 <= len(schemes) <= SCHEMES_MAX
        or len(set(map(str, schemes))) != len(schemes)
        or any(name not in CHOICES for name in schemes)
    ):
        raise ActFocusError(f"schemes: choose one to {SCHEMES_MAX} of {', '.join(CHOICES)}, each once")
    tuned = {name: given for name, given in view.scheme_params().items() if name in schemes}
    made = {
        "schemes": schemes,
        "match": _one_of(asked, "match", MATCHES),
        "evaluation": _one_of(asked, "evaluation", EVALUATIONS),
        "look": t.id,
    }
    if not is_trained(run):
        return {
            **made,
            "params": tuned,
            "step": t.step,
            "fresh": True,
            "groups": _groups(run, t, _one_of(asked, "groups", GROUPS)),
        }
    own = run.metadata.scheme
    step = _whole(asked, "step", 0, 10**7)
    if step not in run.steps():
        raise ActFocusError(f"the run \u201c{run.name}\u201d has no step {step}")
    return {**made, "params": {name: given for name, given in tuned.items() if name != own}, "step": step}


def _groups(run: Run, t: Trajectory, count: int) -> list[str]:
    """The trajectory's own group and those after it, in the order of the step."""
    index = run.index()
    every = index.loc[index["step"] == t.step, "group"].drop_duplicates().tolist()
    at = every.index(t.group)
    return (every[at:] + every[:at])[:count]


def branch(run: Run, view: View, asked: dict, t: Trajectory) -> dict:
    """Arguments of ``actfocus_core.counterfactual.branch.branch``."""
    return {
        "id": t.id,
        "turn": _whole(asked, "turn", 0, len(t.turn_records) - 1),
        "token": None if asked.get("token") is None else _whole(asked, "token", 0, len(t) - 1),
        "rollouts": _whole(asked, "rollouts", 1, ROLLOUTS_MAX),
        "action": _text(asked, "action"),
        "text": _text(asked, "text"),
        "common_random_numbers": asked.get("same_dice") is True,
        "temperature": _number(asked, "temperature", 0, TEMPERATURE_MAX),
        "seed": _whole(asked, "seed", 0, 2**31 - 1),
    }


def edit(run: Run, view: View, asked: dict, t: Trajectory) -> dict:
    """Arguments of ``actfocus_core.counterfactual.edit.edit``, and ``model``, which scores."""
    text = _text(asked, "text")
    if text is None:
        raise ActFocusError("text: give what shall stand there; it may be empty")
    made = {
        "id": t.id,
        "text": text,
        "model": reference_of(run),
        "schemes": ["uniform", "actfocus"],
        "params": view.scheme_params(),
    }
    if asked.get("first") is None:
        return {**made, "turn": _whole(asked, "turn", 0, len(t.turn_records) - 1)}
    return {**made, "span": (_whole(asked, "first", 0, len(t) - 1), _whole(asked, "end", 1, len(t)))}


KINDS = {"replay": replay, "branch": branch, "edit": edit}


def _one_of(asked: dict, name: str, allowed: tuple):
    value = asked.get(name)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value not in allowed:
        raise ActFocusError(f"{name}: must be one of {', '.join(map(str, allowed))}")
    return value


def _number(asked: dict, name: str, low: float, high: float) -> float:
    value = asked.get(name)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise ActFocusError(f"{name}: must be a number from {low} to {high}")
    return value


def _whole(asked: dict, name: str, low: int, high: int) -> int:
    value = asked.get(name)
    if type(value) is not int or not low <= value <= high:
        raise ActFocusError(f"{name}: must be a whole number from {low} to {high}")
    return value


def _text(asked: dict, name: str) -> str | None:
    value = asked.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > TEXT_MAX):
        raise ActFocusError(f"{name}: must be text of at most {TEXT_MAX} characters")
    return value
