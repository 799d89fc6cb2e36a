"""What a frozen reference model thinks of every response token, in one chunked pass.

Stored as ``ref_energy``, ``ref_entropy``, ``ref_logprob`` (method.md section 2) and ``ref_centred_energy``
(ours); the signals that weights are made from are read off a trajectory by ``signal_values``.
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
"""Of the reference: energy and entropy, which do not drift while the policy is trained. Of the
policy: nll, which does. Of both: shift, which partly does. These four are the paper's."""

OUR_SIGNALS = ("centred_energy", "policy_entropy")
"""Not the paper's. ``centred_energy``: energy plus the mean logit, the same under any shift of a
position's logits, which moves the energy and no probability. ``policy_entropy``: the rollout policy's
own, which drifts."""


def signal_values(trajectory: Trajectory, name: str) -> np.ndarray:
    """float32 [T]: one of SIGNALS or OUR_SIGNALS, NaN where it was not recorded (method.md section 2).

    energy -logsumexp(f_t) and entropy H(softmax f_t) in nats of the reference's logits f_t;
    nll -log pi_old(y_t); shift log pi_old(y_t) - log pi_ref(y_t). Ours: centred_energy
    mean_v f_t[v] - logsumexp(f_t), the mean log-prob over the vocabulary; policy_entropy H(pi_old).
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


def score(
    trajectories: list[Trajectory],
    reference: Policy,
    *,
    top_k: int = 0,
    tokens_per_batch: int = 8192,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Trajectory]:
    """Add ``ref_energy``, ``ref_entropy``, ``ref_logprob``, ``ref_centred_energy`` to the trajectories, in place.

    Each float32 [T], NaN on tokens the policy did not sample. ``top_k`` above 0 also stores the
    reference's most likely tokens. One teacher-forced pass; logits are made a chunk of
    positions at a time and never held for the whole batch. Batches hold about
    ``tokens_per_batch`` tokens. Raises ActFocusError where a token id is not in the reference's vocabulary, or a
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


def _batches(trajectories: list[Trajectory], tokens: int, shared: bool) -> Iterator[list[Trajectory]]:
    """Trajectories of like length, padded to about ``tokens`` tokens a batch; where a model reads once what neighbours
    begin alike with (``shared``), those that do, and so many tokens without what they share."""
    if shared:
        from actfocus_core.policy.tiny_cpu.prefix_tree import batches_by_prefix

        yield from (
            [trajectories[i] for i in chosen]
            for chosen in batches_by_prefix([t.token_ids for t in trajectories], tokens)
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
    # The prediction of token t comes from the position before it; token 0 has none.
    where = [np.flatnonzero(t.response_mask & (np.arange(len(t)) > 0)) for t in batch]
    rows = torch.tensor(np.repeat(np.arange(len(batch)), [len(w) for w in where]), device=reference.device)
    columns = torch.tensor(np.concatenate(where), device=reference.device)
    with torch.no_grad():
        hidden = split.hidden_at(ids, rows, columns - 1)
        targets = ids[rows, columns]
        chunk = chunk_rows(reference.model.get_output_embeddings().weight.shape[0], reference.device)
        chunks = zip(torch.split(hidden, chunk), torch.split(targets, chunk))
        parts = [_of_logits(split.logits(h), y, top_k) for h, y in chunks]
    found = [torch.cat(part).cpu().numpy() for part in zip(*parts)] if parts else []
    ends = np.cumsum([len(w) for w in where])[:-1]
    for t, w, *values in zip(batch, where, *(np.split(c, ends) for c in found)):
        _store(t, w, values, reference, top_k)


def _of_logits(logits_NV: torch.Tensor, targets_N: torch.Tensor, top_k: int) -> tuple[torch.Tensor, ...]:
    """Energy, entropy, log-prob, centred energy [N]; with top_k ids and log-probs [N, k]; of float32 logits."""
    logsumexp = logits_NV.logsumexp(-1)
    logp = logits_NV - logsumexp[:, None]
    entropy = -logp.exp().mul_(logp).sum(-1)
    values = (-logsumexp, entropy, logp.gather(1, targets_N[:, None])[:, 0], logp.mean(-1))
    if not top_k:
        return values
    top = logp.topk(min(top_k, logp.shape[1]))
    return (*values, top.indices, top.values)


def _store(t: Trajectory, where: np.ndarray, values: list[np.ndarray], reference: Policy, top_k: int) -> None:
    for name, column in zip(("ref_energy", "ref_entropy", "ref_logprob", "ref_centred_energy"), values):
        t.signals[name] = np.full(len(t), np.nan, np.float32)
        t.signals[name][where] = column
    if top_k:
        ids, logprobs = values[4], values[5]
        t.alternatives = Alternatives(
            np.full((len(t), ids.shape[1]), -1, np.int32),
            np.full((len(t), ids.shape[1]), np.nan, np.float32),
            [[] for _ in range(len(t))],
        )
        t.alternatives.ids[where], t.alternatives.logprobs[where] = ids, logprobs
        for i, row in zip(where, ids.tolist()):
            t.alternatives.texts[i] = [reference.chat.texts([token])[0] for token in row]
