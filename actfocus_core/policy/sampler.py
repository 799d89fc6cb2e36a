"""Sampling replies turn by turn, with the keys and values of earlier turns kept.

``Sampler`` is the protocol the rollout loop knows; ``CachedSampler`` runs it on any Hugging
Face causal LM with ordinary or sliding-window attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from transformers.cache_utils import Cache, DynamicLayer

from actfocus_core.errors import ActFocusError
from actfocus_core.policy.loading import Policy


@dataclass
class Reply:
    """What the policy wrote in one turn; arrays of one length n."""

    ids: list[int]
    logprobs: np.ndarray
    """float32 [n]: of the sampled tokens, at temperature 1 whatever they were sampled at"""
    entropies: np.ndarray
    """float32 [n], nats, at temperature 1"""
    closed: bool
    """It ended with an end-of-turn token, and not because the limit was reached."""


class Sampler(Protocol):
    """Rows of dialogues that grow together."""

    def begin(self, rows: int) -> None:
        """Forget everything; start this many empty streams."""

    def reply(self, blocks: list[list[int]], limit: int, dice: np.ndarray) -> list[Reply]:
        """Append a block of ids to every stream and sample a reply of at most ``limit`` tokens.

        ``dice``: float [rows, limit], uniform in [0, 1); what a row samples depends on its own
        stream and its own dice alone, not on the other rows.
        """

    def keep(self, rows: list[int]) -> None:
        """Go on with these streams only."""


class CachedSampler:
    """Keys and values stand at slot = position, one stream a row, without pads in between.

    A block shorter than its neighbours' leaves garbage in the slots after it. These lie after
    the row's last position, so no query sees them, and the next tokens overwrite them. So
    positions are those of the stream alone, and a row's numbers do not depend on the others.
    """

    def __init__(self, policy: Policy, temperature: float = 1.0):
        if not 0 <= temperature < np.inf:
            raise ActFocusError(f"temperature={temperature}: must be a finite number, 0 or above")
        self.model, self.device = policy.model, policy.device
        self.temperature = temperature
        self.stop = torch.tensor(policy.chat.stop_ids(), device=self.device)
        self.windows = _windows(policy)
        # Plain attention (Gemma 2 has it for its soft cap) adds the mask, the fused one takes bool.
        self.eager = self.model.config._attn_implementation == "eager"

    def begin(self, rows: int) -> None:
        self.cache = SlotCache(self.model.config.get_text_config().num_hidden_layers)
        self.lengths = torch.zeros(rows, dtype=torch.long, device=self.device)
        self.pending: list[list[int]] = [[] for _ in range(rows)]
        """The last sampled token of each row, not read by the model yet."""

    def keep(self, rows: list[int]) -> None:
        index = torch.tensor(rows, device=self.device)
        self.cache.batch_select_indices(index)
        self.lengths = self.lengths[index]
        self.pending = [self.pending[row] for row in rows]

    @torch.no_grad()
    def reply(self, blocks: list[list[int]], limit: int, dice: np.ndarray) -> list[Reply]:
        rows = len(blocks)
        logits = self._read([p + list(b) for p, b in zip(self.pending, blocks)])
        uniform = torch.tensor(dice, dtype=torch.float32, device=self.device)
        ids, logprobs, entropies = (torch.zeros(limit, rows, dtype=kind, device=self.device)
                                    for kind in (torch.long, torch.float32, torch.float32))
        count = torch.zeros(rows, dtype=torch.long, device=self.device)
        open_ = torch.ones(rows, dtype=torch.bool, device=self.device)
        for i in range(limit):
            ids[i], logprobs[i], entropies[i] = self._draw(logits, uniform[:, i])
            count += open_
            open_ = open_ & ~torch.isin(ids[i], self.stop)
            if i + 1 == limit or not open_.any():
                break
            # Closed rows go on with a token nobody reads, at a position they have not reached.
            logits = self._forward(ids[i][:, None], self.lengths[:, None])[:, 0]
            self.lengths += open_
        return self._replies(ids, logprobs, entropies, count, ~open_)

    def _replies(self, ids, logprobs, entropies, count, closed) -> list[Reply]:
        count = count.tolist()
        ids = [column[:n] for column, n in zip(ids.T.tolist(), count)]
        self.pending = [row[-1:] for row in ids]
        logprobs, entropies = logprobs.T.cpu().numpy(), entropies.T.cpu().numpy()
        return [Reply(ids[r], logprobs[r, :n].copy(), entropies[r, :n].copy(), bool(closed[r]))
                for r, n in enumerate(count)]

    def _read(self, blocks: list[list[int]]) -> torch.Tensor:
        """Feed a block to every row; logits [rows, V] after its last token."""
        sizes = torch.tensor([len(b) for b in blocks], device=self.device)
        ids = torch.zeros(len(blocks), int(sizes.max()), dtype=torch.long)
        for row, block in zip(ids, blocks):
            row[:len(block)] = torch.tensor(block)
        positions = self.lengths[:, None] + torch.arange(ids.shape[1], device=self.device)
        logits = self._forward(ids.to(self.device), positions, last=sizes - 1)
        self.lengths = self.lengths + sizes
        return logits

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor,
                 last: torch.Tensor | None = None) -> torch.Tensor:
        """Logits of every fed token [rows, n, V], or of one token a row [rows, V]."""
        self.cache.aim(positions)
        slots = torch.arange(self.cache.slots, device=self.device)
        visible = slots <= positions[:, :, None]
        masks = {kind: self._mask(visible if window is None else
                                  visible & (slots > positions[:, :, None] - window))
                 for kind, window in self.windows.items()}
        mask = masks if len(masks) > 1 else next(iter(masks.values()))
        keep = 0
        if last is not None:
            # One call serves all rows: keep the few columns where some row's block ends.
            keep, column = torch.unique(last, return_inverse=True)
        logits = self.model(input_ids=ids, position_ids=positions, attention_mask=mask,
                            past_key_values=self.cache, use_cache=True, logits_to_keep=keep).logits
        if last is not None:
            logits = logits[torch.arange(len(ids), device=self.device), column]
        return logits.float()

    def _mask(self, visible: torch.Tensor) -> torch.Tensor:
        """[rows, n, slots] of bool as the model's attention wants it: [rows, 1, n, slots]."""
        if not self.eager:
            return visible[:, None]
        kind = self.model.dtype
        return torch.zeros(visible.shape, dtype=kind, device=self.device).masked_fill(
            ~visible, torch.finfo(kind).min)[:, None]

    def _draw(self, logits: torch.Tensor, uniform: torch.Tensor):
        """Sample one token a row by its own die: ids, log-probs, entropies, all [rows]."""
        logp = logits.log_softmax(-1)
        probs = logp.exp()
        entropy = -(probs * logp).sum(-1)
        if self.temperature == 0:
            ids = logits.argmax(-1)
        else:
            if self.temperature != 1:
                probs = (logits / self.temperature).softmax(-1)
            cumulative = probs.cumsum(-1)
            # Strictly below the total, so that the last token with probability is the last choice.
            level = (uniform * cumulative[:, -1]).clamp(max=cumulative[:, -1] * (1 - 1e-6))
            ids = torch.searchsorted(cumulative, level[:, None], right=True)[:, 0]
        return ids, logp.gather(1, ids[:, None])[:, 0], entropy


def _windows(policy: Policy) -> dict[str, int | None]:
    """The kinds of attention layers a model has, with their window or None."""
    config = policy.model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    unknown = kinds - {"full_attention", "sliding_attention"}
    if unknown:
        raise ActFocusError(f"{policy.name}: has layers of {', '.join(sorted(unknown))}; the "
                            "transformers sampler knows full and sliding attention")
    window = getattr(config, "sliding_window", None)
    # Without a list of layer types a window holds for all layers (Mistral), unless switched off.
    everywhere = not getattr(config, "layer_types", None) and getattr(config, "use_sliding_window", True)
    return {kind: window if kind == "sliding_attention" or everywhere else None for kind in sorted(kinds)}


class SlotCache(Cache):
    """Keys and values at slot = position; ``aim`` says where the next ones go."""

    def __init__(self, layers: int):
        super().__init__(layers=[SlotLayer() for _ in range(layers)])
        self.slots = 0

    def aim(self, positions: torch.Tensor) -> None:
        """positions: int64 [rows, n], where the keys of the next forward pass are put."""
        self.slots = max(self.slots, int(positions.max()) + 1)
        for layer in self.layers:
            layer.positions, layer.slots = positions, self.slots


class SlotLayer(DynamicLayer):
    """One layer's keys and values in a slab with room to grow: no copy a token."""

    room = 256
    """Slots added when the slab is full."""

    def update(self, key_states, value_states, *args, **kwargs):
        if not self.is_initialized:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.keys, self.values = (s.new_zeros(*s.shape[:2], 0, s.shape[3])
                                      for s in (key_states, value_states))
            self.is_initialized = True
        if self.keys.shape[2] < self.slots:
            self.keys, self.values = self._grown(self.keys), self._grown(self.values)
        self._put(self.keys, key_states)
        self._put(self.values, value_states)
        return self.keys[:, :, :self.slots], self.values[:, :, :self.slots]

    def _put(self, slab: torch.Tensor, states: torch.Tensor) -> None:
        index = self.positions[:, None, :, None].expand(-1, states.shape[1], -1, states.shape[3])
        slab.scatter_(2, index, states)

    def _grown(self, slab: torch.Tensor) -> torch.Tensor:
        rows, heads, held, width = slab.shape
        new = slab.new_zeros(rows, heads, self.slots + self.room, width)
        new[:, :, :held] = slab
        return new
