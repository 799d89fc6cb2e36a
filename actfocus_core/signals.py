"""Score every response token with a frozen reference model, in one teacher-forced pass.

Scores are stored as ``ref_energy``, ``ref_entropy``, ``ref_logprob`` (method.md section 2) and ``ref_centred_energy``
(ours). ``signal_values`` computes the signals used by token weights from a trajectory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from actfocus_core.errors import ActFocusError
from actfocus_core.trajectory import Alternatives, Trajectory

if TYPE_CHECKING:
    import torch

    from actfocus_core.policy import Policy
    from actfocus_core.policy.split_model import SplitModel

SIGNALS = ("energy", "entropy", "nll", "shift")
"""The paper's signals. Energy and entropy come from the reference and do not drift while the policy is trained; nll comes
from the policy and drifts; shift comes from both and drifts partly."""

OUR_SIGNALS = ("centred_energy", "policy_entropy")
"""Signals that are not the paper's. ``centred_energy`` is the energy plus the mean logit: unlike the energy it is invariant
to adding a constant to the logits of a position, which changes no probability. ``policy_entropy`` is that of the rollout
policy, and drifts."""


def signal_values(trajectory: Trajectory, name: str) -> np.ndarray:
    """A signal of SIGNALS or OUR_SIGNALS, float32 [T], NaN where it was not recorded (method.md section 2).

    With the reference's logits f_t: energy -logsumexp(f_t); entropy H(softmax f_t) in nats; nll -log pi_old(y_t); shift
    log pi_old(y_t) - log pi_ref(y_t). Ours: centred_energy mean_v f_t[v] - logsumexp(f_t), the mean log-prob over the
    vocabulary; policy_entropy H(pi_old). Raises ActFocusError for another name.
    """
    missing = np.full(len(trajectory), np.nan, np.float32)
    if name in ("energy", "entropy", "centred_energy"):
        return trajectory.signals.get(f"ref_{name}", missing)
    if name == "policy_entropy":
        return trajectory.signals.get("entropy", missing)
    if name == "nll":
        return -trajectory.logprobs
    if name == "shift":
        shift: np.ndarray = trajectory.logprobs - trajectory.signals.get("ref_logprob", missing)
        return shift
    raise ActFocusError(f"unknown signal {name!r}; there are {', '.join((*SIGNALS, *OUR_SIGNALS))}")


def scored_part(trajectories: list[Trajectory]) -> list[Trajectory]:
    """The trajectories that have signals of a reference model, or all if none has.

    While a run is scored group by group, statistics of a batch can only be those of the groups that are scored.
    """
    return [t for t in trajectories if "ref_energy" in t.signals] or trajectories


def score(
    trajectories: list[Trajectory],
    reference: Policy,
    *,
    top_k: int = 0,
    tokens_per_batch: int = 8192,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Trajectory]:
    """Add ``ref_energy``, ``ref_entropy``, ``ref_logprob``, ``ref_centred_energy`` to the trajectories, in place.

    Each is float32 [T], NaN on tokens the policy did not sample. With ``top_k`` above 0 the reference's most likely
    tokens are stored as well. Logits are computed in chunks of positions and never stored for the whole batch, which has
    about ``tokens_per_batch`` tokens. Raises ActFocusError if a token id is not in the reference's vocabulary or a
    trajectory exceeds its context.
    """
    from actfocus_core.policy.split_model import SplitModel

    _check(trajectories, reference)
    split = SplitModel(reference.model)
    done = 0
    for batch in _batches(trajectories, tokens_per_batch, split.shares_prefixes):
        _score_batch(batch, split, reference, top_k)
        done += len(batch)
        if on_progress:
            on_progress(done, len(trajectories))
    return trajectories


def _check(trajectories: list[Trajectory], reference: Policy) -> None:
    vocabulary = reference.model.get_input_embeddings().weight.shape[0]
    for t in trajectories:
        if len(t) and t.token_ids.max() >= vocabulary:
            raise ActFocusError(
                f"trajectory {t.id}: token id {t.token_ids.max()} is not in the vocabulary "
                f"of {reference.name} ({vocabulary} tokens); score with a model that shares "
                "the policy's tokenizer"
            )
        if len(t) > reference.context:
            raise ActFocusError(
                f"trajectory {t.id}: {len(t)} tokens are more than {reference.name} can read ({reference.context})"
            )


def _batches(trajectories: list[Trajectory], tokens: int, by_prefix: bool) -> Iterator[list[Trajectory]]:
    """Batches of trajectories of similar length, of at most ``tokens`` tokens with padding.

    ``by_prefix``: batch by common prefix instead; ``tokens`` then counts unique tokens.
    """
    if by_prefix:
        from actfocus_core.policy.tiny_cpu.prefix_tree import batches_by_prefix

        yield from (
            [trajectories[i] for i in indices]
            for indices in batches_by_prefix([t.token_ids for t in trajectories], tokens)
        )
        return
    batch: list[Trajectory] = []
    for t in sorted(trajectories, key=len):
        if batch and len(t) * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(t)
    if batch:
        yield batch


def _score_batch(batch: list[Trajectory], split: SplitModel, reference: Policy, top_k: int) -> None:
    import torch

    from actfocus_core.policy.split_model import chunk_rows

    ids = torch.zeros(len(batch), max(map(len, batch)), dtype=torch.long)
    for row, t in zip(ids, batch):
        row[: len(t)] = torch.from_numpy(t.token_ids.astype(np.int64))
    ids = ids.to(reference.device)
    # Token t is predicted at position t - 1; token 0 is not predicted.
    positions = [np.flatnonzero(t.response_mask & (np.arange(len(t)) > 0)) for t in batch]
    sizes = [len(row_positions) for row_positions in positions]
    rows = torch.tensor(np.repeat(np.arange(len(batch)), sizes), device=reference.device)
    columns = torch.tensor(np.concatenate(positions), device=reference.device)
    with torch.no_grad():
        hidden = split.hidden_at(ids, rows, columns - 1)
        targets = ids[rows, columns]
        chunk = chunk_rows(reference.model.get_output_embeddings().weight.shape[0], reference.device)
        chunks = zip(torch.split(hidden, chunk), torch.split(targets, chunk))
        parts = [_token_scores(split.logits(h), y, top_k) for h, y in chunks]
    scores = [torch.cat(part).cpu().numpy() for part in zip(*parts)] if parts else []
    ends = np.cumsum(sizes)[:-1]
    for t, row_positions, *values in zip(batch, positions, *(np.split(column, ends) for column in scores)):
        _store(t, row_positions, values, reference, top_k)


def _token_scores(logits_NV: torch.Tensor, targets_N: torch.Tensor, top_k: int) -> tuple[torch.Tensor, ...]:
    """Energy, entropy, log-prob and centred energy [N] from float32 logits; with ``top_k`` also ids and log-probs [N, k]."""
    logsumexp = logits_NV.logsumexp(-1)
    logp = logits_NV - logsumexp[:, None]
    entropy = -logp.exp().mul_(logp).sum(-1)
    values = (-logsumexp, entropy, logp.gather(1, targets_N[:, None])[:, 0], logp.mean(-1))
    if not top_k:
        return values
    top = logp.topk(min(top_k, logp.shape[1]))
    return (*values, top.indices, top.values)


def _store(t: Trajectory, positions: np.ndarray, values: list[np.ndarray], reference: Policy, top_k: int) -> None:
    for name, column in zip(("ref_energy", "ref_entropy", "ref_logprob", "ref_centred_energy"), values):
        t.signals[name] = np.full(len(t), np.nan, np.float32)
        t.signals[name][positions] = column
    if top_k:
        ids, logprobs = values[4], values[5]
        t.alternatives = Alternatives(
            np.full((len(t), ids.shape[1]), -1, np.int32),
            np.full((len(t), ids.shape[1]), np.nan, np.float32),
            [[] for _ in range(len(t))],
        )
        t.alternatives.ids[positions], t.alternatives.logprobs[positions] = ids, logprobs
        for i, row in zip(positions, ids.tolist()):
            t.alternatives.texts[i] = [reference.chat.texts([token])[0] for token in row]
