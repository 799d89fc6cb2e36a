"""What a state is worth to the policy that plays it: V_pi and Q_pi."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from actfocus_core.envs import Env
from actfocus_core.envs.base import stable_seed
from actfocus_core.errors import ActFocusError
from actfocus_core.policy import Policy
from actfocus_core.trajectory import Trajectory

Table = Callable[[Env], dict[tuple[str, ...], float]]
"""A policy whose probabilities are known: state -> probability of each turn (a tuple of actions)."""
_Z = 1.959964


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
    def noise(self) -> float:
        """The noise floor: how far the replica is from it. A smaller difference says nothing."""
        return abs(self.value - self.replica)


def policy_values(env: Env, policy: Policy | Table, rollouts: int = 64, *, answer: tuple[str, ...] | None = None,
                  history: tuple[Trajectory, int] | None = None, temperature: float = 1.0,
                  seed: int = 0) -> Estimate:
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
        value = _Exact(policy).turn(env, answer) if answer is not None else _Exact(policy).value(env)
        return Estimate(value, 0, value, value, value)
    if rollouts < 2:
        raise ActFocusError(f"rollouts={rollouts}: must be 2 or more, for an interval")
    if answer is not None and history is None:
        raise ActFocusError("policy_values: the value of an answer needs history=(trajectory, turn)")
    returns = _returns(env, policy, 2 * rollouts, answer is not None, history, temperature, seed)
    return _estimate(returns[:rollouts], float(returns[rollouts:].mean()))


def _returns(env: Env, policy: Policy, n: int, keep_answer: bool, history: tuple[Trajectory, int] | None,
             temperature: float, seed: int) -> np.ndarray:
    """Returns from the state on of n fresh rollouts: float64 [n]."""
    from actfocus_core.policy.sampler import CachedSampler
    from actfocus_core.rollout import Episode, branch, play_on

    if history:
        trajectory, turn = history
        options = env.options.model_dump(mode="json")
        played = branch(policy, trajectory, turn, n, env_options=options, keep_answer=keep_answer,
                        temperature=temperature, seed=seed)
        earlier = sum(r.reward + r.penalty for r in trajectory.turn_records[:turn])
        return np.array([t.ret for t in played]) - earlier
    episodes = []
    for r in range(n):
        copy = env.clone()
        copy.rollout = stable_seed("value", seed, env.state_key(), r) >> 11
        episodes.append(Episode(copy, policy, 0, seed))
    return np.array([t.ret for t in play_on(episodes, CachedSampler(policy, temperature), policy.context)])


def _estimate(returns: np.ndarray, replica: float) -> Estimate:
    from scipy.stats import t as student

    n, mean = len(returns), float(returns.mean())
    half = float(student.ppf(0.975, n - 1) * returns.std(ddof=1) / math.sqrt(n))
    return Estimate(mean, n, mean - half, mean + half, replica)


class _Exact:
    """Policy evaluation by walking through everything that can happen, each state once."""

    def __init__(self, table: Table):
        self.table = table
        self.known: dict[tuple, float] = {}

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
    for dice in product(*[env.dice_faces()] * min(len(answer), env.options.actions_per_turn)):
        copy = env.clone()
        copy.fixed_dice = [face for _, face in dice]
        step = copy.step(list(answer))
        found.append((math.prod(p for p, _ in dice), copy, step.reward + step.info["penalty"]))
    return found
