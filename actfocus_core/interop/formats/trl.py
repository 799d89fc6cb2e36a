"""TRL's ``log_completions``: ``completions/completions_{step:05d}.parquet``.

Columns in this order: step, prompt, completion, one a reward function, those that a reward function adds with
``log_extra``, advantage. The file says neither where the rewards end nor how they are weighted: ``reward_columns``
finds out as far as the file shows it, and the reward is their plain sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.samples import Sample, digest, prompt_and_completion
from actfocus_core.interop.sources import Record, check_text, open_parquet, read_rows

_KNOWN = {"step", "prompt", "completion", "advantage", "images", "timestamp"}
TOLERANCE = 1e-3
"""Of a group's largest advantage: how far one may be from what the returns give. TRL computes in float32."""
FLOAT32, FLAT = 1e-6, 1e-2
"""Returns this close to each other, relative to their size, are equal; then the advantages differ by this at most, as TRL
divides what rounding leaves by 1e-4."""
EVIDENCE = 1 << 20
"""How many numbers are read at most to find the reward columns."""


@dataclass(frozen=True)
class RewardColumns:
    """Which numeric columns of a folder of completions are rewards."""

    names: tuple[str, ...]
    """Empty where it is unknown; then every reward is."""
    by: str
    """``given`` by the person; the ``only`` one there is; found by ``name`` or by the recorded ``advantage``;
    ``unknown``"""
    numeric: tuple[str, ...]
    """All numeric columns, in the order of the files"""


UNKNOWN = RewardColumns((), "unknown", ())


def looks(fields: dict[str, Any]) -> bool:
    return {"step", "prompt", "completion", "advantage"} <= set(fields)


def prepared(files: list[Path], given: Sequence[str] | None = None) -> tuple[partial[Iterator[Sample]], dict[str, Any]]:
    """``samples`` for these files, and what run.json's config says of their reward columns.

    ``given``: the reward columns, where the person names them. Raises ActFocusError for one that is not there.
    """
    found = reward_columns(files, given)
    return partial(samples, rewards=found), {
        "reward_columns": list(found.names),
        "reward_columns_by": found.by,
        "numeric_columns": list(found.numeric),
    }


def samples(record: Record, path: Path, rewards: RewardColumns = UNKNOWN) -> Iterator[Sample]:
    scored = [value for name in rewards.names if not math.isnan(value := record.number(name, math.nan))]
    advantage = record.number("advantage", None)
    yield Sample(
        record.where,
        prompt_and_completion(record, "prompt", "completion"),
        digest(record.value["prompt"]),
        step=record.integer("step", 0),
        reward=sum(scored) if scored else float("nan"),
        advantage=None if advantage is None or math.isnan(advantage) else advantage,
        columns=_columns(record, rewards.names),
    )


def _columns(record: Record, rewards: Sequence[str]) -> dict[str, Any]:
    """What else the row holds: text, truth values and finite numbers."""
    kept = {
        name: value
        for name, value in record.value.items()
        if name not in _KNOWN
        and name not in rewards
        and (type(value) in (str, bool, int) or type(value) is float and math.isfinite(value))
    }
    check_text("".join([*kept, *(value for value in kept.values() if isinstance(value, str))]), record.where)
    return kept


def reward_columns(files: list[Path], given: Sequence[str] | None = None) -> RewardColumns:
    """Find the reward columns of files of one run.

    Those ``given``; else the only numeric column; else those with "reward" in their name, unless the recorded advantages
    contradict them; else, as rewards come first, the first columns up to the one place that explains the recorded
    advantages. Raises ActFocusError for a given column that is not there.
    """
    numeric = tuple(dict.fromkeys(name for file in files for name in _numeric(file)))
    if given is not None:
        missing = next((name for name in given if name not in numeric), None)
        if missing is not None or not given:
            raise ActFocusError(
                f"{files[0]}: no numeric column {missing or ''!r}; the reward columns must be among "
                f"{', '.join(numeric) or 'numeric columns, of which there is none'}"
            )
        return RewardColumns(tuple(dict.fromkeys(given)), "given", numeric)
    if len(numeric) == 1:
        return RewardColumns(numeric, "only", numeric)
    named = tuple(name for name in numeric if "reward" in name.lower())
    groups = list(_groups(files, numeric))
    # A column of nothing but zeros and gaps changes no sum, so with or without it is the same answer.
    holds = np.any([np.nan_to_num(values).any(0) for values, _ in groups] or [np.ones(len(numeric), bool)], 0)
    first = [numeric[:count] for count in range(1, len(numeric) + 1) if count == 1 or holds[count - 1]]
    told = _told(groups, numeric, {named, *first} - {()})
    # The files' order is evidence too: rewards come first.
    if named and (told[named] or (told[named] is None and named == numeric[: len(named)])):
        return RewardColumns(named, "name", numeric)
    explaining = [names for names in first if told[names]]
    if len(explaining) == 1:
        return RewardColumns(explaining[0], "advantage", numeric)
    return RewardColumns((), "unknown", numeric)


def _numeric(file: Path) -> list[str]:
    return [
        field.name
        for field in open_parquet(file).schema_arrow
        if field.name not in _KNOWN and (pa.types.is_integer(field.type) or pa.types.is_floating(field.type))
    ]


def _groups(files: list[Path], numeric: tuple[str, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The numeric columns [m, k] and the advantages [m] of every group, float64, NaN where there is none.

    Of at most EVIDENCE numbers: files after those are not looked at.
    """
    left = EVIDENCE
    for file in files:
        left -= open_parquet(file).metadata.num_rows * (len(numeric) + 1)
        if left < 0:
            return
        there = {*_numeric(file), "advantage"}
        rows: dict[str, list[list[float]]] = {}
        for record in read_rows(file, columns=["step", "prompt", *sorted(there)]):
            values = [record.number(name, math.nan) if name in there else math.nan for name in (*numeric, "advantage")]
            rows.setdefault(digest(record.value.get("step"), record.value.get("prompt")), []).append(values)
        for group in rows.values():
            table = np.array(group, np.float64)
            yield table[:, :-1], table[:, -1]


def _told(
    groups: Iterable[tuple[np.ndarray, np.ndarray]], numeric: tuple[str, ...], sets: set[tuple[str, ...]]
) -> dict[tuple[str, ...], bool | None]:
    """What the advantages say of each set of columns as the rewards: True it explains them, False it contradicts
    them, None nothing."""
    at = {names: [numeric.index(name) for name in names] for names in sets}
    told: dict[tuple[str, ...], bool | None] = dict.fromkeys(sets)
    for values, advantages in groups:
        for names in sets:
            if told[names] is False:
                continue
            chosen = values[:, at[names]]
            with np.errstate(over="ignore", invalid="ignore"):  # infinite numbers explain nothing
                returns = np.where(np.isnan(chosen).all(1), np.nan, np.nansum(chosen, 1))
                answer = explains(returns, advantages)
            told[names] = told[names] if answer is None else answer
    return told


def explains(returns: np.ndarray, advantages: np.ndarray) -> bool | None:
    """Whether the advantages [m] of a group grow in proportion to its returns [m], or are equal where those are.

    TRL: A = (R - mean R) * factor, where the factor is 1, or 1 / (standard deviation + 1e-4) of the group or of the
    batch. An evaluation can leave a part of a group in the file, so the mean may be of more than is here. A NaN return
    was not scored, and TRL gives it the advantage 0. None, where the group says nothing: fewer than two were scored.
    """
    recorded, scored = np.isfinite(advantages), np.isfinite(returns)
    if np.any(advantages[recorded & ~scored] != 0):
        return False
    returns, advantages = returns[recorded & scored], advantages[recorded & scored]
    if len(returns) < 2:
        return None
    x, y = returns - returns.mean(), advantages - advantages.mean()
    if np.ptp(x) <= FLOAT32 * np.abs(returns).max():
        return bool(np.ptp(y) <= FLAT)
    factor = (x @ y) / (x @ x)
    return bool(factor > 0 and np.abs(y - factor * x).max() <= TOLERANCE * np.abs(y).max())
