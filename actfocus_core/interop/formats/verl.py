"""verl's ``trainer.rollout_data_dir`` and ``validation_data_dir``: ``{step}.jsonl``, text without special tokens.

Source: ``_log_rollout_data``, ``_validate`` and ``_write_generations`` in ``verl/trainer/ppo/v1/trainer_base.py`` and
``verl/trainer/ppo/ray_trainer.py``, and the managers in ``verl/experimental/reward_loop/reward_manager``, of version 0.9.1.

Since version 0.8 a row's ``uid`` is ``{uid}_{session}_{index}``: the prompt, its rollout, and the rollout's context.
In earlier versions it is the prompt. The outcome is ``acc`` where it states one; what else the reward function returned is a
column. ``score`` is the reward, except if a reward function returned an object for DAPO's reward manager: its own ``score`` is
then in the file, and the reward is the sum with ``overlong_reward``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from actfocus_core.interop.fields import LONGEST_COLUMN, error_text, number, scalars, success_of
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import RECORDED, Sample, Text
from actfocus_core.runs.provenance import Source
from actfocus_core.trajectory import Component

_KEY = re.compile(r"(.+)_([0-9]+)_[0-9]+", re.S)
_KNOWN = {"input", "output", "score", "step", "acc", "data_source", "error", "overlong_reward"}
_VALIDATION = re.compile(r"(?:.*[_-])?(?:val|validation|eval)(?:[_-].*)?")
BY_SUM = Source(how="derived", rule="the sum of score and overlong_reward, as DAPO's reward manager computes it")
TURN_SCORES = ("turn_scores", "tool_rewards")
UNREAD_SCORES = "scores per turn or call, whose places in the text are not in the file"
TIMEOUT = "the reward function did not end in time"


def matches(fields: dict[str, Any]) -> bool:
    return {"input", "output", "score"} <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample]:
    name, folder = file.path.name.split(".")[0], file.path.parent.name
    step = int(name) if name.isascii() and name.isdigit() and len(name) < 9 else None
    uid = record.key("uid", None)
    key = _KEY.fullmatch(uid) if uid else None
    reward, parts, source = _reward(record)
    error = error_text(record) or (TIMEOUT if record.value.get("timeout") is True else "")
    split = {"split": "eval"} if not file.split and _VALIDATION.fullmatch(folder.lower()) else {}
    yield Sample(
        record.where,
        Text(record.text("input"), record.text("output")),
        key[1] if key else uid or "",
        step=record.integer("step", step),
        env=record.text("data_source", ""),
        reward=reward,
        rewards=parts,
        # Where the reward function failed, the manager writes 0, which says nothing about the answer.
        success=None if error else success_of(record, ("acc",)),
        rollout=key[2] if key else "",
        columns=scalars(record, _KNOWN if key else _KNOWN | {"uid"}) | _rate(record) | _truths(record) | split,
        error=error,
        rewards_by=source,
        unread=(UNREAD_SCORES,) if any(record.value.get(field) for field in TURN_SCORES) else (),
    )


def _reward(record: Record) -> tuple[float, dict[str, Component], Source]:
    """The reward of the trainer, its components if the file shows that it has several, and how they are known."""
    score = number(record, "score")
    if "overlong_reward" not in record:
        return score, {}, RECORDED
    overlong, accuracy = number(record, "overlong_reward"), record.value.get("acc")
    # A reward function that returned a number is repeated as ``acc``, and ``score`` is the sum.
    repeated = accuracy if isinstance(accuracy, (int, float)) and not isinstance(accuracy, bool) else math.nan
    is_sum = math.isclose(repeated + overlong, score, abs_tol=1e-6)
    total = score if is_sum else score + overlong
    parts = {"score": Component(total - overlong), "overlong_reward": Component(overlong)}
    return total, parts, RECORDED if is_sum else BY_SUM


def _rate(record: Record) -> dict[str, Any]:
    """``acc`` as a column where it is no outcome."""
    return (
        scalars(Record({"acc": record.value.get("acc")}, record.where), ())
        if success_of(record, ("acc",)) is None
        else {}
    )


def _truths(record: Record) -> dict[str, Any]:
    """The ground truths as a column if they are a list or an object and short."""
    truths = record.value.get("gts")
    if not isinstance(truths, (list, dict)):
        return {}
    text = json.dumps(truths)
    return {"gts": text} if len(text) <= LONGEST_COLUMN else {}
