"""Storage of counterfactuals (what-ifs): replays, branches and edits, beside the run they are about.

    NAME/whatif/
      replay-3fa2c1d0.json       the request, and the result in numbers
      replay-3fa2c1d0.parquet    its trajectories, with a number per token as signals

The id is a hash of the request: the same request has the same id and one stored result. The data of the run are never
changed.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, Field, ValidationError, model_validator

from actfocus_core.errors import ActFocusError
from actfocus_core.files import read_json
from actfocus_core.paths import atomic_write
from actfocus_core.runs import Run, read_trajectories, write_trajectories
from actfocus_core.trajectory import Trajectory

KINDS = ("replay", "branch", "edit")
FORMAT = "actfocus-whatif"
_SIZE_MAX = 64 << 20
"""Largest JSON file of a stored result, in bytes."""
_ID = re.compile(rf"(?:{'|'.join(KINDS)})-[0-9a-f]{{12}}")


# The fields that readers of a result rely on; a stored result may have been written by another program.


class _MeanInterval(BaseModel):
    mean: float
    low: float | None
    high: float | None
    n: int


class _Rate(BaseModel):
    rate: float
    low: float
    high: float


class _Change(BaseModel):
    tokens: int
    mean: float | None
    mean_absolute: float | None


class _Signs(BaseModel):
    up: _Change
    down: _Change
    none: _Change


class _Kinds(BaseModel):
    reasoning: _Signs
    action: _Signs
    format: _Signs


class _Evaluation(BaseModel):
    success: float
    gain: float | None = None


class _Statistics(BaseModel):
    name: str
    mean: float
    std: float
    count: int


class _Update(BaseModel):
    scheme: str
    params: dict[str, Any]
    own: bool
    gradient_norm: float | None
    update_norm: float | None
    change: _Kinds
    reproduced: float | None
    divisors: dict[str, float]
    signal: _Statistics | None
    evaluation: _Evaluation | None = None


class _Replay(BaseModel):
    updates: Annotated[list[_Update], Field(min_length=1)]
    cosine_gradient: list[list[float | None]]
    cosine_update: list[list[float | None]]
    lr: float
    trajectories: int
    tokens: int
    before: _Evaluation | None = None
    so_far: int | None = None
    badges: list[Any] = []

    @model_validator(mode="after")
    def _fits(self) -> Self:
        n = len(self.updates)
        for name in ("cosine_gradient", "cosine_update"):
            if [len(row) for row in getattr(self, name)] != [n] * n:
                raise ValueError(f"{name} must have {n} rows of {n} numbers, an update each")
        if self.before is None and any(update.evaluation for update in self.updates):
            raise ValueError("an evaluation after an update needs the one before")
        return self


class _Value(BaseModel):
    turn: float | None
    after: float | None


class _Node(BaseModel):
    actions: list[str]
    count: int
    to_go: _MeanInterval
    success: _Rate
    optimal: _Value | None
    ids: Annotated[list[str], Field(min_length=1)]
    children: list[_Node]


class _Original(BaseModel):
    actions: list[str]
    to_go: float


class _Optimal(BaseModel):
    value: float


class _Branch(BaseModel):
    tree: Annotated[list[_Node], Field(min_length=1)]
    to_go: _MeanInterval
    ret: Annotated[_MeanInterval, Field(alias="return")]
    success: _Rate
    original: _Original
    optimal: _Optimal | None
    badges: list[Any] = []


class _Scheme(BaseModel):
    missing: list[str]
    share: list[dict[str, float | None]] = []
    credit: list[float | None] = []

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.missing and not len(self.share) == len(self.credit) == 2:
            raise ValueError("share and credit must each have a value before and one after the edit")
        return self


class _Energy(BaseModel):
    span: tuple[float | None, float | None]
    later: tuple[float | None, float | None]


class _Edit(BaseModel):
    span: tuple[int, int]
    new_span: tuple[int, int]
    replaced: str
    text: str
    energy: _Energy
    schemes: dict[str, _Scheme]
    badges: list[Any] = []


class _Named(BaseModel):
    scheme: str


class _Step(BaseModel):
    step: int
    schemes: list[_Named]


class _Turn(BaseModel):
    trajectory: str
    turn: int


_SHAPES: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    "replay": (_Step, _Replay),
    "branch": (_Turn, _Branch),
    "edit": (_Turn, _Edit),
}


@dataclass(frozen=True)
class WhatIf:
    """One counterfactual request about a run, with its result. Plain JSON except for the trajectories."""

    kind: str
    """one of KINDS"""
    request: dict[str, Any]
    """everything that determines the result"""
    result: dict[str, Any]
    trajectories: list[Trajectory] = field(repr=False)

    @cached_property
    def id(self) -> str:
        """KIND and twelve hex digits of a hash of the request; usable in a link."""
        digest = hashlib.blake2b(json.dumps(plain(self.request), sort_keys=True).encode(), digest_size=6)
        return f"{self.kind}-{digest.hexdigest()}"


def store(run: Run, what: WhatIf, folder: Path | None = None) -> Path:
    """Write a what-if to its run, replacing an earlier result of the same request; returns the path of the JSON file.

    ``folder``: in place of the run's. Raises ActFocusError where the folder cannot be written; nothing is left then.
    """
    content = {
        "format": FORMAT,
        "id": what.id,
        "kind": what.kind,
        "request": what.request,
        "result": what.result,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = json.dumps(plain(content), allow_nan=False)
    file = (folder or _folder(run)) / f"{what.id}.json"
    try:
        file.parent.mkdir(exist_ok=True)
        # The JSON file appears last, so a result whose JSON exists is complete.
        with atomic_write(file) as part:
            part.write_text(text + "\n", encoding="utf-8")
            with atomic_write(file.with_suffix(".parquet")) as table:
                write_trajectories(what.trajectories, table)
    except OSError as error:
        raise ActFocusError(f"{file}: cannot be written ({error.strerror or error})") from None
    return file


def load(run: Run, id: str, folder: Path | None = None) -> WhatIf:
    """A stored what-if. Raises ActFocusError for an unknown id or an invalid file."""
    file = (folder or _folder(run)) / f"{id}.json"
    if not is_id(id) or not file.is_file():
        raise ActFocusError(f"{run.path}: has no what-if {id!r}; `actfocus whatif {run.path}` lists them")
    content = _read(file)
    return WhatIf(
        content["kind"], content["request"], content["result"], read_trajectories(file.with_suffix(".parquet"))
    )


def signal(t: Trajectory, name: str) -> np.ndarray:
    """float32 [T]: a signal of a trajectory of a what-if. Raises ActFocusError where it is missing."""
    if name not in t.signals:
        raise ActFocusError(f"the what-if's trajectory {t.id!r} has no {name!r}: it was stored incompletely")
    return t.signals[name]


def is_id(text: str) -> bool:
    """Whether the text has the form of a what-if's id."""
    return _ID.fullmatch(text) is not None


def listing(run: Run, folder: Path | None = None) -> list[dict[str, Any]]:
    """``id, kind, created, request`` of all what-ifs of a run, the newest first."""
    contents = [_read(file) for file in (folder or _folder(run)).glob("*.json") if is_id(file.stem)]
    rows = [{name: content[name] for name in ("id", "kind", "created", "request")} for content in contents]
    return sorted(rows, key=lambda row: (row["created"], row["id"]), reverse=True)


def plain(value: Any) -> Any:
    """A value as strict JSON: None for NaN and infinity, no NumPy types, no tuples."""
    if isinstance(value, dict):
        return {str(key): plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _folder(run: Run) -> Path:
    return run.path / "whatif"


def _read(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file, _SIZE_MAX)
    except OSError as error:
        raise ActFocusError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ActFocusError(f"{file}: not readable JSON ({error})") from None
    fields = {"id": str, "kind": str, "created": str, "request": dict, "result": dict}
    if (
        not isinstance(content, dict)
        or content.get("format") != FORMAT
        or not all(isinstance(content.get(name), kind) for name, kind in fields.items())
        or content["kind"] not in KINDS
    ):
        raise ActFocusError(f'{file}: not a what-if: it needs "format": "{FORMAT}" and {", ".join(fields)}')
    for part, shape in zip(("request", "result"), _SHAPES[content["kind"]]):
        try:
            shape.model_validate(content[part])
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(_name, (part, *first["loc"])))
            raise ActFocusError(f"{file}: {where}: {first['msg']}") from None
    return content


def _name(key: str | int) -> str:
    """A key as shown in an error message."""
    return str(key) if str(key).isidentifier() or isinstance(key, int) else repr(key[:40])
