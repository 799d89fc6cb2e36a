"""What the Trace page is given: one trajectory and its surroundings as one JSON string.

Columns, one value a token, null where nothing was recorded. Weights are not in it: the page
computes them (weights.js), so that a slider needs no server.
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
    """What of the page's JSON is alike for whoever looks at the trajectory."""
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
    """One clear line instead of a trajectory."""
    return dump({"error": " ".join(message.split()), "runs": runs, "view": view and vars(view)})


def dump(value: object) -> str:
    """JSON that a browser can parse: no NaN gets this far."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def columns(t: Trajectory) -> dict[str, list]:
    """The parallel arrays of a trajectory, exact to the last bit of float32."""
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
    """The tokens as a page draws them."""
    return [shown(text) for text in t.texts]


def numbers(values: np.ndarray) -> list[float | None]:
    """float32 as the shortest decimals that give the same float32 again; null where not finite."""
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
    """The options the run's environment was made with, as far as the run says."""
    try:
        return stored.env_options(run)
    except ActFocusError:
        # Another trainer's run, or one whose model is not here any more.
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
    """None for a number that was not recorded: another trainer may never have scored a rollout."""
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
    """One entry a turn, and one for how it ended; the worlds drawn, the choices judged."""
    turns = [{**turn, "picture": None, "page": None} for turn in played(t)]
    end = {"end": True, "picture": None, "page": None}
    try:
        env = make_env(t.env, **env_options(run))
        for turn, record, given in zip(turns, t.turn_records, answers(t)):
            env.restore(record.state)
            turn["picture"], turn["page"] = env.svg(), shop_page(env)
            verdict = judge(env, given)
            # Only where the step is the stored one: another trainer's rules may differ.
            if verdict.actions[: len(record.actions)] == list(record.actions):
                turn["oracle"] = turn_verdict(verdict)
        end["picture"], end["page"] = env.svg(), shop_page(env)
    except (ActFocusError, LookupError, TypeError, ValueError, AttributeError):
        # Another trainer's run: an environment or a state this product does not know.
        pass
    return [*turns, end]


def played(t: Trajectory) -> list[dict]:
    """What was done in every turn, without a world to draw or to judge it by."""
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


def turn_verdict(value: TurnValue) -> dict:
    """What the optimal oracle says of a turn."""
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
    """The shop's page as text with its buttons; None for an environment that is a picture."""
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
