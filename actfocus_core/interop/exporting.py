"""``export_run``: write a selection of a run as Parquet, JSONL, CSV, an HTML page, or weighted advantages."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from actfocus_core.credit import Batch, Scheme, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.formats.native import to_record
from actfocus_core.interop.page import write_page
from actfocus_core.paths import atomic_write
from actfocus_core.runs import Run, write_trajectories
from actfocus_core.trajectory import TokenKind, Trajectory

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = {"parquet": ".parquet", "jsonl": ".jsonl", "csv": ".csv", "html": ".html", "advantages": ".advantages.jsonl"}
PAGE_LIMIT = 200
"""Maximum number of trajectories on an HTML page; browsers are slow with more."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Selection:
    """The trajectories that satisfy every given condition."""

    ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    step: int | None = None
    success: bool | None = None
    """Only successes, or only failures; a rollout of unknown success is neither."""
    malformed: bool = False
    """Only trajectories with a malformed or illegal turn."""
    limit: int | None = None

    def of(self, index: pd.DataFrame) -> list[str]:
        """The selected ids, in the order of the run.

        Raises ActFocusError for ids or groups that do not exist, and if nothing is selected.
        """
        keep = np.ones(len(index), bool)
        for column, names in (("id", self.ids), ("group", self.groups)):
            missing = sorted(set(names) - set(index[column]))
            if missing:
                raise ActFocusError(f"no {'trajectory' if column == 'id' else column} {missing[0]!r} in this run")
            if names:
                keep &= index[column].isin(names).to_numpy(bool)
        if self.step is not None:
            keep &= (index["step"] == self.step).to_numpy(bool)
        if self.success is not None:
            keep &= (index["success"] == self.success).to_numpy(bool, na_value=False)
        if self.malformed:
            keep &= (index["n_valid"] < index["n_turns"]).to_numpy(bool)
        ids: list[str] = index["id"][keep].tolist()[: self.limit]
        if not ids:
            raise ActFocusError("the selection is empty: no trajectory satisfies all of its conditions")
        return ids


@dataclass(frozen=True)
class Weighted:
    """A trajectory with its slice of the batch's credit, float32 [T] each."""

    trajectory: Trajectory
    weight: np.ndarray
    advantage: np.ndarray
    """keep * weight * advantage * N / sum(keep * weight) over the batch (method.md section 4); with an ordinary
    token-mean loss, this gives the scheme's loss"""


def export_run(
    run: Run,
    out: str | Path | None,
    format: str,
    selection: Selection | None = None,
    *,
    scheme: str = "actfocus",
    params: dict[str, Any] | None = None,
    reference: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, int]:
    """Write the selected trajectories to one new file, and return its path and the number of trajectories.

    ``format``: a key of SUFFIXES. ``selection``: all trajectories by default. ``scheme``: the scheme whose weights ``html``
    displays and ``advantages`` applies, with ``params`` overriding its defaults; its batch is the whole training step,
    whatever is selected. The file is written atomically. Raises ActFocusError for an unknown format, an existing file,
    an empty selection, or if the scheme lacks a signal.
    """
    if format not in SUFFIXES:
        raise ActFocusError(f"unknown format {format!r}; choose one of {', '.join(SUFFIXES)}")
    out = Path(out) if out else Path(run.name + SUFFIXES[format])
    if out.exists():
        raise ActFocusError(f"{out}: already exists; choose another name")
    credit_scheme = get_scheme(scheme)
    ids = (selection or Selection()).of(run.index())
    if format == "html" and len(ids) > PAGE_LIMIT:
        raise ActFocusError(
            f"{len(ids)} trajectories are more than a page shows ({PAGE_LIMIT}); "
            "select fewer by group, by step, or with --limit"
        )

    def counted(items: Iterator[Item]) -> Iterator[Item]:
        for done, item in enumerate(items, 1):
            yield item
            if on_progress:
                on_progress(done, len(ids))

    try:
        with atomic_write(out) as part:
            if format in ("html", "advantages"):
                write_weighted = write_page if format == "html" else _write_advantages
                write_weighted(
                    counted(_weighted(run, ids, credit_scheme, params or {}, reference, strict=format == "advantages")),
                    part,
                    {"run": run.name, "scheme": scheme},
                )
            else:
                write = {"parquet": write_trajectories, "jsonl": _write_jsonl, "csv": _write_csv}[format]
                write(counted(_selected(run, ids, reference)), part)
    except OSError as error:
        raise ActFocusError(f"{out}: cannot be written ({error.strerror or error})") from None
    return out, len(ids)


def _selected(run: Run, ids: list[str], reference: str | None) -> Iterator[Trajectory]:
    selected = set(ids)
    steps = run.index().set_index("id")["step"].reindex(ids).unique()
    for step in run.steps():
        if step in steps:
            yield from run.stream(step, reference if reference in run.references(step) else None, ids=selected)


def _weighted(
    run: Run, ids: list[str], scheme: Scheme, params: dict[str, Any], reference: str | None, strict: bool
) -> Iterator[Weighted]:
    """The selected trajectories with their credit in the batch of their whole step.

    ``strict``: raise ActFocusError for an unknown return or a missing signal.
    """
    selected, index = set(ids), run.index()
    for step in index["step"][index["id"].isin(selected)].unique().tolist():
        # The batch is the whole step. Trajectories whose text is not written are held without it.
        trajectories = [t if t.id in selected and not strict else _without_text(t) for t in run.stream(step, reference)]
        unscored = next((t.id for t in trajectories if t.trainable and not np.isfinite(t.ret)), None)
        if unscored and strict:
            raise ActFocusError(
                f"{run.path}: {unscored!r} was never scored (its reward is NaN), so step {step} has no "
                "advantages; import it with a reward, or without this rollout"
            )
        batch = Batch.of(trajectories)
        credit = scheme.compute(batch, **params)
        if credit.missing and strict:
            raise ActFocusError(
                f"{run.path}: step {step} has no {', '.join(credit.missing)}, which {scheme.name} needs; "
                "`actfocus score` adds it"
            )
        kept_weight = credit.keep.astype(np.float64) * credit.weight
        total = kept_weight.sum()
        scaled = kept_weight * credit.advantage * (batch.response.sum() / total if total else 0)
        ends = np.cumsum([len(t) for t in trajectories])[:-1]
        for t, weight, advantage in zip(trajectories, np.split(credit.weight, ends), np.split(scaled, ends)):
            if t.id in selected:
                yield Weighted(t, weight, advantage.astype(np.float32))


def _without_text(t: Trajectory) -> Trajectory:
    """The trajectory without its texts, which take most of its memory."""
    return replace(
        t,
        texts=[""] * len(t),
        alternatives=None,
        turn_records=[replace(turn, observation="", response="", actions=[], state={}) for turn in t.turn_records],
    )


def _write_jsonl(trajectories: Iterator[Trajectory], path: Path) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for t in trajectories:
            file.write(json.dumps(to_record(t), ensure_ascii=False, allow_nan=False) + "\n")


def _write_csv(trajectories: Iterator[Trajectory], path: Path) -> None:
    """Write one row per token. The signal columns are those of the first trajectory."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer, names = csv.writer(file), None
        for t in trajectories:
            if names is None:
                names = sorted(t.signals)
                writer.writerow(
                    ["trajectory", "group", "step", "position", "turn", "kind", "token_id", "text", "logprob", *names]
                )
            blank = np.full(len(t), np.nan, np.float32)
            scores = [t.logprobs, *(t.signals.get(name, blank) for name in names)]
            for position, (turn, kind, token, text, *values) in enumerate(
                zip(t.turns.tolist(), t.kinds.tolist(), t.token_ids.tolist(), t.texts, *(s.tolist() for s in scores))
            ):
                writer.writerow(
                    [
                        t.id,
                        t.group,
                        t.step,
                        position,
                        turn,
                        TokenKind(kind).name.lower(),
                        token,
                        text,
                        *("" if np.isnan(v) else v for v in values),
                    ]
                )


def _write_advantages(items: Iterator[Weighted], path: Path, about: dict[str, str]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for item in items:
            t = item.trajectory
            file.write(
                json.dumps(
                    {
                        "id": t.id,
                        "group": t.group,
                        "step": t.step,
                        "scheme": about["scheme"],
                        "return": _finite(t.ret),
                        "token_ids": t.token_ids.tolist(),
                        "response_mask": t.loss_mask.astype(int).tolist(),
                        "weights": item.weight.tolist(),
                        "advantages": item.advantage.tolist(),
                    },
                    allow_nan=False,
                )
                + "\n"
            )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
