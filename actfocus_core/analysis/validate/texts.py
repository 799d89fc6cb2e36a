"""Checks of token ids against the policy's tokenizer."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import accumulate, compress
from typing import Any

import numpy as np

from actfocus_core.analysis.validate.findings import Hit
from actfocus_core.analysis.validate.rules import threshold
from actfocus_core.dialogue import template_ids
from actfocus_core.trajectory import Trajectory

BORDERS = 30
"""Smallest number of token borders by which a tokenizer is judged"""
SCRIPTS = 4
"""Number of writing systems from which on a prompt seems to be decoded by another tokenizer"""
_BOS = ("<|begin_of_text|>", "<bos>", "<s>", "<|startoftext|>")


def of_text(t: Trajectory, tokenizer: Any) -> Iterator[Hit]:
    """What is wrong with the ids of a trajectory with tokens. ``tokenizer``: a Hugging Face tokenizer, or None."""
    if t.token_ids.min() < 0 or (tokenizer is not None and t.token_ids.max() >= len(tokenizer)):
        yield Hit("token-ids", t.id)
        return
    if _double_bos(t, tokenizer):
        yield Hit("double-bos", t.id)
    if tokenizer is None:
        return
    text = "".join(t.texts)
    decoded = tokenizer.decode(t.token_ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    if decoded != text:
        yield Hit("ids-text", t.id)
    elif tokenizer(text, add_special_tokens=False)["input_ids"] != t.token_ids.tolist():
        detail = _foreign(t, tokenizer)
        yield Hit("other-tokenizer", t.id, detail) if detail else Hit("drift", t.id)


def _foreign(t: Trajectory, tokenizer: Any) -> str:
    """Why the ids seem to be those of another tokenizer; empty if they do not.

    Read with another tokenizer, a prompt has none of the template's tokens, its words are of many languages, and some
    neighbours would have been one token. Each alone has other reasons: a plain prompt, a dictionary, texts that were
    tokenised apart and joined.
    """
    context = t.token_ids[~t.response_mask]
    if np.isin(context, list(template_ids(tokenizer))).any():
        return ""
    share, count = kept_borders(t, tokenizer)
    if count < BORDERS or share >= threshold("other-tokenizer"):
        return ""
    scripts = _scripts("".join(compress(t.texts, ~t.response_mask)))
    if len(scripts) < SCRIPTS:
        return ""
    return (
        f"the prompt has letters of {len(scripts)} writing systems ({', '.join(sorted(scripts)[:4]).lower()}, ...) and "
        f"no token of the chat template, and the tokenizer would cut {1 - share:.0%} of it otherwise"
    )


def _scripts(text: str) -> set[str]:
    """The writing systems of the letters: LATIN, CYRILLIC, CJK, ..."""
    return {unicodedata.name(letter, "UNKNOWN").split()[0] for letter in set(text) if letter.isalpha()}


def kept_borders(t: Trajectory, tokenizer: Any) -> tuple[float, int]:
    """The share of the borders between tokens that were not sampled which tokenising their text gives again, and their
    number.

    A sampled token may be any, but the prompt and what the environment wrote come from the policy's tokenizer.
    """
    kept = count = 0
    edges = np.flatnonzero(np.diff((~t.response_mask).astype(np.int8), prepend=0, append=0))
    for begin, end in edges.reshape(-1, 2).tolist():
        texts = t.texts[begin:end]
        ours = set(accumulate(map(len, texts[:-1])))
        offsets = tokenizer("".join(texts), add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        again = {start for start, _ in offsets}
        count += len(ours)
        kept += len(ours & again)
    return (kept / count if count else 1.0), count


def _double_bos(t: Trajectory, tokenizer: Any) -> bool:
    """Whether the first two tokens that are no padding both begin a sequence."""
    if tokenizer is None:
        return len(t) > 1 and t.texts[0] == t.texts[1] and t.texts[0] in _BOS
    ids = t.token_ids.tolist()
    start = next((n for n, id in enumerate(ids) if id != tokenizer.pad_token_id or id == tokenizer.bos_token_id), 0)
    bos = tokenizer.bos_token_id
    return bos is not None and ids[start : start + 2] == [bos, bos]
