"""Optimal values by environment, and what each action of a turn cost."""

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
_SOLVED: dict[Hashable, Oracle[Any]] = {}


@dataclass(frozen=True)
class OptimalValues:
    """What perfect play is worth in one state, at the beginning of a turn."""

    value: float
    """V*, the expected return from here on."""
    actions: dict[str, float]
    """Q* of every legal action: of the best turn that begins with it."""
    facts: dict[str, Any] = field(default_factory=dict)
    """what else the environment's oracle knows, see ``Oracle.facts``"""

    @property
    def best(self) -> list[str]:
        """The actions that cost nothing."""
        return [action for action, q in self.actions.items() if q >= self.value - TOLERANCE]


@dataclass(frozen=True)
class TurnValue:
    """One turn against perfect play. ``skill`` and ``luck`` are what the turn added to the value:
    V*(s_0) + all skill + all luck = the return, penalties included."""

    value: float
    """V* before the turn."""
    actions: list[str]
    """The valid ones the policy wrote, parsed, whether or not the episode lasted for them."""
    costs: list[float]
    """For each of them, how far it lowered the best return that could be had, 0 or more."""
    skill: float
    """A* = Q* - V* of the whole turn, 0 or less; the penalty and unused actions are in it."""
    luck: float
    """Reward + V*(s') - Q*: what the dice gave. Zero where there are none."""
    after: float
    """V* after the turn."""
    facts: dict[str, Any]
    """Of the state before the turn."""
    lost: int | None
    """Index of the action that was a point of no return: solvable before it, never again after."""


def optimal_values(env: Env) -> OptimalValues:
    """Exact optimal values of the environment's present state.

    Raises ActFocusError for an environment without an oracle.
    """
    oracle = get_oracle(env)
    return OptimalValues(
        oracle.value(env), {a: oracle.prefix_value(env, (a,)) for a in env.legal_actions()}, oracle.facts(env)
    )


def get_oracle(env: Env) -> Oracle[Any]:
    """The solver of the environment's world; kept, so that all states of an episode share it."""
    if env.name not in ORACLES:
        raise ActFocusError(f"no exact values for environment {env.name!r}; there are for {', '.join(ORACLES)}")
    key = (env.name, env.options, env.world_key())
    if key not in _SOLVED:
        if len(_SOLVED) >= CACHE_SIZE:
            del _SOLVED[next(iter(_SOLVED))]
        _SOLVED[key] = ORACLES[env.name](env)
    return _SOLVED[key]


def judge(env: Env, answers: Sequence[str]) -> TurnValue:
    """What a turn's answers are worth, and what came of them; the environment takes the step."""
    oracle = get_oracle(env)
    value, facts = oracle.value(env), oracle.facts(env)
    parsed = [env.parse(text) for text in answers[: env.options.actions_per_turn]]
    actions = [action for action in parsed if action is not None][: env.actions_left]
    bests = [value, *(oracle.prefix_value(env, actions[: n + 1]) for n in range(len(actions)))]
    q = oracle.turn_value(env, actions)
    lost = _point_of_no_return(oracle, env, actions)
    step = env.step(list(answers))
    after = oracle.value(env)
    # Rounding must not make a cost negative.
    costs = [max(before - best, 0.0) for before, best in zip(bests, bests[1:])]
    penalty = step.info["penalty"]
    return TurnValue(value, actions, costs, q + penalty - value, step.reward + after - q, after, facts, lost)


def trajectory_values(trajectory: Trajectory, env_options: dict[str, Any]) -> list[TurnValue]:
    """``judge`` for every turn of a stored trajectory, from its stored states.

    Raises ActFocusError where the environment has no oracle or the options are not its own.
    """
    env = make_env(trajectory.env, **env_options)
    values: list[TurnValue] = []
    for given in answers(trajectory):
        restore_turn(env, trajectory, len(values))
        values.append(judge(env, given))
    return values


def restore_turn(env: Env, trajectory: Trajectory, turn: int) -> Env:
    """The environment in the state a stored turn began in.

    Raises ActFocusError where the trajectory has no such turn, or no state of it that fits.
    """
    if not 0 <= turn < len(trajectory.turn_records):
        raise ActFocusError(f"{trajectory.id}: has no turn {turn}; it has 0 to {len(trajectory.turn_records) - 1}")
    record = trajectory.turn_records[turn]
    try:
        env.restore(record.state)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise ActFocusError(
            f"{trajectory.id}: turn {turn} was stored without a state that {trajectory.env or 'its environment'} "
            "can return to; only rollouts played here can be judged"
        ) from None
    if env.state_key() != record.state_key:
        raise ActFocusError(
            f"{trajectory.id}: the stored state of turn {turn} is not the one it names "
            f"({record.state_key!r}); were the environment's options others?"
        )
    return env


def answers(trajectory: Trajectory) -> list[list[str]]:
    """The action strings of every turn's reply, as the environment was given them."""
    template = "".join(text for text, kind in zip(trajectory.texts, trajectory.kinds) if kind == TokenKind.TEMPLATE)
    # Where the template opens the thinking the reply does not; elsewhere such a reply is malformed.
    found = [(turn.response, find_spans(turn.response, THINK[0] in template)) for turn in trajectory.turn_records]
    return [split_actions(text[slice(*spans.answer)]) if spans.answer else [] for text, spans in found]


def _point_of_no_return(oracle: Oracle[Any], env: Env, actions: list[str]) -> int | None:
    """The first action after which no number of further ones reaches the goal."""
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
