"""The payload of the Trace page: one trajectory and its context as one JSON string.

Tokens are columns, one value per token, null where nothing was recorded. Weights are not included: the page computes
them (weights.js), so that a slider sends no request.
"""

from __future__ import annotations

import json
import math

import numpy as np

from actfocus_core.envs import Env, make_env
from actfocus_core.envs.webshop import WebShop
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle import TurnValue, judge, stored
from actfocus_core.oracle.turns import answers
from actfocus_core.reports.token_html import shown
from actfocus_core.runs import Run
from actfocus_core.signals import SIGNALS, signal_values
from actfocus_core.trajectory import Trajectory
from actfocus_studio.data.batch_cache import BatchConstants
from actfocus_studio.data.catalog import Place
from actfocus_studio.data.view import View


def trace_payload(
    run: Run,
    text: str,
    place: Place,
    *,
    runs: list[str],
    name: str,
    reference: str | None,
    view: View,
    restore: bool,
    notes: list[str],
) -> str:
    """The page's JSON. ``text``: the ``trajectory_payload``. ``restore``: the page takes every setting from ``view`` as well."""
    around = dump(
        {
            "runs": runs,
            "run": _run(run, name, reference, place),
            "place": vars(place),
            "notes": notes,
            "filter": view.filter,
            "view": vars(view) if restore else None,
        }
    )
    return f"{around[:-1]},{text[1:]}"


def trajectory_payload(run: Run, trajectory: Trajectory, batch: BatchConstants) -> str:
    """The part of the page's JSON that does not depend on the view."""
    return dump(
        {
            "trajectory": _trajectory(trajectory),
            "tokens": columns(trajectory),
            "alternatives": _alternatives(trajectory),
            "turns": drawn_turns(run, trajectory),
            "batch": batch.of(trajectory),
        }
    )


def error_payload(message: str, runs: list[str], view: View | None = None) -> str:
    """An error of one line instead of a trajectory."""
    return dump({"error": " ".join(message.split()), "runs": runs, "view": view and vars(view)})


def dump(value: object) -> str:
    """JSON that a browser can parse. Raises ValueError for NaN."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def columns(t: Trajectory) -> dict[str, list]:
    """The parallel arrays of a trajectory; floats keep every bit of float32."""
    missing = np.full(len(t), np.nan, np.float32)
    return {
        "text": texts(t),
        "id": t.token_ids.tolist(),
        "kind": t.kinds.tolist(),
        "turn": t.turns.tolist(),
        "logprob": numbers(t.logprobs),
        "ref_logprob": numbers(t.signals.get("ref_logprob", missing)),
        "policy_entropy": numbers(t.signals.get("entropy", missing)),
        **{name: numbers(signal_values(t, name)) for name in SIGNALS},
    }


def texts(t: Trajectory) -> list[str]:
    """The texts of the tokens as a page shows them."""
    return [shown(text) for text in t.texts]


def numbers(values: np.ndarray) -> list[float | None]:
    """float32 values as the shortest decimals that round-trip; None if not finite."""
    return [
        float(text) if finite else None
        for text, finite in zip(np.asarray(values, np.float32).astype(str).tolist(), np.isfinite(values).tolist())
    ]


def _run(run: Run, name: str, reference: str | None, place: Place) -> dict:
    metadata = run.metadata
    return {
        "name": name,
        "policy": metadata.model_name or "unknown policy",
        "reference": reference,
        "references": run.references(place.step),
        "env": metadata.env or "",
        "options": env_options(run),
        "approximate": metadata.approximate,
        "score": f"actfocus score {run.path}",
    }


def env_options(run: Run) -> dict:
    """The options of the run's environment, as far as they are stored."""
    try:
        return stored.env_options(run)
    except ActFocusError:
        # A run of another trainer, or one whose model is no longer available.
        return plain(run.metadata.env_options or {})


def _trajectory(t: Trajectory) -> dict:
    names = (
        "id",
        "group",
        "env",
        "seed",
        "rollout",
        "step",
        "model",
        "reward",
        "penalty",
        "success",
        "terminated",
        "truncated",
    )
    return {name: finite(getattr(t, name)) for name in names} | {"return": finite(t.ret)}


def finite(value: object) -> object:
    """None for a number that is not finite, as in rollouts that another trainer did not score."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plain(value: object) -> object:
    """A tree of dicts and lists with None for every number that is not finite."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else finite(value)


def _alternatives(t: Trajectory) -> dict | None:
    if t.alternatives is None:
        return None
    a = t.alternatives
    return {
        "ids": a.ids.tolist(),
        "texts": [[shown(text) for text in row] for row in a.texts],
        "logprobs": [numbers(row) for row in a.logprobs],
    }


def drawn_turns(run: Run, t: Trajectory) -> list[dict]:
    """One entry per turn and one for the end, with a picture of the state and the oracle's label of the actions."""
    turns = [{**turn, "picture": None, "page": None} for turn in played(t)]
    end = {"end": True, "picture": None, "page": None}
    try:
        env = make_env(t.env, **env_options(run))
        for turn, record, actions in zip(turns, t.turn_records, answers(t)):
            env.restore(record.state)
            turn["picture"], turn["page"] = env.svg(), shop_page(env)
            value = judge(env, actions)
            # Only if the actions are those stored: the rules of another trainer may differ.
            if value.actions[: len(record.actions)] == list(record.actions):
                turn["oracle"] = turn_label(value)
        end["picture"], end["page"] = env.svg(), shop_page(env)
    except (ActFocusError, LookupError, TypeError, ValueError, AttributeError):
        # A run of another trainer: an unknown environment or state.
        pass
    return [*turns, end]


def played(t: Trajectory) -> list[dict]:
    """Actions and rewards of every turn, without pictures and labels."""
    answered = t.answered
    return [
        {
            "actions": [shown(action) for action in turn.actions],
            "valid": turn.valid,
            "malformed": k not in answered,
            "reward": finite(turn.reward),
            "penalty": finite(turn.penalty),
            "oracle": None,
        }
        for k, turn in enumerate(t.turn_records)
    ]


def turn_label(value: TurnValue) -> dict:
    """The optimal-play oracle's label of a turn, as JSON values."""
    return {
        "value": value.value,
        "after": value.after,
        "actions": value.actions,
        "costs": value.costs,
        "skill": value.skill,
        "luck": value.luck,
        "lost": value.lost,
        "facts": value.facts,
    }


def shop_page(env: Env) -> dict | None:
    """The shop's page as text and buttons; None for other environments."""
    if not isinstance(env, WebShop):
        return None
    page = env.page()
    return {
        "instruction": env.goal.instruction,
        "title": page.title,
        "lines": list(page.lines),
        "search": page.search,
        "buttons": [
            {"label": b.label, "action": b.action, "note": b.note, "group": b.group, "chosen": b.chosen}
            for b in page.buttons
        ],
    }
