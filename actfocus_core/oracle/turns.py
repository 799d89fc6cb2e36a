"""Optimal values of all environments, and the cost of each action of a turn."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from actfocus_core.dialogue import THINK, find_spans, split_actions
from actfocus_core.envs import Env, make_env
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle.base import CACHE_SIZE, Oracle
from actfocus_core.oracle.frozen_lake import LakeOracle
from actfocus_core.oracle.sokoban import RoomOracle
from actfocus_core.oracle.sudoku import PuzzleOracle
from actfocus_core.oracle.webshop import ShopOracle
from actfocus_core.trajectory import TokenKind, Trajectory

ORACLES: dict[str, type[Oracle[Any]]] = {
    "frozen_lake": LakeOracle,
    "sokoban": RoomOracle,
    "sudoku": PuzzleOracle,
    "webshop": ShopOracle,
}
TOLERANCE = 1e-9
_CACHE: dict[Hashable, Oracle[Any]] = {}


@dataclass(frozen=True)
class OptimalValues:
    """Values under perfect play in one state, at the beginning of a turn."""

    value: float
    """V*, the expected return from this state on."""
    actions: dict[str, float]
    """Q* of every legal action: the value of the best turn that begins with it."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Further facts about the state (``Oracle.facts``)."""

    @property
    def best(self) -> list[str]:
        """The optimal actions."""
        return [action for action, q in self.actions.items() if q >= self.value - TOLERANCE]


@dataclass(frozen=True)
class TurnValue:
    """One turn compared with perfect play.

    ``skill`` and ``luck`` decompose the change of value: V*(s_0) + sum of skill + sum of luck = return, with penalties.
    """

    value: float
    """V* before the turn."""
    actions: list[str]
    """The valid actions of the turn, in canonical spelling, including those after the end of the episode."""
    costs: list[float]
    """Decrease of the best achievable return by each action, 0 or more."""
    skill: float
    """A* = Q* - V* of the whole turn, 0 or less; includes the penalty and the cost of unused actions."""
    luck: float
    """Reward + V*(s') - Q*, the effect of random outcomes; zero in a deterministic environment."""
    after: float
    """V* after the turn."""
    facts: dict[str, Any]
    """``Oracle.facts`` of the state before the turn."""
    lost: int | None
    """Index of the action after which the goal became unreachable (point of no return), or None."""


def optimal_values(env: Env) -> OptimalValues:
    """Exact optimal values of the environment's present state.

    Raises ActFocusError for an environment without an oracle.
    """
    oracle = get_oracle(env)
    return OptimalValues(
        oracle.value(env), {a: oracle.prefix_value(env, (a,)) for a in env.legal_actions()}, oracle.facts(env)
    )


def get_oracle(env: Env) -> Oracle[Any]:
    """The oracle of the environment's world; cached, so that all states of an episode share it.

    Raises ActFocusError for an environment without an oracle.
    """
    if env.name not in ORACLES:
        raise ActFocusError(f"no exact values for environment {env.name!r}; there are for {', '.join(ORACLES)}")
    key = (env.name, env.options, env.world_key())
    if key not in _CACHE:
        if len(_CACHE) >= CACHE_SIZE:
            del _CACHE[next(iter(_CACHE))]
        _CACHE[key] = ORACLES[env.name](env)
    return _CACHE[key]


def judge(env: Env, answers: Sequence[str]) -> TurnValue:
    """Execute a turn and compare it with perfect play.

    ``answers``: the action strings of the turn. Raises ActFocusError for an environment without an oracle.
    """
    oracle = get_oracle(env)
    value, facts = oracle.value(env), oracle.facts(env)
    parsed = [env.parse(text) for text in answers[: env.options.actions_per_turn]]
    actions = [action for action in parsed if action is not None][: env.actions_left]
    prefix_values = [value, *(oracle.prefix_value(env, actions[: n + 1]) for n in range(len(actions)))]
    q = oracle.turn_value(env, actions)
    lost = _point_of_no_return(oracle, env, actions)
    step = env.step(list(answers))
    after = oracle.value(env)
    # max: rounding must not make a cost negative.
    costs = [max(before - then, 0.0) for before, then in zip(prefix_values, prefix_values[1:])]
    penalty = step.info["penalty"]
    return TurnValue(value, actions, costs, q + penalty - value, step.reward + after - q, after, facts, lost)


def trajectory_values(trajectory: Trajectory, env_options: dict[str, Any]) -> list[TurnValue]:
    """``judge`` for every turn of a stored trajectory, from its stored states.

    Raises ActFocusError if the environment has no oracle or the options are not those of the trajectory.
    """
    env = make_env(trajectory.env, **env_options)
    values: list[TurnValue] = []
    for answer in answers(trajectory):
        restore_turn(env, trajectory, len(values))
        values.append(judge(env, answer))
    return values


def restore_turn(env: Env, trajectory: Trajectory, turn: int) -> Env:
    """Restore the environment to the state before a stored turn and return it.

    Raises ActFocusError if the trajectory has no such turn, or the turn has no state that the environment can restore.
    """
    if not 0 <= turn < len(trajectory.turn_records):
        raise ActFocusError(f"{trajectory.id}: has no turn {turn}; it has 0 to {len(trajectory.turn_records) - 1}")
    record = trajectory.turn_records[turn]
    try:
        env.restore(record.state)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise ActFocusError(
            f"{trajectory.id}: turn {turn} was stored without a state that {trajectory.env or 'its environment'} "
            "can restore; only rollouts of this product can be judged"
        ) from None
    if env.state_key() != record.state_key:
        raise ActFocusError(
            f"{trajectory.id}: the stored state of turn {turn} does not match its state key "
            f"({record.state_key!r}); check the options of the environment"
        )
    return env


def answers(trajectory: Trajectory) -> list[list[str]]:
    """The action strings of every turn, as they were passed to the environment."""
    template = "".join(text for text, kind in zip(trajectory.texts, trajectory.kinds) if kind == TokenKind.TEMPLATE)
    # If the template opens the reasoning span, responses do not; otherwise a response without the tag is malformed.
    responses = [(turn.response, find_spans(turn.response, THINK[0] in template)) for turn in trajectory.turn_records]
    return [split_actions(text[slice(*spans.answer)]) if spans.answer else [] for text, spans in responses]


def _point_of_no_return(oracle: Oracle[Any], env: Env, actions: list[str]) -> int | None:
    """Index of the first action after which the goal is unreachable, or None."""
    if not oracle.solvable(env):
        return None
    trial = env.clone()
    for i, action in enumerate(actions):
        _, solved, _ = trial._apply(action)
        if solved:
            return None
        if not oracle.solvable(trial):
            return i
    return None
