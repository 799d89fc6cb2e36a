"""CARL, offline: the rollouts of a prompt as one tree, whose forks are where they part."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.credit.base import Credit, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch


class CARL(Scheme):
    """V(node) = mean over its children, V(leaf) = R; the turn between them gets V(child) - V(parent).

    A node is a sequence of states; every rollout that goes on from it is a child, so V is the mean
    return of the rollouts that pass through, each counted once. A segment starts a path of its own. Only turns taken from a node with more than one
    rollout are trained on. No division by a deviation. The method grows its tree by forking
    fresh rollouts at uncertain states (C3); here the states that plain rollouts share are the forks.
    """

    name = "carl"
    title = "CARL"
    description = "The credit of a turn is the change in mean return from its state to the next state."
    source = "CARL, arXiv 2512.04949"
    read = "paper"
    unit = "turn"
    evidence = "observational"
    cost = "C3"
    needs = ("state_key",)

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        node, returns = prefixes(batch), batch.returns[batch.last]
        # Segments of one rollout may pass through a node more than once.
        _, first = np.unique(node * len(returns) + batch.rollout_of[batch.turn_owner], return_index=True)
        total = np.bincount(node[first], returns[batch.turn_owner[first]])
        count = np.bincount(node[first])
        value = (total / np.maximum(count, 1))[node]
        # After the last turn comes the leaf, a rollout of its own.
        following = np.where(batch.turn_last, returns[batch.turn_owner], np.append(value[1:], 0)[: len(value)])
        shared = batch.spread(count[node] > 1)
        return tokens_credit(batch, batch.spread(following - value), p, keep=shared)


def prefixes(batch: Batch) -> np.ndarray:
    """int64 [K]: which node of its group's tree a turn starts from: the states up to and with its own."""
    nodes: dict[tuple[int, int], int] = {}
    found = np.empty(len(batch.turn_owner), np.int64)
    before, owner = -1, -1
    assert batch.turn_states is not None  # One of the needs.
    for k, (i, state) in enumerate(zip(batch.turn_owner.tolist(), batch.turn_states.tolist())):
        # States of different groups have different numbers, so the first one names the group.
        before = nodes.setdefault((before if i == owner else -1, state), len(nodes))
        found[k], owner = before, i
    return found
