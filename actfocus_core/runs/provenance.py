"""The provenance of the data of a run: recorded, derived by a named rule, or guessed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from actfocus_core.errors import ActFocusError


class Source(BaseModel):
    """How an entry was obtained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    how: Literal["recorded", "derived", "guessed"]
    rule: str = ""
    """the rule by which it was derived or guessed; required if it was derived"""

    @model_validator(mode="after")
    def _names_its_rule(self) -> Source:
        if self.how == "derived" and not self.rule:
            raise ValueError("a derived entry must name its rule")
        return self


class Provenance(BaseModel):
    """The sources of the data of a run; None: not stated.

    It is stored per run (``provenance`` in run.json) and not per trajectory, since all rollouts of a run are read or recorded
    in the same way. Data that only some rollouts have are unknown (NaN, None) in the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ids: Source | None = None
    """``token_ids``: as sampled, or from text that was tokenised again"""
    kinds: Source | None = None
    """``kinds``: which tokens are reasoning, action and format"""
    mask: Source | None = None
    """which tokens were sampled, and ``in_loss``"""
    groups: Source | None = None
    """``group`` and ``rollout_id``"""
    rewards: Source | None = None
    """``reward`` and ``rewards``"""
    logprobs: Source | None = None
    """``logprobs``"""

    @classmethod
    def all_recorded(cls) -> Provenance:
        """Everything recorded, the assumption for runs of schema 1."""
        return cls.model_validate(dict.fromkeys(cls.model_fields, Source(how="recorded")))

    @classmethod
    def of(cls, value: Any, where: str) -> Provenance:
        """Validate the entry of a file. Raises ActFocusError with ``where`` as the prefix of its message."""
        try:
            return cls.model_validate(value)
        except ValidationError:
            raise ActFocusError(
                f'{where}: "provenance" must be an object of {", ".join(cls.model_fields)}, each '
                '{"how": "recorded", "derived" or "guessed", "rule": text}, and a derived entry must name its rule'
            ) from None
