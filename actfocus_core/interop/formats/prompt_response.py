"""``prompt`` and ``response`` as text, with a reward and sometimes values: RL Logging Board, OpenRLHF's samples, HALOs.

Source: the README of HarderThenHarder/RLLoggingBoard, read in November 2026. Its scores are per token, and the
tokens are given as texts, which do not determine ids; they are not read, and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actfocus_core.interop.fields import error_text, scalars, success_of
from actfocus_core.interop.formats.chat import STEP, SUCCESS, with_reward
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import Sample, prompt_and_completion

_SCORES = ("logprobs", "ref_logprobs", "values", "token_rewards")
UNREAD_SCORES = "scores per token of text ('logprobs', 'values', ...), whose tokens are not known exactly"
_KNOWN = {"prompt", "response", "reward", "score", "rewards", "group", *STEP, *SUCCESS}


def matches(fields: dict[str, Any]) -> bool:
    return {"prompt", "response"} <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample]:
    content = prompt_and_completion(record, "prompt", "response")
    scored = any(record.value.get(name) for name in _SCORES)
    sample = Sample(
        record.where,
        content,
        record.key("group", ""),
        step=next((record.integer(name) for name in STEP if name in record), None),
        success=success_of(record, SUCCESS),
        columns=scalars(record, _KNOWN),
        error=error_text(record),
        unread=(UNREAD_SCORES,) if scored else (),
    )
    yield with_reward(sample, record)
