"""``ForeignIds``: whether exact ids decode to the texts that a record states beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actfocus_core.interop.samples import Sample, Tokens


@dataclass
class ForeignIds:
    """Counts the rollouts whose ids decode to none of the texts stated beside them.

    Ids of another model's tokenizer can all lie inside the vocabulary. Templates trim and wrap texts, and some are left
    out of a long context, so white space is not compared, and one text that is found is enough.
    """

    rollouts: int = 0
    of: int = 0
    example: str = ""

    def examine(self, sample: Sample, texts: list[str]) -> None:
        """``texts``: the decoded tokens of the sample."""
        if not isinstance(sample.content, Tokens) or not sample.stated:
            return
        self.of += 1
        decoded = _letters("".join(texts))
        if not any(_letters(text) in decoded for text in sample.stated):
            self.rollouts += 1
            self.example = self.example or sample.where

    def config(self) -> dict[str, Any]:
        """The entry of run.json; empty if all ids fit."""
        if not self.rollouts:
            return {}
        return {"foreign_ids": {"rollouts": self.rollouts, "of": self.of, "example": self.example}}


def _letters(text: str) -> str:
    return "".join(text.split())
