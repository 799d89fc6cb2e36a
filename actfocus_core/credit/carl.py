"""CARL, offline: the rollouts of a prompt form a tree of states that branches where they diverge."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.credit.base import Credit, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch


class CARL(Scheme):
    """The credit of a turn is V(child) - V(parent); V(node) is the mean over its children, V(leaf) = R.

    A node is a sequence of states. Every rollout through a node is one of its children, so V is the mean return of these
    rollouts, each counted once. Each segment starts a separate path. Only turns from nodes with more than one rollout are
    trained on. There is no division by the standard deviation. The published method builds its tree by branching additional
    rollouts at uncertain states (C3); here the tree comes from states shared by independent rollouts.
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
        # Segments of one rollout can visit a node more than once.
        _, first = np.unique(node * len(returns) + batch.rollout_of[batch.turn_owner], return_index=True)
        total = np.bincount(node[first], returns[batch.turn_owner[first]])
        count = np.bincount(node[first])
        value = (total / np.maximum(count, 1))[node]
        # After the last turn comes the leaf, with the return of this rollout.
        following = np.where(batch.turn_last, returns[batch.turn_owner], np.append(value[1:], 0)[: len(value)])
        shared = batch.broadcast(count[node] > 1)
        return tokens_credit(batch, batch.broadcast(following - value), p, keep=shared)


def prefixes(batch: Batch) -> np.ndarray:
    """int64 [K]: the tree node each turn starts from, identified by the states of the rollout up to and including this one."""
    nodes: dict[tuple[int, int], int] = {}
    node_of = np.empty(len(batch.turn_owner), np.int64)
    before, owner = -1, -1
    assert batch.turn_states is not None  # required by the scheme
    for k, (i, state) in enumerate(zip(batch.turn_owner.tolist(), batch.turn_states.tolist())):
        # State numbers differ between groups, so the first state also identifies the group.
        before = nodes.setdefault((before if i == owner else -1, state), len(nodes))
        node_of[k], owner = before, i
    return node_of
