"""Small batches of made-up trajectories with every signal a scheme may need."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import strategies as st

from actfocus_core.advantages import grpo_advantages
from actfocus_core.credit import Batch
from actfocus_core.trajectory import TokenKind, Trajectory, Turn

PER_TOKEN = ("ref_energy", "ref_entropy", "ref_logprob", "ref_centred_energy", "entropy", "value")
PER_TURN = ("policy_q", "policy_v", "policy_q_replica", "policy_v_replica", "oracle_q", "oracle_v", "criticality")


def trajectory(
    rng: np.random.Generator,
    id: str,
    group: str,
    turns: int,
    success: bool | None = None,
    longest: int = 6,
    states: int = 3,
) -> Trajectory:
    """A prompt block and a reply of random length a turn; the reward comes at the last turn."""
    success = bool(rng.random() < 0.5) if success is None else success
    kinds, numbers, records = [TokenKind.SYSTEM], [-1], []
    columns = {name: [np.nan] for name in (*PER_TOKEN, *PER_TURN, "answer_logprob_before", "answer_logprob_after")}
    answer = -3 * rng.random()
    for k in range(turns):
        size = 3 + int(rng.integers(longest))
        reply = [TokenKind.FORMAT, TokenKind.REASONING, TokenKind.ACTION, *rng.choice([3, 4, 5], size - 3).tolist()]
        block = [TokenKind.TEMPLATE, TokenKind.USER, TokenKind.TEMPLATE]
        kinds += [*block, *sorted(reply)]
        numbers += [k] * (len(block) + size)
        for name in PER_TOKEN:
            columns[name] += [np.nan] * 3 + (rng.random(size) * 2).tolist()
        later = answer + rng.normal() * 0.3
        once = {name: float(rng.normal()) for name in PER_TURN}
        once |= {"answer_logprob_before": answer, "answer_logprob_after": min(later, 0.0)}
        answer = once["answer_logprob_after"]
        for name, value in once.items():
            columns[name] += [np.nan] * 3 + [value] * size
        records.append(
            Turn(
                "seen",
                "said",
                ["Left"],
                True,
                float(success and k == turns - 1),
                -0.1 * float(rng.random() < 0.3),
                f"state {rng.integers(states)}",
                {},
            )
        )
    logprobs = np.where(np.array(kinds) >= 3, -rng.random(len(kinds)), np.nan)
    return Trajectory(
        id,
        np.arange(len(kinds)),
        kinds,
        numbers,
        logprobs,
        ["x"] * len(kinds),
        records,
        columns,
        group=group,
        reward=sum(r.reward for r in records),
        penalty=sum(r.penalty for r in records),
        success=success,
    )


def trajectories(seed: int = 0, groups: int = 3, rollouts: int = 4, turns: int = 4, **more) -> list[Trajectory]:
    """``groups`` prompts with ``rollouts`` rollouts of 1 to ``turns`` turns each."""
    rng = np.random.default_rng(seed)
    return [
        trajectory(rng, f"{g}-{r}", f"prompt {g}", 1 + int(rng.integers(turns)), **more)
        for g in range(groups)
        for r in range(rollouts)
    ]


seeds = st.integers(0, 10_000)


def made(seed=0, **more):
    ts = trajectories(seed, **more)
    return ts, Batch.of(ts)


def turns_of(t):
    """(turn number, positions of its response tokens) of a trajectory."""
    return [(k, np.flatnonzero((t.turns == k) & t.response_mask)) for k in range(len(t.turn_records))]


def returns_to_go(t, gamma):
    rewards = [r.reward + r.penalty for r in t.turn_records]
    return [sum(gamma**j * r for j, r in enumerate(rewards[k:])) for k in range(len(rewards))]


def split(values, ts):
    return np.split(values, np.cumsum([len(t) for t in ts])[:-1])


def by_group(ts):
    groups = defaultdict(list)
    for i, t in enumerate(ts):
        groups[t.group].append(i)
    return groups.values()


def advantages(ts, std=True):
    return grpo_advantages(np.array([t.ret for t in ts]), [t.group for t in ts], std)
