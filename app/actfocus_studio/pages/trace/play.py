"""A person plays on from any turn of a stored trajectory.

The server keeps no state: the page sends all moves so far, the environment is restored at the stored turn and
replays them, with the random numbers of the stored rollout.
"""

from __future__ import annotations

import json

from actfocus_core.envs import Env, make_env
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle import judge, optimal_values
from actfocus_core.runs import Run
from actfocus_studio.data.serialize import dump, env_options, shop_page, turn_label

REQUEST_MAX = 20_000
"""Characters of a request: a hundred turns of long searches."""
MOVES_MAX = 100


def play(run: Run, trajectory_id: str, turn: int, moves: list[list[str]]) -> dict:
    """The turns played from ``turn`` on, each labelled by the oracle, and the resulting state.

    Raises ActFocusError for a turn that does not exist or an environment that cannot be restored.
    """
    t = run.trajectory(trajectory_id, None)
    if not 0 <= turn < len(t.turn_records):
        raise ActFocusError(f"trajectory {trajectory_id} has no turn {turn + 1} to play from")
    env = make_env(t.env, **env_options(run))
    try:
        env.restore(t.turn_records[turn].state)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise ActFocusError(
            f"trajectory {trajectory_id}: its turns were stored without the state of the environment"
        ) from None
    played = [_turn(env, answers) for answers in moves if not (env.terminated or env.truncated)]
    return {"trajectory": trajectory_id, "from": turn, "played": played, "now": _now(env)}


def _turn(env: Env, answers: list[str]) -> dict:
    before = env.clone()
    label = turn_label(judge(env, answers))
    step = before.step(answers)
    return {
        "answers": answers,
        "actions": step.info["actions"],
        "valid": step.info["valid"],
        "reward": step.reward,
        "penalty": step.info["penalty"],
        "oracle": label,
    }


def _now(env: Env) -> dict:
    """The state as shown to a person: picture or page, legal actions and the cost of each."""
    values, shop = optimal_values(env), shop_page(env)
    o = env.options
    return {
        "turn": env.turn,
        "turns": o.max_turns,
        "left": env.actions_left,
        "per_turn": o.actions_per_turn,
        "picture": env.svg(),
        "page": shop,
        "text": env.observation(),
        "value": values.value,
        "facts": values.facts,
        "costs": {a: max(values.value - q, 0.0) for a, q in values.actions.items()},
        "terminated": env.terminated,
        "truncated": env.truncated,
        "success": env.success,
        "env": env.name,
    }


def answer(open_run, text: object) -> str:
    """The JSON response to a request; ``open_run``: opens a run by its name. Invalid input gives an error of one line."""
    request = _request(text)
    if request is None:
        return dump({"error": "the move could not be read"})
    run, trajectory, turn, moves, number = request
    try:
        return dump({**play(open_run(run), trajectory, turn, moves), "number": number})
    except ActFocusError as error:
        return dump({"error": " ".join(str(error).split()), "number": number})


def _request(text: object) -> tuple[str, str, int, list[list[str]], int] | None:
    """Run, trajectory, turn, moves and number of a request; None if it is invalid."""
    if not isinstance(text, str) or len(text) > REQUEST_MAX:
        return None
    try:
        value = json.loads(text)
        run, trajectory, turn, moves, number = (value[k] for k in ("run", "trajectory", "turn", "moves", "number"))
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 31 for n in (turn, number))
    listed = (
        isinstance(moves, list)
        and len(moves) <= MOVES_MAX
        and all(isinstance(m, list) and all(isinstance(a, str) for a in m) for m in moves)
    )
    good = isinstance(run, str) and isinstance(trajectory, str) and whole and listed
    return (run, trajectory, turn, moves, number) if good else None
