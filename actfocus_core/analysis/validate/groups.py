"""``Groups``: checks of the rollouts of a group against each other."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from actfocus_core.analysis.validate.findings import Hit
from actfocus_core.analysis.validate.rules import threshold
from actfocus_core.trajectory import Trajectory


@dataclass
class _Group:
    """What is known of a group: rollout -> return and recorded advantage, agent -> prompts."""

    place: tuple[object, ...]
    """step, environment, and split"""
    returns: dict[str, float] = field(default_factory=dict)
    advantages: dict[str, float] = field(default_factory=dict)
    prompts: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))


class Groups:
    """Collects the groups of a stream of trajectories. Memory grows with the number of rollouts."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._seen: dict[bytes, str] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def examine(self, t: Trajectory) -> Iterator[Hit]:
        if t.trainable:
            group = self._groups.setdefault(t.group, _Group((t.step, t.env, t.columns.get("split"))))
            group.returns[t.rollout_key] = t.ret
            advantage = _constant(t)
            if advantage is not None:
                group.advantages[t.rollout_key] = advantage
            if t.segment == 0 and t.response_mask.any():
                group.prompts[t.agent].add(_digest(t.token_ids[: int(t.response_mask.argmax())]))
        if len(t):
            key = _digest(t.token_ids, t.group)
            if self._seen.setdefault(key, t.id) != t.id:
                yield Hit("duplicate", t.id)

    def conclude(self) -> Iterator[Hit]:
        """What only whole groups show."""
        for name, group in self._groups.items():
            if len(group.returns) == 1:
                yield Hit("single-rollout", name)
            elif np.ptp([*group.returns.values()]) == 0:
                yield Hit("zero-spread", name)
            if any(len(prompts) > 1 for prompts in group.prompts.values()):
                yield Hit("prompts-differ", name)
            if len(group.prompts) > 1:
                yield Hit("several-agents", name)
        yield from self._of_repeated_prompts()
        yield from self._of_advantages()

    def _of_repeated_prompts(self) -> Iterator[Hit]:
        """Prompts that are repeated, each time in a group of one rollout."""
        if any(len(group.returns) > 1 for group in self._groups.values()):
            return
        names = defaultdict(list)
        for name, group in self._groups.items():
            for agent, prompts in group.prompts.items():
                for prompt in prompts:
                    names[group.place, agent, prompt].append(name)
        repeated = [found for found in names.values() if len(found) > 1]
        count = sum(map(len, repeated))
        detail = f"{count} rollouts of {len(repeated)} prompt{'s' * (len(repeated) > 1)} are {count} groups"
        for found in repeated:
            yield from (Hit("group-per-rollout", name, detail) for name in found)

    def _of_advantages(self) -> Iterator[Hit]:
        """Recorded advantages that rank a group's rollouts otherwise than their returns, or have another zero."""
        reversed_in, beyond_in = [], []
        pairs = wrong = rollouts = beyond = 0
        for name, group in self._groups.items():
            common = [key for key in group.returns if key in group.advantages and np.isfinite(group.returns[key])]
            returns = np.array([group.returns[key] for key in common])
            advantages = np.array([group.advantages[key] for key in common])
            if len(common) < 2 or np.ptp(returns) < 1e-6:
                continue
            different, contradicted = _ranked(returns, advantages)
            pairs, wrong = pairs + different, wrong + contradicted
            reversed_in += [name] * (contradicted > 0)
            # The mean is that of the rollouts in the file, so all of the group must be known.
            if len(common) == len(group.returns):
                centred = returns - returns.mean()
                other = int(((np.sign(advantages) != np.sign(centred)) & (np.abs(centred) > 1e-6)).sum())
                rollouts, beyond = rollouts + len(common), beyond + other
                beyond_in += [name] * (other > 0)
        if wrong and wrong >= threshold("advantage-contradicts") * pairs:
            detail = f"{wrong} of {pairs} pairs with different returns are ranked otherwise"
            yield from (Hit("advantage-contradicts", name, detail) for name in reversed_in)
        elif beyond and beyond >= threshold("advantage-baseline") * rollouts:
            detail = f"{beyond} of {rollouts} rollouts are on the other side of it"
            yield from (Hit("advantage-baseline", name, detail) for name in beyond_in)


def _ranked(returns: np.ndarray, advantages: np.ndarray) -> tuple[int, int]:
    """The number of pairs of different returns, and of those that the advantages rank otherwise.

    Equal advantages contradict different returns only if all are equal: clipping and rounding make some equal.
    """
    all_equal = np.ptp(advantages) < 1e-9
    different = contradicted = 0
    for first, second in combinations(range(len(returns)), 2):
        gap = returns[first] - returns[second]
        if abs(gap) < 1e-6:
            continue
        different += 1
        contradicted += all_equal or gap * (advantages[first] - advantages[second]) < -1e-9
    return different, int(contradicted)


def _constant(t: Trajectory) -> float | None:
    """The recorded advantage of a rollout; None if there is none, or if it differs between its tokens."""
    recorded = t.recorded.get("advantage", t.signals.get("advantage"))
    if recorded is None:
        return None
    values = recorded[t.loss_mask & np.isfinite(recorded)]
    return float(values[0]) if len(values) and np.ptp(values) < 1e-4 * max(1.0, abs(float(values[0]))) else None


def _digest(ids: np.ndarray, group: str = "") -> bytes:
    return hashlib.blake2b(group.encode("utf-8", "replace") + b"\0" + ids.tobytes(), digest_size=12).digest()
