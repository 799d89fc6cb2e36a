"""Demonstrators that write dialogues in the paper's format, with partly wrong answers.

A demonstrator plans well from the state, writes the plan as reasoning that refers to the state, and then answers. With
some probability the answer differs from the plan. The policy thus learns correct reasoning and uncertain actions, which
leaves room for reinforcement learning on the action tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Protocol

from actfocus_core.dialogue import SEPARATOR
from actfocus_core.envs import Env, make_env
from tiny_policy.lake import LakeWalker
from tiny_policy.puzzle import Solver
from tiny_policy.shop import Customer
from tiny_policy.store_room import BoxPusher


class Demonstrator(Protocol):
    """The demonstrator of one environment."""

    env: str
    variants: tuple[dict, ...]
    """Options for the evaluation; the first are the policy's defaults."""
    practice: tuple[dict, ...]
    """Options for training; each is used for an equal share of the dialogues."""
    options: dict
    """Options common to all variants, and the policy's defaults."""

    def think(self, env: Env) -> tuple[str, list[str]]:
        """Reasoning, and the planned actions."""

    def doubt(self, env: Env) -> float:
        """Probability that an action of the answer differs from the plan."""

    def other(self, env: Env, action: str, rng: Random) -> str:
        """An action other than the planned one."""


DEMONSTRATORS: tuple[Demonstrator, ...] = (LakeWalker(), BoxPusher(), Solver(), Customer())


@dataclass(frozen=True)
class Dialogue:
    """A system message and the exchanges after it, as text."""

    system: str
    turns: list[tuple[str, str]]
    """(observation, reply)"""
    slips: set[int]
    """Indices of turns whose answer differs from the plan."""


def play(demonstrator: Demonstrator, env: Env, seed: int, rng: Random, turns: int, doubt: float | None) -> Dialogue:
    """A dialogue of at most ``turns`` turns on the environment's seed.

    ``doubt``: probability that an action differs from the plan; None: that of the demonstrator.
    """
    observation, exchanges, slips = env.reset(seed, rollout=rng.randrange(1 << 30)), [], set()
    while not (env.terminated or env.truncated) and len(exchanges) < turns:
        reasoning, plan = demonstrator.think(env)
        probability = demonstrator.doubt(env) if doubt is None else doubt
        actions = [demonstrator.other(env, a, rng) if rng.random() < probability else a for a in plan]
        if actions != plan:
            slips.add(len(exchanges))
        reply = f"<think>{reasoning}</think><answer>{f' {SEPARATOR} '.join(actions)}</answer>"
        exchanges.append((observation, reply))
        observation = env.step(actions).observation
    return Dialogue(env.system_prompt(), exchanges, slips)


def environments(demonstrator: Demonstrator) -> list[Env]:
    """One environment for each variant of the demonstrator's practice."""
    return [make_env(demonstrator.env, **demonstrator.options, **variant) for variant in demonstrator.practice]
