"""What a state is worth to the policy that plays it: V_pi and Q_pi."""

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
"""A policy whose probabilities are known: state -> probability of each turn (a tuple of actions)."""
Position = tuple[Trajectory, int, bool]
"""A turn of a stored trajectory, and whether its own answer is given again: before it V, after it Q."""
ROWS = 256
"""Streams played at once."""


@dataclass(frozen=True)
class Estimate:
    """A value, exact (``n`` = 0) or the mean return of ``n`` fresh rollouts."""

    value: float
    n: int
    low: float
    high: float
    """A 95 % confidence interval of the mean by the t distribution. Without spread it has no
    width, which says no more than that n rollouts agreed."""
    replica: float
    """The same estimate from as many other rollouts."""

    @property
    def half(self) -> float:
        """Half the width of the interval."""
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

    ``policy``: a function from the environment to the probabilities of its turns gives the exact
    value, all dice counted out; a language model gives the mean return of ``rollouts`` fresh
    rollouts, and of as many again as a replica. ``history``: (trajectory, turn): the model
    continues that stream from that turn, exact ids, in that turn's state; without it a new
    dialogue begins at the present state. With a model and an ``answer`` there must be a
    history, and the answer is the one of that turn, given again. The return counts from the
    state on. Raises ActFocusError where ``rollouts`` is below 2 or an answer has no history.
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
    """What ``policy_values`` gives for turns of stored trajectories, many played at once.

    ``env_options``: those of the run. ``on_progress(done, total)`` counts rollouts. Raises
    ActFocusError where ``rollouts`` is below 2 or a turn cannot be returned to.
    """
    from actfocus_core.policy.sampler import CachedSampler
    from actfocus_core.rollout import Episode, play_to_end

    if rollouts < 2:
        raise ActFocusError(f"rollouts={rollouts}: must be 2 or more, for an interval")
    estimates: dict[int, Estimate] = {}
    sampler, envs = CachedSampler(policy, temperature), {}
    # Streams of like length together; rows of one position begin alike and are read once.
    order = sorted(range(len(positions)), key=lambda i: positions[i][0].turns.searchsorted(positions[i][1]))
    together = max(1, ROWS // (2 * rollouts))
    for start in range(0, len(order), together):
        chunk, episodes = order[start : start + together], []
        for t, turn, given in (positions[i] for i in chunk):
            if t.env not in envs:
                envs[t.env] = make_env(t.env, **env_options)
            env = restore_turn(envs[t.env], t, turn)
            if not t.response_mask[t.turns == turn].any():
                raise ActFocusError(f"{t.id}: turn {turn} has no sampled tokens; a rollout cannot go on from there")
            for r in range(2 * rollouts):
                copy = env.clone()
                # The environment's dice are those of a rollout that never was.
                copy.rollout = stable_seed("value", seed, t.id, turn, given, r) >> 11
                episodes.append(Episode.resume(copy, policy, t, turn, seed, given))
        played = play_to_end(episodes, sampler, policy.context, ROWS)
        for i, first in zip(chunk, range(0, len(played), 2 * rollouts)):
            t, turn, _ = positions[i]
            earlier = sum(r.reward + r.penalty for r in t.turn_records[:turn])
            estimates[i] = _estimate(np.array([p.ret for p in played[first : first + 2 * rollouts]]) - earlier)
        if on_progress:
            on_progress(2 * rollouts * len(estimates), 2 * rollouts * len(positions))
    return [estimates[i] for i in range(len(positions))]


def _fresh_returns(env: Env, policy: Policy, n: int, temperature: float, seed: int) -> np.ndarray:
    """Returns of n rollouts that begin a dialogue at the present state: float64 [n]."""
    from actfocus_core.policy.sampler import CachedSampler
    from actfocus_core.rollout import Episode, play_to_end

    episodes = []
    for r in range(n):
        copy = env.clone()
        copy.rollout = stable_seed("value", seed, env.state_key(), r) >> 11
        episodes.append(Episode(copy, policy, 0, seed))
    return np.array([t.ret for t in play_to_end(episodes, CachedSampler(policy, temperature), policy.context)])


def _estimate(returns: np.ndarray) -> Estimate:
    """From the first half of the returns; the replica from the second."""
    first, second = np.split(returns, 2)
    mean, low, high = mean_interval(first)
    return Estimate(mean, len(first), low, high, float(second.mean()))


class ExactValues:
    """Policy evaluation by walking through everything that can happen in a world, each state once."""

    def __init__(self, table: Table):
        self.table = table
        self.known: dict[tuple[str, int, int], float] = {}

    def value(self, env: Env) -> float:
        if env.terminated or env.truncated:
            return 0.0
        key = env.state_key(), env.turn, env.actions_left
        if key not in self.known:
            self.known[key] = sum(p * self.turn(env, answer) for answer, p in self.table(env).items() if p)
        return self.known[key]

    def turn(self, env: Env, answer: tuple[str, ...]) -> float:
        total = 0.0
        for probability, after, gained in outcomes(env, answer):
            total += probability * (gained + self.value(after))
        return total


def outcomes(env: Env, answer: tuple[str, ...]) -> list[tuple[float, Env, float]]:
    """Every outcome of a turn: its probability, the environment after it, reward plus penalty."""
    found = []
    for dice in product(*[env.outcome_distribution()] * min(len(answer), env.options.actions_per_turn)):
        copy = env.clone()
        copy.forced_outcomes = [face for _, face in dice]
        step = copy.step(list(answer))
        found.append((math.prod(p for p, _ in dice), copy, step.reward + step.info["penalty"]))
    return found
