"""Players that write dialogues in the paper's format, and are partly wrong in their answers.

A demonstrator looks at the state, plans well, says its plan as reasoning that refers to the
state, and then answers. With some probability it answers something else than it planned: so
the policy learns to think right and to act unsurely, which leaves reinforcement learning
something to do on the action tokens.
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
    """One a task."""

    env: str
    variants: tuple[dict, ...]
    """Options it is evaluated with; the first are the policy's defaults."""
    practice: tuple[dict, ...]
    """Options it learns on, one share of the dialogues each."""
    options: dict
    """What all of them share: the policy is rolled out with it by default."""

    def think(self, env: Env) -> tuple[str, list[str]]:
        """Reasoning, and the actions it leads to."""

    def doubt(self, env: Env) -> float:
        """How likely an action of the answer is not the planned one."""

    def other(self, env: Env, action: str, rng: Random) -> str:
        """An action that was not planned."""


DEMONSTRATORS: tuple[Demonstrator, ...] = (LakeWalker(), BoxPusher(), Solver(), Customer())


@dataclass(frozen=True)
class Dialogue:
    """A system message and the exchanges after it, as text."""

    system: str
    turns: list[tuple[str, str]]
    """(observation, reply)"""
    slips: set[int]
    """Turns whose answer departs from the plan."""


def play(demonstrator: Demonstrator, env: Env, seed: int, rng: Random, turns: int, doubt: float | None) -> Dialogue:
    """A dialogue of at most ``turns`` turns on the environment's seed.

    ``doubt``: how likely an action departs from the plan; None: as likely as the demonstrator says.
    """
    observation, exchanges, slips = env.reset(seed, rollout=rng.randrange(1 << 30)), [], set()
    while not (env.terminated or env.truncated) and len(exchanges) < turns:
        reasoning, plan = demonstrator.think(env)
        unsure = demonstrator.doubt(env) if doubt is None else doubt
        actions = [demonstrator.other(env, a, rng) if rng.random() < unsure else a for a in plan]
        if actions != plan:
            slips.add(len(exchanges))
        reply = f"<think>{reasoning}</think><answer>{f' {SEPARATOR} '.join(actions)}</answer>"
        exchanges.append((observation, reply))
        observation = env.step(actions).observation
    return Dialogue(env.system_prompt(), exchanges, slips)


def environments(demonstrator: Demonstrator) -> list[Env]:
    """One environment a share of its practice."""
    return [make_env(demonstrator.env, **demonstrator.options, **variant) for variant in demonstrator.practice]
