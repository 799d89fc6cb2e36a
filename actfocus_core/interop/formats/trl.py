"""TRL's ``log_completions``: ``completions/completions_{step:05d}.parquet``.

Columns in this order: step, prompt, completion, one per reward function, those that a reward function adds with
``log_extra``, advantage. The file states neither which columns are rewards nor their weights. ``reward_columns`` infers
them from the file if possible; the reward is their unweighted sum.
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
from actfocus_core.interop.fields import scalars
from actfocus_core.interop.formats.preparation import Prepared
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import DataFile, Record, open_parquet, read_rows
from actfocus_core.interop.samples import (
    BY_COMPLETION,
    RECORDED,
    Sample,
    digest,
    masked_by,
    prompt_and_completion,
)
from actfocus_core.runs.provenance import Source
from actfocus_core.trajectory import Component

_KNOWN = {"step", "prompt", "completion", "advantage", "images", "timestamp"}
TOLERANCE = 1e-3
"""Largest deviation of an advantage from the value that the returns imply, relative to the group's largest advantage.
TRL computes in float32."""
FLOAT32, FLAT = 1e-6, 1e-2
"""Returns count as equal if their range is below FLOAT32 relative to their size. Their advantages then differ by at most
FLAT, because TRL divides the rounding error by 1e-4."""
EVIDENCE = 1 << 20
"""Maximum number of values that are read to find the reward columns."""


@dataclass(frozen=True)
class RewardColumns:
    """The numeric columns of a folder of completions that are rewards."""

    names: tuple[str, ...]
    """Empty if unknown; all rewards are then unknown"""
    by: str
    """How they were found: ``given`` by the user, ``only`` numeric column, ``name``, recorded ``advantage``, or
    ``unknown``"""
    numeric: tuple[str, ...]
    """All numeric columns, in the order of the files"""

    @property
    def source(self) -> Source:
        """How the reward is known, for the provenance of the run."""
        rule = f"the unweighted sum of {', '.join(self.names) or 'no column'}"
        if self.by == "only":
            return RECORDED
        if self.by == "given":
            return Source(how="derived", rule=f"{rule}, as given")
        return Source(
            how="guessed", rule=f"{rule}, chosen by {'their names' if self.by == 'name' else 'the advantages'}"
        )


UNKNOWN = RewardColumns((), "unknown", ())
NO_NUMBERS = "values of columns that are named like a reward and are no numbers"


def matches(fields: dict[str, Any]) -> bool:
    return {"step", "prompt", "completion", "advantage"} <= set(fields)


def prepared(files: list[DataFile], given: Sequence[str] | None, omissions: Omissions) -> Prepared:
    """Find the reward columns of these files; the config says which they are, and how they were found.

    ``given``: the reward columns, if the user names them. Raises ActFocusError for a column that does not exist.
    """
    rewards = reward_columns([file.path for file in files], given)
    config = {
        "reward_columns": list(rewards.names),
        "reward_columns_by": rewards.by,
        "numeric_columns": list(rewards.numeric),
    }
    return Prepared(partial(samples, rewards=rewards), config)


def samples(record: Record, file: DataFile, rewards: RewardColumns = UNKNOWN) -> Iterator[Sample]:
    parts = {name: Component(record.number(name, math.nan)) for name in rewards.names}
    scored = [part.score for part in parts.values() if not math.isnan(part.score)]
    advantage = record.number("advantage", None)
    content = prompt_and_completion(record, "prompt", "completion")
    yield Sample(
        record.where,
        content,
        step=record.integer("step", None),
        reward=sum(scored) if scored else math.nan,
        rewards=parts,
        advantage=None if advantage is None or math.isnan(advantage) else advantage,
        columns=scalars(record, {*_KNOWN, *rewards.names}),
        mask_by=masked_by(content, BY_COMPLETION) if isinstance(content, list) else RECORDED,
        rewards_by=rewards.source,
        unread=(NO_NUMBERS,) * sum(_is_no_number(name, value) for name, value in record.value.items()),
    )


def _is_no_number(name: str, value: Any) -> bool:
    named = "reward" in name.lower() and name not in _KNOWN
    return named and value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)))


def reward_columns(files: list[Path], given: Sequence[str] | None = None) -> RewardColumns:
    """Find the reward columns in the files of one run.

    In this order: the columns ``given``; the only numeric column; the columns with "reward" in their name, unless the
    recorded advantages contradict them; the leading columns, since rewards come first, if exactly one number of leading
    columns explains the recorded advantages. Raises ActFocusError for a given column that does not exist.
    """
    numeric = tuple(dict.fromkeys(name for file in files for name in _numeric(file)))
    if given is not None:
        missing = next((name for name in given if name not in numeric), None)
        if missing is not None or not given:
            raise ActFocusError(
                f"{files[0]}: no numeric column {missing or ''!r}; choose reward columns from "
                f"{', '.join(numeric) or 'the numeric columns, of which there are none'}"
            )
        return RewardColumns(tuple(dict.fromkeys(given)), "given", numeric)
    if len(numeric) == 1:
        return RewardColumns(numeric, "only", numeric)
    named = tuple(name for name in numeric if "reward" in name.lower())
    groups = list(_groups(files, numeric))
    # A column of zeros and missing values changes no sum, so the sets with and without it are equivalent.
    nonzero = np.any([np.nan_to_num(values).any(0) for values, _ in groups] or [np.ones(len(numeric), bool)], 0)
    leading = [numeric[:count] for count in range(1, len(numeric) + 1) if count == 1 or nonzero[count - 1]]
    explained = _explained(groups, numeric, {named, *leading} - {()})
    # The order of the columns is evidence too, since rewards come first.
    if named and (explained[named] or (explained[named] is None and named == numeric[: len(named)])):
        return RewardColumns(named, "name", numeric)
    explaining = [names for names in leading if explained[names]]
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
    """Yield the numeric columns [m, k] and the advantages [m] of every group as float64, NaN where missing.

    At most EVIDENCE values are read; later files are ignored.
    """
    remaining = EVIDENCE
    for file in files:
        remaining -= open_parquet(file).metadata.num_rows * (len(numeric) + 1)
        if remaining < 0:
            return
        present = {*_numeric(file), "advantage"}
        rows: dict[str, list[list[float]]] = {}
        for record in read_rows(file, columns=["step", "prompt", *sorted(present)]):
            values = [
                record.number(name, math.nan) if name in present else math.nan for name in (*numeric, "advantage")
            ]
            rows.setdefault(digest(record.value.get("step"), record.value.get("prompt")), []).append(values)
        for group in rows.values():
            table = np.array(group, np.float64)
            yield table[:, :-1], table[:, -1]


def _explained(
    groups: Iterable[tuple[np.ndarray, np.ndarray]], numeric: tuple[str, ...], sets: set[tuple[str, ...]]
) -> dict[tuple[str, ...], bool | None]:
    """Whether each set of columns, taken as the rewards, explains the advantages; None if the groups do not decide it."""
    indices = {names: [numeric.index(name) for name in names] for names in sets}
    explained: dict[tuple[str, ...], bool | None] = dict.fromkeys(sets)
    for values, advantages in groups:
        for names in sets:
            if explained[names] is False:
                continue
            rewards = values[:, indices[names]]
            with np.errstate(over="ignore", invalid="ignore"):  # infinite values explain nothing
                returns = np.where(np.isnan(rewards).all(1), np.nan, np.nansum(rewards, 1))
                by_group = explains(returns, advantages)
            explained[names] = explained[names] if by_group is None else by_group
    return explained


def explains(returns: np.ndarray, advantages: np.ndarray) -> bool | None:
    """Whether the advantages [m] of a group are an increasing affine function of its returns [m].

    TRL: A = (R - mean R) * factor, where the factor is 1, or 1 / (standard deviation + 1e-4) of the group or of the
    batch. After an evaluation a file can contain only a part of a group, so the mean may include rollouts that are not in
    the file. A NaN return was not scored; TRL gives it the advantage 0. Returns None if fewer than two were scored.
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
