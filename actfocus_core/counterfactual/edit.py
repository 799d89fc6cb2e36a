"""Counterfactual edits of a stored trajectory: one passage is replaced, and the reference, weights and credit are recomputed.

The environment is not run: everything after the edit is kept as it was stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from actfocus_core.counterfactual.branch import check_tokenizer, encoded
from actfocus_core.counterfactual.store import WhatIf
from actfocus_core.credit import Batch, Credit, get_scheme
from actfocus_core.credit.batch import VALUE_SIGNALS
from actfocus_core.dialogue import response_kinds
from actfocus_core.errors import ActFocusError
from actfocus_core.policy import Policy
from actfocus_core.runs import Run, slug
from actfocus_core.signals import score
from actfocus_core.spans import SpanRule, span_rule
from actfocus_core.trajectory import RESPONSE_KINDS, TokenKind, Trajectory

WEIGHT, CREDIT = "weight", "credit"
"""Signals of the two trajectories of an edit, each followed by ``:SCHEME``."""
NOT_EXECUTED = "the environment was not run: everything after the edit is as it was stored"


def edit(
    run: Run,
    id: str,
    text: str,
    reference: Policy,
    *,
    turn: int | None = None,
    span: tuple[int, int] | None = None,
    schemes: Sequence[str] = ("uniform", "actfocus"),
    params: dict[str, dict[str, Any]] | None = None,
) -> WhatIf:
    """Replace the reply of a turn, or the tokens [start, stop) of ``span``, by ``text``, and score the trajectory again.

    The text is tokenised separately; all other ids are kept. A reply keeps its end-of-turn token. A span lies within one
    turn, in a response or an observation, never in the template. ``reference`` scores the edited trajectory, and the
    whole step if it has not done so before. Numbers of the rollout policy (log-probs, entropy, values) are NaN from the
    edit on, unless the reference is that policy. Weights are those of the step's batch with the edited trajectory in place
    of the original, so the mean and standard deviation of the signal change too.

    The trajectories are the original and the edited one (``ID~edit``), with the signals ``weight:SCHEME`` (keep * weight)
    and ``credit:SCHEME`` (the effective credit). The result: ``span`` and ``new_span``; ``replaced``; ``shift`` of the
    later tokens; ``actions`` of the edited reply, and ``carried_out``, those of the stored one; ``energy``, means before
    and after by part (``span``, ``later``); ``schemes``: name -> ``missing``, or the fraction of the trajectory's weight by
    kind and its sum of |credit|, each ``[original, edited]``; ``badges``.

    Raises ActFocusError for a span that is not there, text with tokens of the template, or a reference with another
    tokenizer. Nothing is written.
    """
    rule = span_rule(run.metadata.spans)
    t, batch = _batch(run, id, reference)
    start, stop, turn = _span(t, turn, span, reference)
    edited = _edited(t, text, start, stop, turn, reference, rule)
    score([edited], reference, top_k=0 if t.alternatives is None else t.alternatives.ids.shape[1])
    if _sampled_by(run, t, reference):
        later = slice(start, None)
        edited.logprobs[later] = edited.signals["ref_logprob"][later]
        if "entropy" in edited.signals:
            edited.signals["entropy"][later] = edited.signals["ref_entropy"][later]
    end = start + len(edited) - len(t) + (stop - start)
    rows = {}
    for name in schemes:
        credits = [_credit(batch, t, version, name, (params or {}).get(name, {})) for version in (t, edited)]
        rows[name] = _of_scheme(name, credits, (t, edited))
    actions = _actions(edited, turn, reference, rule)
    executed = t.turn_records[turn].actions if 0 <= turn < len(t.turn_records) else []
    badges = [NOT_EXECUTED]
    if actions != _actions(t, turn, reference, rule):
        badges.append("the edited reply names other actions than those that were executed")
    request = {
        "trajectory": id,
        "turn": turn,
        "span": [start, stop],
        "text": text,
        "schemes": list(schemes),
        "params": params or {},
        "reference": reference.fingerprint,
    }
    result = {
        "reference": reference.name,
        "span": [start, stop],
        "new_span": [start, end],
        "shift": len(edited) - len(t),
        "replaced": "".join(t.texts[start:stop]),
        "text": text,
        "actions": actions,
        "carried_out": executed,
        "energy": {
            "span": [_mean(t, start, stop), _mean(edited, start, end)],
            "later": [_mean(t, stop, len(t)), _mean(edited, end, len(edited))],
        },
        "schemes": rows,
        "badges": badges,
    }
    return WhatIf("edit", request, result, [t, edited])


def _batch(run: Run, id: str, reference: Policy) -> tuple[Trajectory, list[Trajectory]]:
    """The trajectory and all trajectories of its step, scored by this reference."""
    stored = run.trajectory(id)
    check_tokenizer(stored, reference)
    step = stored.step
    scored = slug(reference.name) in run.references(step)
    batch = run.trajectories(step, reference.name if scored else None)
    if not scored:
        score(batch, reference)
    return next(t for t in batch if t.id == id), batch


def _span(t: Trajectory, turn: int | None, span: tuple[int, int] | None, reference: Policy) -> tuple[int, int, int]:
    if (turn is None) == (span is None):
        raise ActFocusError("an edit needs either a turn, whose reply is replaced, or a span of tokens")
    if span is None:
        assert turn is not None  # checked above
        where = np.flatnonzero((t.turns == turn) & t.response_mask)
        if not len(where):
            raise ActFocusError(f"{t.id}: has no reply in turn {turn}; it has turns 0 to {len(t.turn_records) - 1}")
        closed = t.token_ids[where[-1]] in reference.chat.stop_ids()
        return int(where[0]), int(where[-1]) + 1 - closed, turn
    start, stop = span
    if not 0 <= start < stop <= len(t):
        raise ActFocusError(
            f"{t.id}: tokens {start} to {stop} do not exist; it has {len(t)}, and a span must not be empty"
        )
    kinds, turns = t.kinds[start:stop], np.unique(t.turns[start:stop])
    if (kinds == TokenKind.TEMPLATE).any() or len(turns) > 1 or len(np.unique(t.response_mask[start:stop])) > 1:
        raise ActFocusError(
            f"{t.id}: tokens {start} to {stop} are not all of one reply or one observation; "
            "tokens of the chat template cannot be edited"
        )
    if any(token in reference.chat.stop_ids() for token in t.token_ids[start:stop]):
        raise ActFocusError(f"{t.id}: token {stop - 1} ends the turn and cannot be edited; end the span before it")
    return int(start), int(stop), int(turns[0])


def _edited(
    t: Trajectory, text: str, start: int, stop: int, turn: int, reference: Policy, rule: SpanRule
) -> Trajectory:
    ids, texts = encoded(text, reference)

    def spliced(old: np.ndarray, new: npt.ArrayLike) -> np.ndarray:
        return np.concatenate([old[:start], np.asarray(new, old.dtype), old[stop:]])

    unknown = np.full(len(ids), np.nan, np.float32)
    token_ids = spliced(t.token_ids, ids)
    kinds, turns = spliced(t.kinds, np.full(len(ids), t.kinds[start])), spliced(t.turns, np.full(len(ids), turn))
    all_texts = [*t.texts[:start], *texts, *t.texts[stop:]]
    records = list(t.turn_records)
    if t.response_mask[start]:
        where = np.flatnonzero((turns == turn) & (kinds >= TokenKind.REASONING))
        reply = [all_texts[i] for i in where]
        kinds[where] = response_kinds(reply, rule.find("".join(reply), reference.chat.opens_thinking))
    if 0 <= turn < len(records):
        response = [
            all_texts[i]
            for i in np.flatnonzero(turns == turn)
            if kinds[i] >= TokenKind.REASONING and token_ids[i] not in reference.chat.stop_ids()
        ]
        observation = [all_texts[i] for i in np.flatnonzero(turns == turn) if kinds[i] == TokenKind.USER]
        records[turn] = replace(records[turn], response="".join(response), observation="".join(observation))
    logprobs = spliced(t.logprobs, unknown)
    logprobs[start:] = np.nan
    signals = {}
    for name, values in t.signals.items():
        signals[name] = spliced(values, unknown)
        # The value of a turn is stored on all its tokens; other signals remain valid before the edit.
        of_turn = name in VALUE_SIGNALS and name != "value"
        signals[name][(turns >= turn) if of_turn else slice(start, None)] = np.nan
    return replace(
        t,
        id=f"{t.id}~edit",
        token_ids=token_ids,
        kinds=kinds,
        turns=turns,
        texts=all_texts,
        turn_records=records,
        logprobs=logprobs,
        signals=signals,
        alternatives=None,
    )


def _sampled_by(run: Run, t: Trajectory, reference: Policy) -> bool:
    """Whether the reference is the policy that sampled: the initial model, before any update."""
    metadata = run.metadata
    return not metadata.updates_before(t.step) and reference.fingerprint == metadata.fingerprint


def _actions(t: Trajectory, turn: int, reference: Policy, rule: SpanRule) -> list[str]:
    """The actions that the reply of a turn names."""
    text = "".join(x for x, k, i in zip(t.texts, t.kinds, t.turns) if i == turn and k >= TokenKind.REASONING)
    return rule.actions(text, rule.find(text, reference.chat.opens_thinking))


def _credit(
    step: list[Trajectory], t: Trajectory, version: Trajectory, scheme: str, params: dict[str, Any]
) -> tuple[Credit, np.ndarray]:
    """The credit of the step with ``version`` in place of ``t``, and the mask of this trajectory's tokens."""
    batch = Batch.of([version if other is t else other for other in step])
    index = next(i for i, other in enumerate(step) if other is t)
    return get_scheme(scheme).compute(batch, **params), batch.index == index


def _of_scheme(
    name: str, credits: list[tuple[Credit, np.ndarray]], pair: tuple[Trajectory, Trajectory]
) -> dict[str, Any]:
    """Store weight and credit as signals of the two trajectories; the scheme's entry of the result."""
    missing = sorted({m for credit, _ in credits for m in credit.missing})
    if missing:
        return {"missing": missing}
    shares, sums = [], []
    for (credit, mask), t in zip(credits, pair):
        weight, effective = (credit.weight * credit.keep)[mask], credit.effective()[mask]
        for signal, values in ((WEIGHT, weight), (CREDIT, effective)):
            t.signals[f"{signal}:{name}"] = np.where(t.response_mask, values, np.nan).astype(np.float32)
        total = float(weight.sum())
        shares.append(
            {
                kind.name.lower(): float(weight[t.kinds == kind].sum()) / total if total else None
                for kind in RESPONSE_KINDS
            }
        )
        sums.append(float(np.abs(effective).sum()))
    return {"missing": [], "share": shares, "credit": sums}


def _mean(t: Trajectory, start: int, stop: int) -> float | None:
    """The mean energy of the tokens [start, stop); None if none is known."""
    energy = t.signals["ref_energy"][start:stop]
    return float(np.nanmean(energy)) if np.isfinite(energy).any() else None
