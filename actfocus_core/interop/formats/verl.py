"""verl's ``trainer.rollout_data_dir``: ``{step}.jsonl``, text without special tokens.

The boundary of a turn is recognised by a line with the role alone, as ChatML templates write it; an output without such
lines counts as sampled by the policy as a whole.

Since version 0.8 a row's ``uid`` is ``{uid}_{session}_{index}``: the prompt, its rollout, and the rollout's context.
In earlier versions it is the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actfocus_core.interop.samples import SAMPLED, Part, Sample, digest
from actfocus_core.interop.sources import Record
from actfocus_core.trajectory import TokenKind

_PROMPT = re.compile(r"\A\s*(?:(system\n)(.*?)(\n))?(user\n)(.*)(\nassistant\n?\s*)\Z", re.S)
_KEY = re.compile(r"(.+)_([0-9]+)_[0-9]+", re.S)
_BOUNDARY = re.compile(r"(\n(?:user|tool)\n)(.*?)(\nassistant\n)", re.S)


def matches(fields: dict[str, Any]) -> bool:
    return {"input", "output", "score"} <= set(fields)


def samples(record: Record, path: Path) -> Iterator[Sample]:
    prompt, output = record.text("input"), record.text("output")
    name = path.name.split(".")[0]
    step = record.integer("step", int(name) if name.isascii() and name.isdigit() and len(name) < 9 else 0)
    uid = record.key("uid", None)
    key = _KEY.fullmatch(uid) if uid else None
    accuracy = record.value.get("acc")
    success = bool(accuracy) if isinstance(accuracy, (bool, int, float)) else None
    yield Sample(
        record.where,
        [*_prompt(prompt), *_output(output)],
        key[1] if key else uid or digest(prompt),
        step=step,
        env=record.text("data_source", ""),
        reward=record.number("score", float("nan")),
        success=success,
        rollout=key[2] if key else "",
        columns={"uid": uid} if key else {},
    )


def _prompt(text: str) -> list[Part]:
    match = _PROMPT.match(text)
    if not match:
        return [Part(text, TokenKind.USER)]
    kinds = (
        TokenKind.TEMPLATE,
        TokenKind.SYSTEM,
        TokenKind.TEMPLATE,
        TokenKind.TEMPLATE,
        TokenKind.USER,
        TokenKind.TEMPLATE,
    )
    return [Part(part, kind) for part, kind in zip(match.groups(), kinds) if part]


def _output(text: str) -> list[Part]:
    parts, end = [], 0
    for match in _BOUNDARY.finditer(text):
        parts += [
            Part(text[end : match.start()], SAMPLED),
            Part(match[1], TokenKind.TEMPLATE),
            Part(match[2], TokenKind.USER),
            Part(match[3], TokenKind.TEMPLATE),
        ]
        end = match.end()
    return [*parts, Part(text[end:], SAMPLED)]
