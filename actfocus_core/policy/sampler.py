"""Sample replies turn by turn, reusing the keys and values of earlier turns.

``Sampler`` is the protocol used by the rollout loop. ``CachedSampler`` implements it for any Hugging Face causal LM
with full or sliding-window attention, ``vllm.VllmSampler`` for vLLM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from transformers.cache_utils import Cache, DynamicLayer

from actfocus_core.errors import ActFocusError
from actfocus_core.policy.loading import Policy
from actfocus_core.policy.tiny_cpu import fast_model


@dataclass
class Reply:
    """The tokens the policy sampled in one turn; all arrays have length n."""

    ids: list[int]
    logprobs: np.ndarray
    """float32 [n]: log-probs of the sampled tokens at temperature 1, whatever the sampling temperature"""
    entropies: np.ndarray
    """float32 [n]: entropies in nats at temperature 1; NaN if the sampler does not compute them"""
    closed: bool
    """The reply ended with an end-of-turn token, not at the length limit."""

    def joined(self, continuation: Reply) -> Reply:
        """This reply followed by its continuation."""
        return Reply(
            [*self.ids, *continuation.ids],
            np.concatenate([self.logprobs, continuation.logprobs]),
            np.concatenate([self.entropies, continuation.entropies]),
            continuation.closed,
        )


class Sampler(Protocol):
    """A batch of token streams, one a dialogue, that are extended together."""

    def begin(self, rows: int) -> None:
        """Discard all streams and start ``rows`` empty ones."""

    def reply(self, blocks: list[list[int]], limit: int, uniforms: np.ndarray) -> list[Reply]:
        """Append a block of ids to every stream and sample a reply of at most ``limit`` tokens.

        ``uniforms``: float [rows, limit] in [0, 1). The reply of a row depends only on its own stream and its own
        uniforms, not on the other rows.
        """

    def keep(self, rows: list[int]) -> None:
        """Continue with these streams only."""


def check_temperature(temperature: float) -> float:
    """Return the temperature. Raises ActFocusError unless it is finite and 0 or above."""
    if not 0 <= temperature < np.inf:
        raise ActFocusError(f"temperature={temperature}: must be a finite number, 0 or above")
    return temperature


class CachedSampler:
    """The ``Sampler`` protocol on a Hugging Face model.

    The cache stores keys and values at slot = position, one stream a row, without padding. A block shorter than the
    longest one of its batch leaves garbage in the slots after it. Those slots lie after the row's last position: no
    query attends to them, and the next tokens overwrite them. Positions are therefore those of the stream, and the
    numbers of a row do not depend on the other rows.

    Streams move between rows: the unfinished ones are kept in front, and only they are computed. A first block that
    several streams share, such as the prompt of a group, is computed once.
    """

    def __init__(self, policy: Policy, temperature: float = 1.0):
        self.model, self.device = policy.model, policy.device
        self.fast = fast_model(policy.model)
        self.temperature = check_temperature(temperature)
        self.stop = torch.tensor(policy.chat.stop_ids(), device=self.device)
        self.windows = _windows(policy)

    def begin(self, rows: int) -> None:
        self.cache = SlotCache(self.model.config.get_text_config().num_hidden_layers, rows)
        self.streams = torch.arange(rows)
        """int64 [rows], on the CPU: the stream held by each row of the cache"""
        self.lengths = torch.zeros(rows, dtype=torch.long, device=self.device)
        """int64 [rows]: tokens in the cache"""
        self.pending: list[list[int]] = [[] for _ in range(rows)]
        """The last sampled token of each stream, which the model has not read yet"""
        # A new decoder for every batch of episodes: it copies the weights, and training changes them.
        self.decoder = self.fast.decoder() if self.fast else None

    def keep(self, rows: list[int]) -> None:
        new_index = torch.full((len(self.pending),), -1)
        new_index[rows] = torch.arange(len(rows))
        self._to_front(new_index[self.streams] >= 0)
        self.streams, self.lengths = new_index[self.streams[: len(rows)]], self.lengths[: len(rows)]
        self.cache.rows = len(rows)
        self.pending = [self.pending[row] for row in rows]

    @torch.no_grad()
    def reply(self, blocks: list[list[int]], limit: int, uniforms: np.ndarray) -> list[Reply]:
        rows = len(blocks)
        logits = self._read([self.pending[stream] + list(blocks[stream]) for stream in self.streams.tolist()])
        device_uniforms = torch.tensor(uniforms, dtype=torch.float32, device=self.device)
        ids, logprobs, entropies = (
            torch.zeros(limit, rows, dtype=dtype, device=self.device)
            for dtype in (torch.long, torch.float32, torch.float32)
        )
        count = torch.zeros(rows, dtype=torch.long)
        active = rows
        for i in range(limit):
            streams = self.streams[:active]
            device_streams = streams.to(self.device)
            sampled, logprobs[i, device_streams], entropies[i, device_streams] = self._draw(
                logits, device_uniforms[device_streams, i]
            )
            ids[i, device_streams] = sampled
            count[streams] = i + 1
            unfinished = ~torch.isin(sampled, self.stop).cpu()
            if i + 1 == limit or not unfinished.any():
                break
            if not unfinished.all():
                # The sampled tokens move with their rows.
                sampled = sampled[self._to_front(unfinished)]
                active = len(sampled)
            lengths = self.lengths[:active]
            logits = self._next(sampled, lengths)
            lengths += 1
        return self._replies(ids, logprobs, entropies, count)

    def _replies(
        self, ids: torch.Tensor, logprobs: torch.Tensor, entropies: torch.Tensor, count: torch.Tensor
    ) -> list[Reply]:
        closed = torch.isin(ids, self.stop).any(0).tolist()
        sizes = count.tolist()
        sampled = [column[:n] for column, n in zip(ids.T.tolist(), sizes)]
        self.pending = [row[-1:] for row in sampled]
        logp, entropy = logprobs.T.cpu().numpy(), entropies.T.cpu().numpy()
        return [Reply(sampled[r], logp[r, :n].copy(), entropy[r, :n].copy(), closed[r]) for r, n in enumerate(sizes)]

    def _to_front(self, selected: torch.Tensor) -> torch.Tensor:
        """Move the selected ones of the first n rows (bool [n]) to the front, exchanging as few rows as possible.

        Returns int64 [k], the previous row of each of the k selected rows.
        """
        k = int(selected.sum())
        gaps, back = (~selected[:k]).nonzero()[:, 0], k + selected[k:].nonzero()[:, 0]
        previous = torch.arange(k)
        if len(gaps):
            previous[gaps] = back
            target, source = torch.cat([gaps, back]), torch.cat([back, gaps])
            self.streams[target] = self.streams[source]
            target, source = target.to(self.device), source.to(self.device)
            self.lengths[target] = self.lengths[source]
            self.cache.copy_rows(target, source)
        return previous.to(self.device)

    def _read(self, blocks: list[list[int]]) -> torch.Tensor:
        """Run the model on one block a row; logits [rows, V] after its last token."""
        unique: dict[tuple[int, ...], int] = {}
        block_index = [unique.setdefault(tuple(block), len(unique)) for block in blocks]
        shared = not self.cache.slots and len(unique) < len(blocks)
        inputs: Sequence[Sequence[int]] = list(unique) if shared else blocks
        sizes = torch.tensor([len(block) for block in inputs])
        ids = torch.zeros(len(inputs), int(sizes.max()), dtype=torch.long)
        for row, block in zip(ids, inputs):
            row[: len(block)] = torch.tensor(block)
        sizes = sizes.to(self.device)
        positions = self.lengths[: len(inputs), None] + torch.arange(ids.shape[1], device=self.device)
        logits = self._forward(ids.to(self.device), positions, last=sizes - 1)
        if shared:
            source = torch.tensor(block_index, device=self.device)
            self.cache.select_rows(source)
            logits, sizes = logits[source], sizes[source]
        self.lengths = self.lengths + sizes
        return logits

    def _next(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Run the model on one token for each of the first n rows, ids and positions [n]; logits [n, V]."""
        if self.decoder:
            return self.decoder.next_logits(ids, positions, self.cache)
        return self._forward(ids[:, None], positions[:, None])[:, 0]

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor, last: torch.Tensor | None = None) -> torch.Tensor:
        """Logits of all m tokens of the first n rows [n, m, V], or with ``last`` of one token a row [n, V]."""
        self.cache.set_positions(positions)
        slots = torch.arange(self.cache.slots, device=self.device)
        hidden = slots > positions[:, :, None]
        masks = {
            kind: self._mask(hidden if window is None else hidden | (slots <= positions[:, :, None] - window))
            for kind, window in self.windows.items()
        }
        mask = masks if len(masks) > 1 else next(iter(masks.values()))
        keep: int | torch.Tensor = 0
        if last is not None:
            # logits_to_keep applies to all rows: keep the few columns in which some row's block ends.
            keep, column = torch.unique(last, return_inverse=True)
        logits: torch.Tensor = self.model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits
        if last is not None:
            logits = logits[torch.arange(len(ids), device=self.device), column]
        return logits.float()

    def _mask(self, hidden: torch.Tensor) -> torch.Tensor:
        """bool [n, m, slots] -> the additive attention mask [n, 1, m, slots], built once for all layers."""
        dtype = self.model.dtype
        return torch.zeros(hidden.shape, dtype=dtype, device=self.device).masked_fill_(hidden, torch.finfo(dtype).min)[
            :, None
        ]

    def _draw(self, logits: torch.Tensor, uniform: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Sample one token a row by inverse transform from its uniform number: ids, log-probs, entropies, all [rows]."""
        logp = logits.log_softmax(-1)
        probs = logp.exp()
        entropy = -(probs * logp).sum(-1)
        if self.temperature == 0:
            ids = logits.argmax(-1)
        else:
            if self.temperature != 1:
                probs = (logits / self.temperature).softmax(-1)
            cumulative = probs.cumsum(-1)
            # Strictly below the total, so that no token after the last one with positive probability is sampled.
            level = (uniform * cumulative[:, -1]).clamp(max=cumulative[:, -1] * (1 - 1e-6))
            ids = torch.searchsorted(cumulative, level[:, None], right=True)[:, 0]
        return ids, logp.gather(1, ids[:, None])[:, 0], entropy


def _windows(policy: Policy) -> dict[str, int | None]:
    """Attention layer type -> window size, None for full attention."""
    config = policy.model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    unknown = kinds - {"full_attention", "sliding_attention"}
    if unknown:
        raise ActFocusError(
            f"{policy.name}: has layers of {', '.join(sorted(unknown))}; the "
            "transformers sampler supports full and sliding attention"
        )
    window = getattr(config, "sliding_window", None)
    # Without a list of layer types the window applies to all layers (Mistral), unless it is switched off.
    everywhere = not getattr(config, "layer_types", None) and getattr(config, "use_sliding_window", True)
    return {kind: window if kind == "sliding_attention" or everywhere else None for kind in sorted(kinds)}


class SlotCache(Cache):
    """A key-value cache with slot = position; ``set_positions`` selects the slots of the next forward pass."""

    def __init__(self, layers: int, rows: int):
        self.slot_layers = [SlotLayer() for _ in range(layers)]  # type: ignore[no-untyped-call]  # transformers' __init__ has no types
        """``layers`` with their concrete type"""
        super().__init__(layers=list(self.slot_layers))
        self.rows, self.slots = rows, 0

    def set_positions(self, positions: torch.Tensor) -> None:
        """Set the slots that the next forward pass writes in the first n rows, int64 [n, m]."""
        self.slots = max(self.slots, int(positions.max()) + 1)
        for layer in self.slot_layers:
            layer.positions, layer.rows, layer.slots = positions, self.rows, self.slots

    def copy_rows(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Copy row ``source[i]`` to row ``target[i]``."""
        for layer in self.slot_layers:
            for slab in (layer.keys, layer.values):
                used = slab[:, :, : self.slots]
                used[target] = used[source]

    def select_rows(self, source: torch.Tensor) -> None:
        """Replace every row r by row ``source[r]``."""
        for layer in self.slot_layers:
            layer.keys, layer.values = layer.keys[source], layer.values[source]


class SlotLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # transformers' __init_subclass__ has no types
    """Keys and values of one layer in a preallocated tensor, so that a new token needs no copy of the cache."""

    keys: torch.Tensor
    values: torch.Tensor
    """None before the first ``update``"""
    positions: torch.Tensor
    rows: int
    slots: int
    """Set by ``SlotCache.set_positions``"""
    growth = 256
    """Slots added when the tensor is full"""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.keys, self.values = (
                states.new_zeros(*states.shape[:2], 0, states.shape[3]) for states in (key_states, value_states)
            )
            self.is_initialized = True
        if self.keys.shape[2] < self.slots:
            self.keys, self.values = self._grown(self.keys), self._grown(self.values)
        return self._put(self.keys, key_states), self._put(self.values, value_states)

    def _put(self, slab: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Write the new states; return the used slots of the computed rows."""
        rows, heads, _, width = states.shape
        index = self.positions[:, None, :, None].expand(-1, heads, -1, width)
        slab[:rows].scatter_(2, index, states)
        return slab[:rows, :, : self.slots]

    def _grown(self, slab: torch.Tensor) -> torch.Tensor:
        rows, heads, size, width = slab[: self.rows].shape
        new = slab.new_zeros(rows, heads, self.slots + self.growth, width)
        new[:, :, :size] = slab[:rows]
        return new
