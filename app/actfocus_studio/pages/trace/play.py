"""A person plays on from any turn of a stored trajectory.

The server keeps no state: the page sends all moves so far, the environment is restored at the stored turn and
replays them, with the random numbers of the stored rollout.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictInt, StringConstraints

from actfocus_core.envs import Env, make_env
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle import judge, optimal_values
from actfocus_core.runs import Run
from actfocus_studio.data.message import Message, Request
from actfocus_studio.data.schema import ShopPage, TurnLabel
from actfocus_studio.data.serialize import env_options, shop_page, turn_label
from actfocus_studio.data.view import INDEX_MAX, Name

MOVES_MAX, ANSWERS_MAX, TEXT_MAX = 100, 100, 400
"""Turns, actions of a turn, characters of an action."""
Action = Annotated[str, StringConstraints(max_length=TEXT_MAX)]


class PlayRequest(Request):
    """Play on from a turn with these answers, one list of actions a turn."""

    run: Name
    trajectory: Name
    turn: StrictInt = Field(ge=0, le=INDEX_MAX)
    moves: list[Annotated[list[Action], Field(max_length=ANSWERS_MAX)]] = Field(max_length=MOVES_MAX)


class PlayedTurn(Message):
    answers: list[str]
    actions: list[str]
    valid: bool
    reward: float
    penalty: float
    oracle: TurnLabel


class State(Message):
    """The state as shown to a person: picture or page, and what each legal action would cost."""

    turn: int
    turns: int
    left: int
    """Actions left in the episode."""
    per_turn: int
    picture: str | None
    page: ShopPage | None
    text: str
    value: float
    facts: dict[str, int | float | str | bool | None]
    costs: dict[str, float]
    terminated: bool
    truncated: bool
    success: bool
    env: str


class PlayResponse(Message):
    played: list[PlayedTurn]
    now: State


def play(run: Run, trajectory_id: str, turn: int, moves: list[list[str]]) -> PlayResponse:
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
    return PlayResponse(played=played, now=_now(env))


def _turn(env: Env, answers: list[str]) -> PlayedTurn:
    before = env.clone()
    label = turn_label(judge(env, answers))
    step = before.step(answers)
    return PlayedTurn(
        answers=answers,
        actions=step.info["actions"],
        valid=step.info["valid"],
        reward=step.reward,
        penalty=step.info["penalty"],
        oracle=label,
    )


def _now(env: Env) -> State:
    values, o = optimal_values(env), env.options
    return State(
        turn=env.turn,
        turns=o.max_turns,
        left=env.actions_left,
        per_turn=o.actions_per_turn,
        picture=env.svg(),
        page=shop_page(env),
        text=env.observation(),
        value=values.value,
        facts=values.facts,
        costs={a: max(values.value - q, 0.0) for a, q in values.actions.items()},
        terminated=env.terminated,
        truncated=env.truncated,
        success=env.success,
        env=env.name,
    )
