"""The computed columns of the list: one number for each rollout of a batch.

``change`` is the total variation distance between what schemes A and B give to the tokens of one rollout,

    change = 1/2 sum_t |a_t - b_t|,   a_t = c_t / sum_u |c_u|,

with c the credit keep * weight * advantage under A, and b the same under B. It is 0 where both divide the rollout's credit alike,
and 1 where no token has credit of the same sign under both. Where both advantages are the same on all tokens of the rollout, as
with every scheme that only weights GRPO's advantage, its size cancels, so the weights decide, also where the advantage is 0 or
unknown. A rollout that has credit under one of the two only has 0.5.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actfocus_core.credit import Batch, Credit
from actfocus_core.listing.batches import Given, credit
from actfocus_core.listing.columns import COMPUTED
from actfocus_core.listing.setting import Setting
from actfocus_core.signals import signal_values
from actfocus_core.trajectory import TokenKind, Trajectory

Numbers = npt.NDArray[np.float64]
SCHEMA = pa.schema(
    [
        *((c.name, {"illegal": pa.bool_(), "staleness": pa.int64()}.get(c.name, pa.float64())) for c in COMPUTED),
        ("missing_a", pa.string()),
        ("missing_b", pa.string()),
    ]
)
"""``missing_a``, ``missing_b``: inputs that the scheme needs and the batch of the rollout lacks, separated by commas."""


def measures(trajectories: list[Trajectory], a: Setting, b: Setting) -> pa.Table:
    """The columns of SCHEMA, a row for each trajectory of a batch.

    ``staleness`` here is the oldest policy version that sampled the rollout; ``newest_version`` is subtracted later, since a
    batch may be a part of a step.
    """
    batch = Batch.of(trajectories)
    given_a = credit(trajectories, batch, a)
    given_b = given_a if a.key == b.key else credit(trajectories, batch, b)
    credit_a, credit_b = given_a.credit, given_b.credit
    energies = [_energies(t) for t in trajectories]
    columns = {
        "illegal": [_illegal(t) for t in trajectories],
        "staleness": [version for version, _ in map(versions, trajectories)],
        "max_energy": [float(values.max()) if len(values) else None for values in energies],
        "mean_energy": [float(values.mean(dtype=np.float64)) if len(values) else None for values in energies],
        "action_share_a": _known(action_share(batch, credit_a)),
        "action_share_b": _known(action_share(batch, credit_b)),
        "change": _known(change(batch, credit_a, credit_b)),
        "missing_a": _lacking(batch, given_a),
        "missing_b": _lacking(batch, given_b),
    }
    return pa.table(columns, schema=SCHEMA)


def _lacking(batch: Batch, given: Given) -> list[str]:
    """For each rollout what it lacks, where its weights are unknown."""
    unknown = np.bincount(batch.index, ~np.isfinite(given.credit.weight), len(batch.ids)) > 0
    return [",".join(given.lacking) if row else "" for row in unknown]


def _known(values: Numbers) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))


def _energies(t: Trajectory) -> npt.NDArray[np.float32]:
    """The known energies of the action tokens."""
    values: npt.NDArray[np.float32] = signal_values(t, "energy")[t.kinds == TokenKind.ACTION]
    return values[np.isfinite(values)]


def _illegal(t: Trajectory) -> bool | None:
    answered = t.answered
    if not answered:
        return None
    return any(not t.turn_records[k].valid for k in answered if 0 <= k < len(t.turn_records))


def versions(t: Trajectory) -> tuple[int | None, int | None]:
    """The oldest and the newest policy version that sampled a token of it; None if not recorded."""
    if t.policy_version is None:
        return None, None
    known = t.policy_version[t.response_mask & (t.policy_version >= 0)]
    return (int(known.min()), int(known.max())) if len(known) else (None, None)


def action_share(batch: Batch, credit: Credit) -> Numbers:
    """float64 [n]: the share of keep * weight on action tokens; NaN without any weight, or where it is unknown."""
    weight = credit.keep.astype(np.float64) * credit.weight
    action = np.where(batch.kinds == TokenKind.ACTION, weight, 0.0)
    return _ratio(_sums(batch, action), _sums(batch, weight))


def change(batch: Batch, a: Credit, b: Credit) -> Numbers:
    """float64 [n]: the formula at the top; NaN where the credit under A or B is unknown, or neither has any."""
    weights = [c.keep.astype(np.float64) * c.weight for c in (a, b)]
    signs = [_constant_sign(batch, c.advantage) for c in (a, b)]
    # Where the size of both advantages cancels, an advantage of 0 has the sign of the other.
    constant = np.isfinite(signs[0]) & np.isfinite(signs[1])
    both = np.where(constant, signs[0] * signs[1], 0.0)
    parts = []
    for weight, c, sign in zip(weights, (a, b), (np.ones(len(both)), np.where(both < 0, -1.0, 1.0))):
        per_token = np.where(constant[batch.index], sign[batch.index], c.advantage)
        given = weight * per_token
        total = _sums(batch, np.abs(given))
        parts.append((given * _ratio(np.ones(len(total)), np.where(total == 0, 1.0, total))[batch.index], total))
    (share_a, total_a), (share_b, total_b) = parts
    distance = 0.5 * _sums(batch, np.abs(share_a - share_b))
    distance[(total_a == 0) & (total_b == 0)] = np.nan
    return np.clip(distance, 0.0, 1.0)


def _constant_sign(batch: Batch, advantage: npt.NDArray[np.float32]) -> Numbers:
    """float64 [n]: the sign of an advantage that is the same on all response tokens of the rollout; else NaN.

    An advantage that is unknown on all of them counts as 0.
    """
    count = len(batch.ids)
    owner, values = batch.index[batch.response], advantage[batch.response].astype(np.float64)
    known = np.isfinite(values)
    first = np.searchsorted(owner, np.arange(count))
    filled = np.append(np.where(known, values, 0.0), 0.0)
    present = np.bincount(owner, minlength=count) > 0
    first = np.minimum(first, len(owner))
    some = filled[first]
    differs = np.bincount(owner, filled[:-1] != some[owner], count) > 0
    unknown = np.bincount(owner, ~known, count)
    partly = (unknown > 0) & (unknown < np.bincount(owner, minlength=count))
    return np.where(differs | partly, np.nan, np.where(present, np.sign(some), 0.0))


def _sums(batch: Batch, values: Numbers) -> Numbers:
    return np.bincount(batch.index, values, len(batch.ids)).astype(np.float64)


def _ratio(part: Numbers, whole: Numbers) -> Numbers:
    ratio: Numbers = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole != 0)
    return ratio
