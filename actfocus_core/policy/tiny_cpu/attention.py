"""Causal attention along the branches of a forest, on a CPU, with gradients of its own.

Query heads that share keys are one matrix, a block of queries sees the keys up to its own end alone, and the
probabilities are kept for the backward pass where they are few. The numbers are those of PyTorch's fused function
but for rounding (a test compares them).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from actfocus_core.policy.tiny_cpu.forest import Branch, Forest

BLOCK = 128
"""Queries at a time: of the keys half a block is looked at in vain, and smaller matrices take as long."""
HELD = 1 << 24
"""Probabilities that all layers together may keep, 64 MB; where there are more they are made again."""


class Attention:
    """The attention of a forward pass over a forest: ``heads`` query heads in each of ``layers``."""

    def __init__(self, forest: Forest, heads: int, layers: int):
        self.branches = forest.branches
        pairs = sum(n * (b.before + (n + BLOCK) // 2) for b in self.branches for n in [b.own.stop - b.own.start])
        self.held = layers * heads * pairs <= HELD
        self.later = torch.full((BLOCK, BLOCK), float("-inf")).triu(1)

    def __call__(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """[N, H, w] from queries [N, H, w], scaled already, and keys and values [N, K, w]."""
        per = queries.shape[1] // keys.shape[1]
        later = self.later.repeat_interleave(per, 0)
        seen: torch.Tensor = _Attend.apply(  # type: ignore[no-untyped-call]  # torch gives it no types
            queries, keys, values, self.branches, later, self.held
        )
        return seen


class _Attend(torch.autograd.Function):
    """Queries [N, H, w] of the branches' nodes against keys and values [N, K, w]; ``later`` hides what follows in a block."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        branches: list[Branch],
        later: torch.Tensor,
        held: bool,
    ) -> torch.Tensor:
        seen, kept = torch.empty_like(queries), []
        held = held and any(ctx.needs_input_grad)
        for branch in branches:
            k, v = _along(keys, branch), _along(values, branch)
            for rows, end in _blocks(branch):
                p = _probabilities(_shared(queries[rows], len(k)), k, end, later)
                seen[rows] = _apart(torch.bmm(p, v[:, :end]), queries.shape[1])
                if held:
                    kept.append(p)
        ctx.save_for_backward(queries, keys, values, later, *kept)
        ctx.branches = branches
        return seen

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None, None, None]:
        queries, keys, values, later, *kept = ctx.saved_tensors
        into_queries, into_keys, into_values = (
            torch.empty_like(queries),
            torch.zeros_like(keys),
            torch.zeros_like(values),
        )
        made = iter(kept)
        for branch in ctx.branches:
            k, v = _along(keys, branch), _along(values, branch)
            into_k, into_v = k.new_zeros(k.shape), v.new_zeros(v.shape)
            for rows, end in _blocks(branch):
                q, g = _shared(queries[rows], len(k)), _shared(grad[rows], len(k))
                p = next(made) if kept else _probabilities(q, k, end, later)
                into_v[:, :end] += torch.bmm(p.transpose(1, 2), g)
                into_p = torch.bmm(g, v[:, :end].transpose(1, 2))
                # In place of what came in: it is read once.
                into_scores = torch.ops.aten._softmax_backward_data.out(into_p, p, -1, p.dtype, grad_input=into_p)
                into_queries[rows] = _apart(torch.bmm(into_scores, k[:, :end]), queries.shape[1])
                into_k[:, :end] += torch.bmm(into_scores.transpose(1, 2), q)
            at = 0
            for first, stop in branch.path:
                into_keys[first:stop] += into_k[:, at : at + stop - first].transpose(0, 1)
                into_values[first:stop] += into_v[:, at : at + stop - first].transpose(0, 1)
                at += stop - first
        return into_queries, into_keys, into_values, None, None, None


def _along(states: torch.Tensor, branch: Branch) -> torch.Tensor:
    """[K, L, w]: keys or values of a branch from its row's first token on."""
    runs = [states[first:end] for first, end in branch.path]
    return (torch.cat(runs) if len(runs) > 1 else runs[0]).transpose(0, 1)


def _blocks(branch: Branch) -> Iterator[tuple[slice, int]]:
    """Of each block of queries: its nodes, and how many keys of the row it may look at."""
    for first in range(branch.own.start, branch.own.stop, BLOCK):
        stop = min(first + BLOCK, branch.own.stop)
        yield slice(first, stop), branch.before + stop - branch.own.start


def _shared(heads: torch.Tensor, shared: int) -> torch.Tensor:
    """[n, H, w] -> [K, n H / K, w]: the heads that share keys as rows of one matrix, those of a token neighbours."""
    n, H, w = heads.shape
    return heads.view(n, shared, H // shared, w).transpose(0, 1).reshape(shared, -1, w)


def _apart(rows: torch.Tensor, H: int) -> torch.Tensor:
    """The way back from ``_shared``."""
    shared, _, w = rows.shape
    return rows.view(shared, -1, H // shared, w).transpose(0, 1).reshape(-1, H, w)


def _probabilities(q: torch.Tensor, k: torch.Tensor, end: int, later: torch.Tensor) -> torch.Tensor:
    """[K, n per, end]; the last n keys are the queries' own."""
    scores = torch.bmm(q, k[:, :end].transpose(1, 2))
    n = q.shape[1] * len(later[0]) // len(later)
    scores[:, :, end - n :] += later[: q.shape[1], :n].to(scores.dtype)
    return torch.softmax(scores, -1, out=scores)
