"""Taking over: a person plays on from any turn of a stored trajectory.

Nothing is kept on the server: the page sends all moves made so far, and the environment is
restored from the stored turn and takes them again, with the dice of the stored rollout.
"""

from __future__ import annotations

import json

from actfocus_core.envs import Env, make_env
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle import judge, optimal_values
from actfocus_core.runs import Run
from actfocus_studio.data.serialize import dump, env_options, shop_page, turn_verdict

REQUEST_MAX = 20_000
"""Characters of a request: a hundred turns of long searches."""
MOVES_MAX = 100


def play(run: Run, trajectory_id: str, turn: int, moves: list[list[str]]) -> dict:
    """The turns played since ``turn``, each with the oracle's verdict, and where that leads.

    Raises ActFocusError for a turn the trajectory has not or an environment that cannot be played.
    """
    t = run.trajectory(trajectory_id, None)
    if not 0 <= turn < len(t.turn_records):
        raise ActFocusError(f"trajectory {trajectory_id} has no turn {turn + 1} to play from")
    env = make_env(t.env, **env_options(run))
    try:
        env.restore(t.turn_records[turn].state)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise ActFocusError(f"trajectory {trajectory_id}: its turns were stored without a state to return to") from None
    played = [_turn(env, answers) for answers in moves if not (env.terminated or env.truncated)]
    return {"trajectory": trajectory_id, "from": turn, "played": played, "now": _now(env)}


def _turn(env: Env, answers: list[str]) -> dict:
    before = env.clone()
    verdict = turn_verdict(judge(env, answers))
    step = before.step(answers)
    return {
        "answers": answers,
        "actions": step.info["actions"],
        "valid": step.info["valid"],
        "reward": step.reward,
        "penalty": step.info["penalty"],
        "oracle": verdict,
    }


def _now(env: Env) -> dict:
    """The state as a person needs it to choose: picture or page, actions and what each would cost."""
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
    """The JSON for a page's request; ``open_run``: a run by its name. Bad input gives one clear line."""
    request = _request(text)
    if request is None:
        return dump({"error": "this move could not be read"})
    run, trajectory, turn, moves, number = request
    try:
        return dump({**play(open_run(run), trajectory, turn, moves), "number": number})
    except ActFocusError as error:
        return dump({"error": " ".join(str(error).split()), "number": number})


def _request(text: object) -> tuple[str, str, int, list[list[str]], int] | None:
    """Run, trajectory, turn, moves and the request's number; None for anything else."""
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
