"""What every data-parallel rank computes for the weights: the reference's energies, and weighted advantages."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tensordict import TensorDict

from actfocus_core.policy.split_model import chunk_rows

WEIGHTS, ENERGY = "actfocus_weights", "ref_energy"
"""Fields of verl's batch, [B, R] over the response."""


def weighted(
    data: TensorDict, group: torch.distributed.ProcessGroup | None = None, device: str | int = "cpu"
) -> TensorDict:
    """A mini-batch's part on this rank with its advantages times w N / sum(w); both sums over all ranks of ``group``,
    added up on ``device``.

    ``advantages``, ``actfocus_weights`` and ``response_mask`` of one shape: padded [B, R] or nested. The input stays as it is.
    """
    nested = data["advantages"].is_nested
    take: Callable[[str], torch.Tensor] = (lambda name: data[name].values()) if nested else (lambda name: data[name])
    mask, weights, advantages = take("response_mask"), take(WEIGHTS), take("advantages")
    counted = mask.to(torch.float32)
    sums = torch.stack([counted.sum(), (weights * counted).sum()]).to(device)
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(sums, group=group)
    tokens, mass = sums.tolist()
    scaled = advantages * weights * (tokens / mass if mass else 0.0)
    changed = data.copy()
    if nested:
        # From rows: made from offsets alone, it would be padded to the length of all rows together.
        scaled = torch.nested.as_nested_tensor(
            list(torch.split(scaled, data["advantages"].offsets().diff().tolist())), layout=torch.jagged
        )
    changed["advantages"] = scaled
    return changed


def energies(logits: torch.Tensor) -> torch.Tensor:
    """float32 [N]: -logsumexp of raw logits [N, V], a few rows at a time."""
    return torch.cat(
        [-part.float().logsumexp(-1) for part in torch.split(logits, chunk_rows(logits.shape[-1], logits.device))]
    )
