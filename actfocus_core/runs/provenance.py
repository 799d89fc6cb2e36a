"""Where what a run states about its rollouts comes from: recorded, derived by a named rule, or guessed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from actfocus_core.errors import ActFocusError


class Source(BaseModel):
    """How one of these facts came about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    how: Literal["recorded", "derived", "guessed"]
    rule: str = ""
    """the rule it was derived or guessed by; a derived fact names it"""

    @model_validator(mode="after")
    def _names_its_rule(self) -> Source:
        if self.how == "derived" and not self.rule:
            raise ValueError("what is derived names its rule")
        return self


class Provenance(BaseModel):
    """The sources of a run's facts; None: not stated.

    It belongs to the run (``provenance`` in run.json) and not to each trajectory: it says how a file was read or a trainer
    recorded, which is one answer for all rollouts of a run. A fact that only some of them have is unknown in the others,
    and their fields say so (NaN, None).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ids: Source | None = None
    """``token_ids``: as sampled, or text that was tokenised again"""
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
        """Everything as it was recorded, which a run of schema 1 is taken for."""
        return cls.model_validate(dict.fromkeys(cls.model_fields, Source(how="recorded")))

    @classmethod
    def of(cls, stated: Any, where: str) -> Provenance:
        """Check what a file states. Raises ActFocusError, beginning with ``where``."""
        try:
            return cls.model_validate(stated)
        except ValidationError:
            raise ActFocusError(
                f'{where}: "provenance" must be an object of {", ".join(cls.model_fields)}, each '
                '{"how": "recorded", "derived" or "guessed", "rule": text}, and what is derived names its rule'
            ) from None
