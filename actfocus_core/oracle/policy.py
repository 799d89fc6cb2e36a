"""Values of states and answers under the policy: V_pi and Q_pi."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from actfocus_core.envs import Env, make_env
from actfocus_core.envs.base import stable_seed
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle.turns import restore_turn
from actfocus_core.policy import Policy
from actfocus_core.stats import mean_interval
from actfocus_core.trajectory import Trajectory

Table = Callable[[Env], dict[tuple[str, ...], float]]
"""A policy with known probabilities: state -> probability of each turn (a tuple of actions)."""
Position = tuple[Trajectory, int, bool]
"""(trajectory, turn, whether its stored answer is repeated): V before the answer, Q after it."""
ROWS = 256
"""Number of rollouts sampled at once."""


@dataclass(frozen=True)
class Estimate:
    """A value: exact (``n`` = 0), or the mean return of ``n`` fresh rollouts."""

    value: float
    n: int
    low: float
    high: float
    """``low``, ``high``: 95 % confidence interval of the mean by the t distribution. With identical returns its width is
    zero, which means only that n rollouts agreed."""
    replica: float
    """The same estimate from as many independent rollouts."""

    @property
    def half_width(self) -> float:
        """Half of the width of the interval."""
        return (self.high - self.low) / 2


def policy_values(
    env: Env,
    policy: Policy | Table,
    rollouts: int = 64,
    *,
    answer: tuple[str, ...] | None = None,
    history: tuple[Trajectory, int] | None = None,
    temperature: float = 1.0,
    seed: int = 0,
) -> Estimate:
    """V_pi of the environment's present state, or Q_pi of giving ``answer`` in it.

    ``policy``: a function from the environment to the probabilities of its turns gives the exact value, by enumeration of
    all random outcomes. A language model gives the mean return of ``rollouts`` fresh rollouts, and the replica from as
    many others. ``history``: (trajectory, turn): the model continues the exact ids of that stream from that turn, in the
    state of that turn; without it a new dialogue begins in the present state. A model and an ``answer`` require a
    history; the answer is then the stored one of that turn. Returns are counted from the state on. Raises ActFocusError
    if ``rollouts`` is below 2 or an answer has no history.
    """
    if not isinstance(policy, Policy):
        value = ExactValues(policy).turn(env, answer) if answer is not None else ExactValues(policy).value(env)
        return Estimate(value, 0, value, value, value)
    if rollouts < 2:
        raise ActFocusError(f"rollouts={rollouts}: must be 2 or more, for an interval")
    if answer is not None and history is None:
        raise ActFocusError("policy_values: the value of an answer needs history=(trajectory, turn)")
    if history is not None:
        return position_values(
            [(*history, answer is not None)],
            policy,
            rollouts,
            env_options=env.options.model_dump(mode="json"),
            temperature=temperature,
            seed=seed,
        )[0]
    return _estimate(_fresh_returns(env, policy, 2 * rollouts, temperature, seed))


def position_values(
    positions: list[Position],
    policy: Policy,
    rollouts: int = 64,
    *,
    env_options: dict[str, Any],
    temperature: float = 1.0,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Estimate]:
    """``policy_values`` of turns of stored trajectories, sampled in batches.

    ``env_options``: those of the run. ``on_progress(done, total)`` counts rollouts. Raises ActFocusError if ``rollouts``
    is below 2 or a turn cannot be restored.
    """
    from actfocus_core.policy.sampler import CachedSampler
    from actfocus_core.rollout import Episode, play_to_end

    if rollouts < 2:
        raise ActFocusError(f"rollouts={rollouts}: must be 2 or more, for an interval")
    estimates: dict[int, Estimate] = {}
    sampler, envs = CachedSampler(policy, temperature), {}
    # Batch streams of similar length; the rows of one position share their prefix, which is computed once.
    order = sorted(range(len(positions)), key=lambda i: positions[i][0].turns.searchsorted(positions[i][1]))
    positions_per_batch = max(1, ROWS // (2 * rollouts))
    for start in range(0, len(order), positions_per_batch):
        chunk, episodes = order[start : start + positions_per_batch], []
        for t, turn, keep_answer in (positions[i] for i in chunk):
            if t.env not in envs:
                envs[t.env] = make_env(t.env, **env_options)
            env = restore_turn(envs[t.env], t, turn)
            if not t.response_mask[t.turns == turn].any():
                raise ActFocusError(f"{t.id}: turn {turn} has no sampled tokens; a rollout cannot continue from there")
            for r in range(2 * rollouts):
                copy = env.clone()
                # A rollout index that no stored rollout has, so that the environment draws fresh randomness.
                copy.rollout = stable_seed("value", seed, t.id, turn, keep_answer, r) >> 11
                episodes.append(Episode.resume(copy, policy, t, turn, seed, keep_answer))
        played = play_to_end(episodes, sampler, policy.context, ROWS)
        for i, first in zip(chunk, range(0, len(played), 2 * rollouts)):
            t, turn, _ = positions[i]
            earlier = sum(r.reward + r.penalty for r in t.turn_records[:turn])
            estimates[i] = _estimate(np.array([p.ret for p in played[first : first + 2 * rollouts]]) - earlier)
        if on_progress:
            on_progress(2 * rollouts * len(estimates), 2 * rollouts * len(positions))
    return [estimates[i] for i in range(len(positions))]


def _fresh_returns(env: Env, policy: Policy, n: int, temperature: float, seed: int) -> np.ndarray:
    """Returns of n rollouts that begin a new dialogue in the present state: float64 [n]."""
    from actfocus_core.policy.sampler import CachedSampler
    from actfocus_core.rollout import Episode, play_to_end

    episodes = []
    for r in range(n):
        copy = env.clone()
        copy.rollout = stable_seed("value", seed, env.state_key(), r) >> 11
        episodes.append(Episode(copy, policy, 0, seed))
    return np.array([t.ret for t in play_to_end(episodes, CachedSampler(policy, temperature), policy.context)])


def _estimate(returns: np.ndarray) -> Estimate:
    """The estimate from the first half of the returns, its replica from the second half."""
    first, second = np.split(returns, 2)
    mean, low, high = mean_interval(first)
    return Estimate(mean, len(first), low, high, float(second.mean()))


class ExactValues:
    """Exact policy evaluation by recursion over all outcomes in a world, with a cache of states."""

    def __init__(self, table: Table):
        self.table = table
        self.cache: dict[tuple[str, int, int], float] = {}

    def value(self, env: Env) -> float:
        if env.terminated or env.truncated:
            return 0.0
        key = env.state_key(), env.turn, env.actions_left
        if key not in self.cache:
            self.cache[key] = sum(p * self.turn(env, answer) for answer, p in self.table(env).items() if p)
        return self.cache[key]

    def turn(self, env: Env, answer: tuple[str, ...]) -> float:
        total = 0.0
        for probability, next_env, reward in outcomes(env, answer):
            total += probability * (reward + self.value(next_env))
        return total


def outcomes(env: Env, answer: tuple[str, ...]) -> list[tuple[float, Env, float]]:
    """All outcomes of a turn: probability, environment after the turn, reward plus penalty."""
    results = []
    for action_outcomes in product(*[env.outcome_distribution()] * min(len(answer), env.options.actions_per_turn)):
        copy = env.clone()
        copy.forced_outcomes = [number for _, number in action_outcomes]
        step = copy.step(list(answer))
        results.append((math.prod(p for p, _ in action_outcomes), copy, step.reward + step.info["penalty"]))
    return results
