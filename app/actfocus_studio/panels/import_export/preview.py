"""What an import would make of a file's first rollouts, computed in a separate process before anything is stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.items import AUTO
from actfocus_core.spans import PATTERN, RULES, span_rule
from actfocus_studio.data.message import Message
from actfocus_studio.data.models import tokenizer
from actfocus_studio.data.schema import JobStatus
from actfocus_studio.data.view import NAME_MAX
from actfocus_studio.jobs.worker import Worker
from actfocus_studio.server.uploads import TOKENS_MAX

PATTERN_MAX = 200
"""Maximum length of a pattern in characters."""
ROLLOUTS = 3
"""Rollouts of a preview."""
Short = Annotated[str, StringConstraints(max_length=4 * NAME_MAX)]


class ImportSettings(Message):
    """How a file is read: the options of ``actfocus import``."""

    tokenizer: Short | None = None
    spans: Annotated[str, StringConstraints(max_length=2 * (len(PATTERN) + PATTERN_MAX))] = AUTO
    """A span rule, by name or as a pattern."""
    environment_spans: Short = AUTO
    success_at: float = Field(default=1.0, allow_inf_nan=False)
    reward_columns: Short = ""
    """Names with commas between them; empty: inferred from the file."""
    strict: bool = False

    def options(self, offered: Sequence[str]) -> list[str]:
        """The options of the command. Raises ActFocusError for a tokenizer that is not here, or an invalid span rule."""
        options = [
            f"--spans={_rule(self.spans)}",
            f"--environment-spans={self.environment_spans.strip() or AUTO}",
            f"--success-at={self.success_at}",
            f"--max-tokens={TOKENS_MAX}",
        ]
        options += [f"--tokenizer={tokenizer(self.tokenizer, offered)}"] if self.tokenizer is not None else []
        options += [f"--reward-columns={self.reward_columns.strip()}"] if self.reward_columns.strip() else []
        return [*options, *(["--strict"] if self.strict else [])]


class PreviewRollout(Message):
    """A rollout as it would be stored; of a long one the first tokens."""

    id: str
    group: str
    return_: float | None = Field(alias="return", serialization_alias="return")
    success: bool | None
    turns: int
    tokens: int
    """In all."""
    texts: list[str]
    kinds: list[int]
    """``TokenKind``"""


class ImportPreview(Message):
    """What an import would say of the first rollouts of a file."""

    title: str
    """Of the format."""
    read: int
    """Number of rollouts that were read; all counts are theirs."""
    is_whole: bool
    """Whether the file holds no others."""
    groups: int
    tokens: int
    approximate: bool
    rule: str
    """The span rule."""
    rule_is_given: bool
    by_rule: dict[str, int]
    """Span rule -> number of action tokens that it finds."""
    by_kind: dict[str, int]
    success: dict[str, int]
    environment_text: dict[str, int]
    left_out: dict[str, int]
    unstated: dict[str, str]
    """What the file does not state -> how it was obtained."""
    rewards: str
    """The columns that make the reward, where the format has columns."""
    rollouts: list[PreviewRollout]


class PreviewProgress(Message):
    """The preview that was asked for last: its progress, and once it is done, what it found."""

    job: JobStatus
    preview: ImportPreview | None = None


class Previews(Worker):
    """At most one preview, the newest: another one ends it."""

    def __init__(self):
        super().__init__("a preview is already being made")

    def start(self, path: Path, name: str, options: list[str]) -> PreviewProgress:
        """Read the head of a file. ``name``: how the command calls it, from its folder."""
        self.cancel()
        self.launch(
            ["import", "auto", name, f"--preview={ROLLOUTS}", "--json", *options], None, path.name, cwd=path.parent
        )
        return self.look()

    def look(self) -> PreviewProgress:
        status, result = self.status(), self.result()
        job = JobStatus(**vars(status))
        if status.state != "done":
            return PreviewProgress(job=job)
        if result is None:
            return PreviewProgress(
                job=job.model_copy(
                    update={
                        "state": "failed",
                        "message": "the first rollouts are too large to show; they can be imported",
                    }
                )
            )
        config = result["config"]
        return PreviewProgress(
            job=job,
            preview=ImportPreview(
                title=result["title"],
                read=result["trajectories_read"],
                is_whole=result["is_whole"],
                groups=result["groups"],
                tokens=result["tokens"],
                approximate=config["approximate"],
                rule=config["spans"],
                rule_is_given=config.get("spans_by") == "given",
                by_rule=config.get("action_tokens_by_rule") or {},
                by_kind=result["by_kind"],
                success=result["success"],
                environment_text=config.get("environment_text") or {},
                left_out=config.get("left_out") or {},
                unstated=result["unstated"],
                rewards=", ".join(config.get("reward_columns") or ()),
                rollouts=[PreviewRollout.model_validate(row) for row in result["rollouts"]],
            ),
        )


def _rule(spans: str) -> str:
    """A valid span rule: auto, its name, or a pattern."""
    if spans == AUTO:
        return spans
    if not (spans in RULES or spans.startswith(PATTERN)):
        raise ActFocusError(f"span rule: must be one of {AUTO}, {', '.join(RULES)}, or a pattern")
    if len(spans) > len(PATTERN) + PATTERN_MAX:
        raise ActFocusError(f"span rule: the pattern is longer than {PATTERN_MAX} characters")
    return span_rule(spans).name
