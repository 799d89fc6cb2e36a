"""Sampling replies turn by turn, with the keys and values of earlier turns kept.

``Sampler`` is the protocol the rollout loop knows; ``CachedSampler`` runs it on any Hugging
Face causal LM with ordinary or sliding-window attention, ``vllm.VllmSampler`` on vLLM.
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
    """What the policy wrote in one turn; arrays of one length n."""

    ids: list[int]
    logprobs: np.ndarray
    """float32 [n]: of the sampled tokens, at temperature 1 whatever they were sampled at"""
    entropies: np.ndarray
    """float32 [n], nats, at temperature 1; NaN where the sampler does not give them"""
    closed: bool
    """It ended with an end-of-turn token, and not because the limit was reached."""

    def joined(self, rest: Reply) -> Reply:
        """This beginning and the rest of the same reply."""
        return Reply(
            [*self.ids, *rest.ids],
            np.concatenate([self.logprobs, rest.logprobs]),
            np.concatenate([self.entropies, rest.entropies]),
            rest.closed,
        )


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


def check_temperature(temperature: float) -> float:
    """The temperature itself. Raises ActFocusError for one that is not a finite number, 0 or above."""
    if not 0 <= temperature < np.inf:
        raise ActFocusError(f"temperature={temperature}: must be a finite number, 0 or above")
    return temperature


class CachedSampler:
    """Keys and values stand at slot = position, one stream a row, without pads in between.

    A block shorter than its neighbours' leaves garbage in the slots after it. These lie after
    the row's last position, so no query sees them, and the next tokens overwrite them. So
    positions are those of the stream alone, and a row's numbers do not depend on the others.

    Streams change rows: those that still write are kept in front, and only they are computed.
    Streams that begin with the same block, as the rollouts of a group do, read it once.
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
        """Which stream a row of the cache holds; on the CPU, as all that is decided row by row."""
        self.lengths = torch.zeros(rows, dtype=torch.long, device=self.device)
        """Tokens in the cache, by row."""
        self.pending: list[list[int]] = [[] for _ in range(rows)]
        """The last sampled token of each stream, not read by the model yet."""
        # A new one for every batch of episodes: it copies the weights, which training changes.
        self.decoder = self.fast.decoder() if self.fast else None

    def keep(self, rows: list[int]) -> None:
        number = torch.full((len(self.pending),), -1)
        number[rows] = torch.arange(len(rows))
        self._to_front(number[self.streams] >= 0)
        self.streams, self.lengths = number[self.streams[: len(rows)]], self.lengths[: len(rows)]
        self.cache.rows = len(rows)
        self.pending = [self.pending[row] for row in rows]

    @torch.no_grad()
    def reply(self, blocks: list[list[int]], limit: int, dice: np.ndarray) -> list[Reply]:
        rows = len(blocks)
        logits = self._read([self.pending[s] + list(blocks[s]) for s in self.streams.tolist()])
        uniform = torch.tensor(dice, dtype=torch.float32, device=self.device)
        ids, logprobs, entropies = (
            torch.zeros(limit, rows, dtype=kind, device=self.device)
            for kind in (torch.long, torch.float32, torch.float32)
        )
        count = torch.zeros(rows, dtype=torch.long)
        writing = rows
        for i in range(limit):
            streams = self.streams[:writing]
            at = streams.to(self.device)
            drawn, logprobs[i, at], entropies[i, at] = self._draw(logits, uniform[at, i])
            ids[i, at] = drawn
            count[streams] = i + 1
            going = ~torch.isin(drawn, self.stop).cpu()
            if i + 1 == limit or not going.any():
                break
            if not going.all():
                # A row's next token moves with it.
                drawn = drawn[self._to_front(going)]
                writing = len(drawn)
            lengths = self.lengths[:writing]
            logits = self._next(drawn, lengths)
            lengths += 1
        return self._replies(ids, logprobs, entropies, count)

    def _replies(
        self, ids: torch.Tensor, logprobs: torch.Tensor, entropies: torch.Tensor, count: torch.Tensor
    ) -> list[Reply]:
        closed = torch.isin(ids, self.stop).any(0).tolist()
        sizes = count.tolist()
        written = [column[:n] for column, n in zip(ids.T.tolist(), sizes)]
        self.pending = [row[-1:] for row in written]
        logp, entropy = logprobs.T.cpu().numpy(), entropies.T.cpu().numpy()
        return [Reply(written[r], logp[r, :n].copy(), entropy[r, :n].copy(), closed[r]) for r, n in enumerate(sizes)]

    def _to_front(self, chosen: torch.Tensor) -> torch.Tensor:
        """Put the chosen of the first rows (bool [n]) before the others of them; few rows move.

        Returns what stood where the chosen ones are now: row r of the k chosen came from result[r].
        """
        k = int(chosen.sum())
        gaps, back = (~chosen[:k]).nonzero()[:, 0], k + chosen[k:].nonzero()[:, 0]
        came_from = torch.arange(k)
        if len(gaps):
            came_from[gaps] = back
            here, there = torch.cat([gaps, back]), torch.cat([back, gaps])
            self.streams[here] = self.streams[there]
            here, there = here.to(self.device), there.to(self.device)
            self.lengths[here] = self.lengths[there]
            self.cache.move(here, there)
        return came_from.to(self.device)

    def _read(self, blocks: list[list[int]]) -> torch.Tensor:
        """Feed a block to every row; logits [rows, V] after its last token."""
        first: dict[tuple[int, ...], int] = {}
        same = [first.setdefault(tuple(block), len(first)) for block in blocks]
        shared = not self.cache.slots and len(first) < len(blocks)
        fed: Sequence[Sequence[int]] = list(first) if shared else blocks
        sizes = torch.tensor([len(b) for b in fed])
        ids = torch.zeros(len(fed), int(sizes.max()), dtype=torch.long)
        for row, block in zip(ids, fed):
            row[: len(block)] = torch.tensor(block)
        sizes = sizes.to(self.device)
        positions = self.lengths[: len(fed), None] + torch.arange(ids.shape[1], device=self.device)
        logits = self._forward(ids.to(self.device), positions, last=sizes - 1)
        if shared:
            origin = torch.tensor(same, device=self.device)
            self.cache.spread(origin)
            logits, sizes = logits[origin], sizes[origin]
        self.lengths = self.lengths + sizes
        return logits

    def _next(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Feed one token to each of the first rows, ids and positions [n]; logits [n, V]."""
        if self.decoder:
            return self.decoder.next_logits(ids, positions, self.cache)
        return self._forward(ids[:, None], positions[:, None])[:, 0]

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor, last: torch.Tensor | None = None) -> torch.Tensor:
        """Logits of every fed token of the first rows [n, m, V], or of one token a row [n, V]."""
        self.cache.aim(positions)
        slots = torch.arange(self.cache.slots, device=self.device)
        hidden = slots > positions[:, :, None]
        masks = {
            kind: self._mask(hidden if window is None else hidden | (slots <= positions[:, :, None] - window))
            for kind, window in self.windows.items()
        }
        mask = masks if len(masks) > 1 else next(iter(masks.values()))
        keep: int | torch.Tensor = 0
        if last is not None:
            # One call serves all rows: keep the few columns where some row's block ends.
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
        """bool [n, m, slots] as what is added to the scores [n, 1, m, slots], once for all layers."""
        kind = self.model.dtype
        return torch.zeros(hidden.shape, dtype=kind, device=self.device).masked_fill_(hidden, torch.finfo(kind).min)[
            :, None
        ]

    def _draw(self, logits: torch.Tensor, uniform: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
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
        raise ActFocusError(
            f"{policy.name}: has layers of {', '.join(sorted(unknown))}; the "
            "transformers sampler knows full and sliding attention"
        )
    window = getattr(config, "sliding_window", None)
    # Without a list of layer types a window holds for all layers (Mistral), unless switched off.
    everywhere = not getattr(config, "layer_types", None) and getattr(config, "use_sliding_window", True)
    return {kind: window if kind == "sliding_attention" or everywhere else None for kind in sorted(kinds)}


class SlotCache(Cache):
    """Keys and values at slot = position; ``aim`` says where the next ones go."""

    def __init__(self, layers: int, rows: int):
        self.own = [SlotLayer() for _ in range(layers)]  # type: ignore[no-untyped-call]  # transformers' __init__ has no types
        """``layers``, by their own type"""
        super().__init__(layers=list(self.own))
        self.rows, self.slots = rows, 0

    def aim(self, positions: torch.Tensor) -> None:
        """positions: int64 [n, m], where the keys of the next pass are put, in the first n rows."""
        self.slots = max(self.slots, int(positions.max()) + 1)
        for layer in self.own:
            layer.positions, layer.rows, layer.slots = positions, self.rows, self.slots

    def move(self, to: torch.Tensor, origin: torch.Tensor) -> None:
        """Row ``to[i]`` takes what row ``origin[i]`` holds."""
        for layer in self.own:
            for slab in (layer.keys, layer.values):
                used = slab[:, :, : self.slots]
                used[to] = used[origin]

    def spread(self, origin: torch.Tensor) -> None:
        """Every row r takes what row ``origin[r]`` holds."""
        for layer in self.own:
            layer.keys, layer.values = layer.keys[origin], layer.values[origin]


class SlotLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # transformers' __init_subclass__ has no types
    """One layer's keys and values in a slab with room to grow: no copy a token."""

    keys: torch.Tensor
    values: torch.Tensor
    """None before the first ``update``"""
    positions: torch.Tensor
    rows: int
    slots: int
    """as the cache aims"""
    room = 256
    """Slots added when the slab is full."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.keys, self.values = (s.new_zeros(*s.shape[:2], 0, s.shape[3]) for s in (key_states, value_states))
            self.is_initialized = True
        if self.keys.shape[2] < self.slots:
            self.keys, self.values = self._grown(self.keys), self._grown(self.values)
        return self._put(self.keys, key_states), self._put(self.values, value_states)

    def _put(self, slab: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """The slots in use of the rows that are computed, the new ones among them."""
        rows, heads, _, width = states.shape
        index = self.positions[:, None, :, None].expand(-1, heads, -1, width)
        slab[:rows].scatter_(2, index, states)
        return slab[:rows, :, : self.slots]

    def _grown(self, slab: torch.Tensor) -> torch.Tensor:
        rows, heads, held, width = slab[: self.rows].shape
        new = slab.new_zeros(rows, heads, self.slots + self.room, width)
        new[:, :, :held] = slab[:rows]
        return new
