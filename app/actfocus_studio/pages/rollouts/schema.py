"""What the Rollouts page sends and receives."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from actfocus_studio.data.columns import Float64Column, Int32Column, TextColumn, Uint8Column
from actfocus_studio.data.message import Message, Request
from actfocus_studio.data.view import COLUMNS_MAX, INDEX_MAX, Compared, Name, ViewRequest

ROWS_MAX = 1000
"""Rows of one answer."""
Names = Annotated[list[Name], Field(max_length=COLUMNS_MAX)]
Need = Literal["", "values", "text", "tokens"]
"""What has to be computed before a request can be answered; empty: nothing."""


class ListColumn(Message):
    """A column of the list; see ``actfocus_core.listing.Column``."""

    name: str
    title: str
    kind: Literal["number", "text", "truth"]
    unit: str
    meaning: str
    source: Literal["stored", "computed", "search"]
    whole: bool
    """Its numbers are counts."""
    usual: bool
    """Shown unless other columns are chosen."""


class ListChoice(Message):
    """A value that rollouts can be chosen by, and how many have it."""

    value: str
    count: int


class ListMeasure(Message):
    """What tokens can be ordered by."""

    name: str
    title: str


class ListAbout(Message):
    """What does not depend on the filters."""

    total: int
    columns: list[ListColumn]
    counts: dict[str, int]
    """By condition of ONLY."""
    steps: list[ListChoice]
    groups: list[ListChoice]
    """Each at most CHOICES_MAX."""
    envs: list[ListChoice]
    agents: list[ListChoice]
    measures: list[ListMeasure]
    references: list[str]
    notes: list[str]
    """What the list leaves out, or had to do in another way."""
    computed: bool
    """The computed columns are there under the settings of the view."""
    scheme_a: Compared
    scheme_b: Compared


class ListRowsRequest(ViewRequest):
    """Some rows of the list of a view."""

    columns: Names
    offset: int = Field(ge=0, le=INDEX_MAX)
    limit: int = Field(ge=1, le=ROWS_MAX)


class ListErrors(Message):
    """What is wrong with a part of the query, as one line each; empty: nothing."""

    where: str = ""
    search: str = ""
    list: str = ""
    """Something that the address names and that is not there."""


class ListRows(Message):
    """Some rows of the list. Where something is wrong or missing, that part of the query is left out."""

    total: int
    """Rollouts of the list."""
    of: int
    """Rollouts of the run."""
    position: int | None
    """Of the trajectory of the view in the list."""
    ids: TextColumn
    columns: dict[str, Float64Column | TextColumn]
    """By name. A truth is 1, 0 or NaN for unknown; an unknown text is empty."""
    hits: int | None
    """Of all rollouts of the list; null without a search."""
    tokens: Int32Column | None
    """Of every row the token at which its first hit begins; -1 where it is unknown."""
    errors: ListErrors
    need: Need


class ListTokens(Message):
    """The tokens with the highest or lowest values, from the most extreme on."""

    value: Float64Column
    text: TextColumn
    kind: Uint8Column
    rollout: TextColumn
    turn: Int32Column
    token: Int32Column
    need: Need


class ListStart(ViewRequest):
    """Compute what the list of a view needs."""

    what: Literal["values", "text", "tokens"]


class ListJobRequest(Request):
    """A request about the computation that all pages share."""


class ListExportRequest(ViewRequest):
    """All rows of the list of a view as a file."""

    columns: Names
    format: Literal["csv", "jsonl"]


class ListFile(Message):
    """A file that the page offers as a download."""

    text: str
    name: str
