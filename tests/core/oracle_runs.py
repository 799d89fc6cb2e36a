"""FrozenLake rollouts with the values of the oracles, for the tests of these values."""

from __future__ import annotations

from actfocus_core.envs import make_env
from actfocus_core.oracle.values import add_answers, add_optimal, add_policy
from actfocus_core.rollout import collect
from actfocus_core.signals import score
from actfocus_core.trajectory import Trajectory

K = 3
"""Rollouts of the policy's values."""


def copies(trajectories):
    return [Trajectory(**{**vars(t), "signals": dict(t.signals)}) for t in trajectories]


def lake_options(tiny):
    """Whether the ice is slippery -> all options of the environment."""
    return {
        slippery: make_env(
            "frozen_lake", **{**tiny.env_options["frozen_lake"], "slippery": slippery}
        ).options.model_dump(mode="json")
        for slippery in (True, False)
    }


def slippery_rollouts(tiny, options):
    return collect(tiny, "frozen_lake", prompts=3, rollouts=2, env_options=options[True])


def annotated_rollouts(tiny, options):
    """Rollouts of the deterministic lake with the values of both oracles and the scores of a reference."""
    ts = score(collect(tiny, "frozen_lake", prompts=3, rollouts=2, env_options=options[False]), tiny)
    add_optimal(ts, options[False])
    add_policy(ts, tiny, K, env_options=options[False])
    add_answers(ts, tiny, env_options=options[False])
    return ts


def table(env):
    """A policy with known probabilities that depend on the state."""
    ahead = "Down" if env.player[0] < env.goal[0] else "Right"
    return {(ahead,): 0.4, ("Left", ahead): 0.25, ("Up", "Right"): 0.2, ("jump",): 0.1, (): 0.05}
