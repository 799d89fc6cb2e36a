"""ActFocus's own JSONL and Parquet, with every field of a trajectory, so that reading restores it exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.formats.segments import segment_fields, segment_record, turn_column
from actfocus_core.interop.reading import DataFile, Record, check_text, is_deep
from actfocus_core.runs.schema import TURN_FIELDS
from actfocus_core.trajectory import Alternatives, TokenKind, Trajectory, Turn

_TURN_TEXTS = ("observation", "response", "state_key")


def matches(fields: dict[str, Any]) -> bool:
    return {"token_ids", "kinds", "texts"} <= set(fields)


def to_record(t: Trajectory) -> dict[str, Any]:
    """A trajectory as one JSON object; NaN is null."""
    record = {
        name: getattr(t, name)
        for name in (
            "id",
            "group",
            "env",
            "seed",
            "rollout",
            "step",
            "model",
            "penalty",
            "success",
            "terminated",
            "truncated",
        )
    }
    record |= {
        "reward": _number(t.reward),
        "token_ids": t.token_ids.tolist(),
        "kinds": t.kinds.tolist(),
        "turns": t.turns.tolist(),
        "texts": t.texts,
        "logprobs": _numbers(t.logprobs),
        "signals": {name: _numbers(values) for name, values in t.signals.items()},
        "turn_records": [_turn_record(turn) for turn in t.turn_records],
    }
    record |= segment_record(t)
    if t.alternatives is not None:
        record["alternatives"] = {
            "ids": t.alternatives.ids.tolist(),
            "texts": t.alternatives.texts,
            "logprobs": [_numbers(row) for row in t.alternatives.logprobs],
        }
    return record


def _turn_record(turn: Turn) -> dict[str, Any]:
    return {name: value for name, value in vars(turn).items() if value is not None or name not in TURN_FIELDS}


def trajectories(record: Record, file: DataFile) -> Iterator[Trajectory]:
    """Yield the trajectory of a line, or of a row, in which each signal is a column."""
    ids = record.ids("token_ids")
    length = len(ids)
    kinds = _small(record, "kinds", length, 0, int(max(TokenKind)))
    try:
        yield Trajectory(
            id=record.key("id"),
            token_ids=ids,
            kinds=kinds,
            turns=_small(record, "turns", length, -1, 2**15 - 1),
            logprobs=record.floats("logprobs", length),
            texts=_texts(record, "texts", length),
            turn_records=_turns(record),
            signals=_signals(record, length),
            alternatives=_alternatives(record, length),
            group=record.text("group", ""),
            env=record.text("env", ""),
            seed=record.integer("seed", 0, -(2**63), 2**63 - 1),
            rollout=record.integer("rollout", 0),
            step=record.integer("step", 0),
            model=record.text("model", ""),
            reward=record.number("reward", float("nan")),
            penalty=record.number("penalty", 0.0),
            success=record.flag("success", None),
            terminated=record.flag("terminated", False),
            truncated=record.flag("truncated", False),
            columns=_columns(record),
            **segment_fields(record, length),
        )
    except ActFocusError as error:
        if str(error).startswith(record.where):
            raise
        raise ActFocusError(f"{record.where}: {error}") from None


def _small(record: Record, name: str, length: int, low: int, high: int) -> np.ndarray:
    values = record.items(name, {int}, "integers", length)
    return record.within(name, values, low, high)


def _texts(record: Record, name: str, length: int) -> list[str]:
    texts = record.items(name, {str}, "strings", length)
    check_text("".join(texts), f"{record.where}: {name!r}")
    return texts


def _signals(record: Record, length: int) -> dict[str, np.ndarray]:
    columns = {name.removeprefix("signal:"): name for name in record.value if name.startswith("signal:")}
    signals = {ours: record.floats(name, length) for ours, name in columns.items() if name in record}
    field = record.record("signals", Record({}, record.where))
    return signals | {
        check_text(name, field.where): field.floats(name, length) for name in field.value if name in field
    }


def _columns(record: Record) -> dict[str, Any]:
    """From an object in a line, or its JSON in a row; ``Trajectory`` validates the contents."""
    field = record.get("columns", (dict, str), "an object", {})
    columns: dict[str, Any] = field
    if isinstance(field, str):
        try:
            columns = json.loads(field)
        except (ValueError, RecursionError):
            raise record.error("'columns'", "is not JSON; it must be an object") from None
    return columns


def _turns(record: Record) -> list[Turn]:
    if "turn_records" not in record:
        return []
    turns = [_turn(turn) for turn in record.records("turn_records")]
    for field in TURN_FIELDS:
        for turn, value in zip(turns, turn_column(record, field, len(turns))):
            setattr(turn, field, value)
    return turns


def _turn(record: Record) -> Turn:
    actions = record.items("actions", {str}, "strings")
    texts = {name: record.text(name) for name in _TURN_TEXTS}
    check_text("".join(actions), f"{record.where}: 'actions'")
    state = record.value.get("state") or {}
    if isinstance(state, str):
        try:
            state = json.loads(state)
        except (ValueError, RecursionError):
            state = None
    if not isinstance(state, dict) or is_deep(state):
        raise record.error("'state'", "is not a flat JSON object")
    check_text(json.dumps(state, ensure_ascii=False), f"{record.where}: 'state'")
    return Turn(
        texts["observation"],
        texts["response"],
        actions,
        record.flag("valid"),
        record.number("reward"),
        record.number("penalty"),
        texts["state_key"],
        state,
    )


def _alternatives(record: Record, length: int) -> Alternatives | None:
    if "top_ids" in record:
        # A row of Parquet: flat lists with k values per token.
        flat: dict[str, Any] = {name: record.value.get(name) for name in ("top_ids", "top_logprobs", "top_texts")}
        if (
            any(v is None for v in flat.values())
            or len(flat["top_ids"]) != len(flat["top_logprobs"])
            or len(flat["top_texts"]) != length
            or len(flat["top_ids"]) % max(length, 1)
        ):
            raise record.error("'top_ids'", "does not match 'top_logprobs' and 'top_texts'; each must have k per token")
        ids, logprobs = (np.array(flat[name]).reshape(length, -1) for name in ("top_ids", "top_logprobs"))
        return Alternatives(ids.astype(np.int32), logprobs.astype(np.float32), flat["top_texts"])
    field = record.record("alternatives", None)
    if field is None:
        return None
    try:
        ids = np.array(field.get("ids", list, "lists of ids"), np.int64).reshape(length, -1)
        with np.errstate(over="ignore"):
            logprobs = np.array(field.get("logprobs", list, "lists of numbers"), np.float64).astype(np.float32)
        logprobs = logprobs.reshape(length, -1)
        texts = [
            [check_text(text, field.where) for text in row] for row in field.get("texts", list, "lists of strings")
        ]
        if (
            ids.shape != logprobs.shape
            or len(texts) != length
            or (ids.size and not -1 <= ids.min() <= ids.max() < 2**31)
        ):
            raise ValueError("lengths or ids out of range")
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise record.error("'alternatives'", f"must have ids, logprobs and texts, {length} lists of k each") from None
    return Alternatives(ids.astype(np.int32), logprobs, texts)


def _numbers(values: np.ndarray) -> list[float | None]:
    # Python's float prints enough digits to restore the float32 exactly.
    return [_number(value) for value in values.tolist()]


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
