"""The highest and lowest tokens of a run: the extremes of a signal, weight or credit over all its rollouts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from actfocus_core.credit import Batch
from actfocus_core.credit.batch import VALUE_SIGNALS
from actfocus_core.errors import ActFocusError
from actfocus_core.listing.batches import Rollouts, batches, credit, token_values
from actfocus_core.listing.query import Cancelled
from actfocus_core.listing.setting import Setting
from actfocus_core.runs import Run
from actfocus_core.signals import OUR_SIGNALS, SIGNALS
from actfocus_core.trajectory import RECORDED, RESPONSE_KINDS, TokenKind, Trajectory

RECORDED_PREFIX = "recorded."
CREDITS = ("weight_a", "weight_b", "credit_a", "credit_b")
"""Weight: keep * weight. Credit: its product with the advantage, divided by the Z of the batch."""
MEASURES = (*SIGNALS, *OUR_SIGNALS, *CREDITS, *VALUE_SIGNALS, *(RECORDED_PREFIX + name for name in RECORDED))
"""What can be asked for."""
TOP_MAX = 10_000
SAMPLED = tuple(kind.name.lower() for kind in RESPONSE_KINDS)


@dataclass(frozen=True)
class Extreme:
    """A sampled token with one of the highest or lowest values."""

    value: float
    id: str
    """of its rollout"""
    token: int
    """its index in the rollout"""
    text: str
    kind: str
    """reasoning, action or format"""
    turn: int
    step: int
    group: str


def check(measure: str, top: int, kind: str | None) -> None:
    """Raise ActFocusError for an unknown measure or kind, or a number that is out of range."""
    if measure not in MEASURES:
        raise ActFocusError(f"unknown measure {measure!r}; available: {', '.join(MEASURES)}")
    if not 1 <= top <= TOP_MAX:
        raise ActFocusError(f"top={top}: must lie in [1, {TOP_MAX}]")
    if kind is not None and kind not in SAMPLED:
        raise ActFocusError(f"unknown kind {kind!r}; available: {', '.join(SAMPLED)}")


def extremes(
    run: Run,
    measure: str,
    index: pa.Table,
    settings: tuple[Setting, Setting],
    reference: str | None,
    *,
    top: int = 20,
    lowest: bool = False,
    kind: str | None = None,
    rows: Collection[int] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[Extreme]:
    """The tokens with the highest, or lowest, finite values, the most extreme first; ties in the order of the run.

    ``measure``: one of MEASURES; ``index``: ``row``, ``file_step``, ``group`` and ``tokens`` of all rows, in order;
    ``settings``: A and B. ``kind``: only reasoning, action or format; ``rows``: only in these rows of the list, while batches
    remain whole. ``on_progress(done, total)`` counts rollouts. Raises Cancelled, and ActFocusError as ``check``.
    """
    check(measure, top, kind)
    sign = -1.0 if lowest else 1.0
    best: list[tuple[float, int, int, Trajectory]] = []
    done = 0
    for batch in _all(run, index, reference):
        if cancelled and cancelled():
            raise Cancelled
        if on_progress:
            on_progress(done, index.num_rows)
        found = _of_batch(batch, measure, settings, sign, top, kind, rows)
        best = sorted([*best, *found], key=lambda item: (-item[0], item[1], item[2]))[:top]
        done += len(batch.rows)
    if on_progress:
        on_progress(index.num_rows, index.num_rows)
    texts = {t.id: run.trajectory(t.id).texts for t in {item[3].id: item[3] for item in best}.values()}
    return [
        Extreme(
            sign * value,
            t.id,
            token,
            texts[t.id][token],
            TokenKind(int(t.kinds[token])).name.lower(),
            int(t.turns[token]),
            t.step,
            t.group,
        )
        for value, _, token, t in best
    ]


def _all(run: Run, index: pa.Table, reference: str | None) -> Iterator[Rollouts]:
    steps = index["file_step"].to_numpy()
    starts = np.flatnonzero(np.diff(steps, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(steps)]):
        yield from batches(run, int(steps[start]), reference, index.slice(start, end - start))


def _of_batch(
    batch: Rollouts,
    measure: str,
    settings: tuple[Setting, Setting],
    sign: float,
    top: int,
    kind: str | None,
    rows: Collection[int] | None,
) -> list[tuple[float, int, int, Trajectory]]:
    """The best of one batch: (sign * value, row, token, trajectory)."""
    trajectories = batch.trajectories
    if measure in CREDITS and not batch.whole:
        return []
    values = sign * _values(trajectories, measure, settings)
    lengths = [len(t) for t in trajectories]
    owner = np.repeat(np.arange(len(trajectories)), lengths)
    kinds = np.concatenate([t.kinds for t in trajectories])
    asked = kinds >= TokenKind.REASONING if kind is None else kinds == TokenKind[kind.upper()]
    if measure in CREDITS:
        asked &= np.concatenate([t.loss_mask for t in trajectories])
    if rows is not None:
        asked &= np.array([row in rows for row in batch.rows], bool)[owner]
    places = np.flatnonzero(asked & np.isfinite(values))
    if len(places) > top:
        # All that equal the last of them, so that ties are decided by their order.
        last = np.partition(values[places], len(places) - top)[len(places) - top]
        places = places[values[places] >= last]
        places = places[np.argsort(-values[places], kind="stable")[:top]]
    starts = np.cumsum([0, *lengths])
    return [
        (float(values[place]), batch.rows[i], int(place - starts[i]), trajectories[i])
        for place in places.tolist()
        for i in [int(owner[place])]
    ]


def _values(trajectories: list[Trajectory], measure: str, settings: tuple[Setting, Setting]) -> npt.NDArray[np.float64]:
    """float64 [N]: the measure at every token of a batch, NaN where it is unknown."""
    if measure in CREDITS:
        batch = Batch.of(trajectories)
        given = credit(trajectories, batch, settings[measure.endswith("_b")]).credit
        weight: npt.NDArray[np.float64] = given.keep.astype(np.float64) * given.weight
        return weight if measure.startswith("weight") else given.effective()
    if measure.startswith(RECORDED_PREFIX):
        name = measure.removeprefix(RECORDED_PREFIX)
        found = [t.recorded.get(name, np.full(len(t), np.nan, np.float32)) for t in trajectories]
    else:
        found = [token_values(t, measure) for t in trajectories]
    return np.concatenate(found).astype(np.float64)
