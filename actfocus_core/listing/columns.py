"""The columns of the list: what each means, in which unit, and whether it is stored in the run or computed.

The names are those of the library's arguments, of ``--where`` and of ``--sort``. Unknown values are null, never 0 or false.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Literal

import pyarrow as pa

Kind = Literal["number", "text", "truth"]
Source = Literal["stored", "computed", "search"]
ARROW = {"text": pa.string(), "truth": pa.bool_()}
"""The Arrow type of a kind; numbers are int64 or float64."""


@dataclass(frozen=True)
class Column:
    """A column of the list."""

    name: str
    title: str
    """for the head of a table"""
    kind: Kind
    meaning: str
    """one sentence, for a tooltip"""
    unit: str = ""
    """tokens, turns, nats, versions, rollouts, hits, or empty; a ``share`` lies between 0 and 1"""
    source: Source = "stored"
    """``stored``: in the files of the run; ``computed``: by ``Listing.compute``, once; ``search``: only beside a search"""

    def as_dict(self) -> dict[str, Any]:
        """The column as plain JSON values."""
        return asdict(self)


STORED = (
    Column("id", "id", "text", "The name of the rollout, or of a segment of it; unique in the run."),
    Column("step", "step", "number", "The training step.", "steps"),
    Column("group", "group", "text", "The prompt; the rollouts of one prompt are compared with each other."),
    Column("env", "environment", "text", "The environment or task."),
    Column("agent", "agent", "text", "The agent that sampled it, where there are several."),
    Column("rollout_id", "rollout", "text", "Equal, within a group, for the segments of one rollout."),
    Column("segment", "segment", "number", "The index of the segment in its rollout.", "segments"),
    Column("trainable", "trained", "truth", "False for an agent that is not trained, such as a judge."),
    Column("return", "return", "number", "Rewards plus penalties; unknown where the rollout was not scored."),
    Column("reward", "reward", "number", "The total of the rewards, without penalties."),
    Column("penalty", "penalty", "number", "The total of the penalties."),
    Column("success", "success", "truth", "Whether the task was solved."),
    Column("turns", "turns", "number", "Exchanges with the environment.", "turns"),
    Column("tokens", "tokens", "number", "All tokens, read and sampled.", "tokens"),
    Column("sampled_tokens", "sampled tokens", "number", "Tokens the policy sampled.", "tokens"),
    Column("action_tokens", "action tokens", "number", "Sampled tokens inside a well-formed action.", "tokens"),
    Column("malformed", "malformed", "truth", "Whether any turn is not valid: malformed, or with an illegal action."),
    Column("terminated", "terminated", "truth", "Whether the environment ended the episode."),
    Column("truncated", "truncated", "truth", "Whether it was cut off by a budget of actions, turns or tokens."),
    Column("error", "error", "text", "The error that ended it; empty where there was none."),
    Column("stop_reason", "stop reason", "text", "Why sampling ended, as the sampler reported it."),
    Column("split", "split", "text", "The split of the data, where the imported file has a column ``split``."),
)
"""The columns read from the Parquet files without reading tokens."""

COMPUTED = (
    Column(
        "illegal",
        "illegal",
        "truth",
        "Whether a turn with action tokens is not valid, so that its action was illegal; unknown without action tokens.",
        "",
        "computed",
    ),
    Column(
        "staleness",
        "staleness",
        "number",
        "Policy versions between the oldest weights that sampled a token of it and the newest that sampled any of its step.",
        "versions",
        "computed",
    ),
    Column(
        "max_energy",
        "highest energy",
        "number",
        "The highest energy of an action token under the reference.",
        "nats",
        "computed",
    ),
    Column(
        "mean_energy",
        "mean energy",
        "number",
        "The mean energy of the action tokens under the reference.",
        "nats",
        "computed",
    ),
    Column(
        "action_share_a",
        "actions under A",
        "number",
        "The share of its weight that scheme A puts on action tokens.",
        "share",
        "computed",
    ),
    Column(
        "action_share_b",
        "actions under B",
        "number",
        "The share of its weight that scheme B puts on action tokens.",
        "share",
        "computed",
    ),
    Column(
        "change",
        "change",
        "number",
        "How much scheme B changes against A: the share of its credit that sits on other tokens, or has another sign.",
        "share",
        "computed",
    ),
)
"""The columns that need the tokens; see ``measures.py`` for the formulas."""

FOUND = (
    Column("hits", "hits", "number", "How often the text was found.", "hits", "search"),
    Column(
        "first_hit", "first hit", "number", "The index of the token in which the first hit begins.", "tokens", "search"
    ),
)
"""The columns beside a search."""

REWARDS, OWN = "rewards.", "columns."
"""Prefixes of the components of the reward, and of the columns of the imported file."""
FIXED = {column.name: column for column in (*STORED, *COMPUTED, *FOUND)}


def unknown_column(name: str, known: Collection[str]) -> str:
    """What to say about a column that does not exist."""
    near = get_close_matches(name, known, 1, 0.6)
    return f"no column {name[:60]!r}" + (f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}")


def reward_column(name: str) -> Column:
    """The column of a component of the reward."""
    return Column(REWARDS + name, name, "number", "A component of the reward: its score, before it is weighted.")


def own_column(name: str, kind: Kind) -> Column:
    """A column of the imported file."""
    return Column(OWN + name, name, kind, "A column of the imported file.")
