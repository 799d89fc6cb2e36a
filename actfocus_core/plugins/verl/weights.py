"""Computations of every data-parallel rank for the token weights: reference energies and weighted advantages."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tensordict import TensorDict

from actfocus_core.policy.split_model import chunk_rows

WEIGHTS, ENERGY = "actfocus_weights", "ref_energy"
"""Fields that are added to verl's batch, [B, R] over the response."""


def weighted(
    data: TensorDict, group: torch.distributed.ProcessGroup | None = None, device: str | int = "cpu"
) -> TensorDict:
    """This rank's part of a mini-batch with advantages times w N / sum(w), both sums over all ranks of ``group``.

    ``data``: ``advantages``, ``actfocus_weights`` and ``response_mask`` of one shape, padded [B, R] or nested; it is not
    changed. ``device``: where the sums are reduced.
    """
    nested = data["advantages"].is_nested
    take: Callable[[str], torch.Tensor] = (lambda name: data[name].values()) if nested else (lambda name: data[name])
    mask, weights, advantages = take("response_mask"), take(WEIGHTS), take("advantages")
    counted = mask.to(torch.float32)
    sums = torch.stack([counted.sum(), (weights * counted).sum()]).to(device)
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(sums, group=group)
    tokens, total_weight = sums.tolist()
    scaled = advantages * weights * (tokens / total_weight if total_weight else 0.0)
    result = data.copy()
    if nested:
        # Built from rows: built from offsets alone, it would be padded to the total length of all rows.
        scaled = torch.nested.as_nested_tensor(
            list(torch.split(scaled, data["advantages"].offsets().diff().tolist())), layout=torch.jagged
        )
    result["advantages"] = scaled
    return result


def energies(logits: torch.Tensor) -> torch.Tensor:
    """float32 [N]: -logsumexp of raw logits [N, V], computed in chunks of rows."""
    return torch.cat(
        [-part.float().logsumexp(-1) for part in torch.split(logits, chunk_rows(logits.shape[-1], logits.device))]
    )
