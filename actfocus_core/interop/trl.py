"""TRL's ``log_completions``: ``completions/completions_{step:05d}.parquet``.

A column a reward function, whose weights are not in the file: the return is their plain sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from actfocus_core.interop.samples import Sample, digest, prompt_and_completion
from actfocus_core.interop.sources import Record

_KNOWN = {"step", "prompt", "completion", "advantage", "images", "timestamp"}


def looks(fields: dict) -> bool:
    return {"step", "prompt", "completion", "advantage"} <= set(fields)


def samples(record: Record, path: Path) -> Iterator[Sample]:
    rewards = [record.number(name) for name in record.value
               if name not in _KNOWN and type(record.value[name]) in (int, float)]
    scored = [reward for reward in rewards if not math.isnan(reward)]
    advantage = record.number("advantage", None)
    yield Sample(record.where, prompt_and_completion(record, "prompt", "completion"),
                 digest(record.value["prompt"]), step=record.integer("step", 0),
                 reward=sum(scored) if scored else float("nan"),
                 advantage=None if advantage is None or math.isnan(advantage) else advantage)
