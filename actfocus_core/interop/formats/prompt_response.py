"""``prompt`` and ``response`` as text, with a reward and sometimes values: RL Logging Board, OpenRLHF's samples, HALOs.

Source: the README of HarderThenHarder/RLLoggingBoard, read in November 2026. Its scores are per token, and the tokens
are given as texts. They are read if the texts add up to the response and each is that of exactly one token; else they
are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from actfocus_core.interop.fields import error_text, scalars, success_of
from actfocus_core.interop.formats.chat import STEP, SUCCESS, with_reward
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import Content, Sample, Text, prompt_and_completion
from actfocus_core.interop.scored import LOGPROB, UNREAD_SCORES, Scored

TOKENS = "response_tokens"
_SCORES = {"logprobs": LOGPROB, "ref_logprobs": "ref_logprob", "values": "value", "token_rewards": "token_reward"}
_KNOWN = {"prompt", "response", "reward", "score", "rewards", "group", *STEP, *SUCCESS}


def matches(fields: dict[str, Any]) -> bool:
    return {"prompt", "response"} <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample]:
    content, unread = _scored(record, prompt_and_completion(record, "prompt", "response"))
    sample = Sample(
        record.where,
        content,
        record.key("group", ""),
        step=next((record.integer(name) for name in STEP if name in record), None),
        success=success_of(record, SUCCESS),
        columns=scalars(record, _KNOWN),
        error=error_text(record),
        unread=unread,
    )
    yield with_reward(sample, record)


def _scored(record: Record, content: Content) -> tuple[Content, tuple[str, ...]]:
    """The content with the scores of its tokens, and what was not read of them."""
    names = [name for name in _SCORES if record.value.get(name)]
    if not names:
        return content, ()
    if not isinstance(content, Text) or TOKENS not in record:
        return content, (UNREAD_SCORES,)
    texts = record.items(TOKENS, {str}, "texts of tokens")
    scores = {_SCORES[name]: record.floats(name, len(texts)) for name in names}
    return replace(content, scored=Scored(tuple(text.encode("utf-8", "replace") for text in texts), scores)), ()
