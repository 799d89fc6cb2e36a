"""What can be listed of a run: the columns, the values that rollouts can be chosen by, the measures of tokens."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from actfocus_core.listing import Column, Listing
from actfocus_core.listing.query import Query
from actfocus_core.listing.tokens import MEASURES
from actfocus_core.reports.token_html import shown
from actfocus_core.runs import Run
from actfocus_studio.data.view import View
from actfocus_studio.pages.rollouts.schema import ListAbout, ListChoice, ListColumn, ListMeasure
from actfocus_studio.shell.controls import TITLES

CHOICES_MAX = 300
"""Values of a column that are offered."""
USUAL = (
    "id",
    "step",
    "group",
    "env",
    "agent",
    "return",
    "success",
    "turns",
    "tokens",
    "malformed",
    "truncated",
    "max_energy",
    "action_share_a",
    "action_share_b",
    "change",
)
VARYING = ("step", "env", "agent")
"""Shown where they take several values."""
CHOICES = {"steps": "step", "groups": "group", "envs": "env", "agents": "agent"}
NAMES = {
    "weight_a": "weight under A",
    "weight_b": "weight under B",
    "credit_a": "credit under A",
    "credit_b": "credit under B",
    **TITLES,
}


def about(run: Run, listing: Listing, view: View) -> ListAbout:
    """What can be listed of a run under the settings of a view."""
    everything = listing.page(Query(), 0, listing.total, ["success", "malformed", "truncated", *CHOICES.values()])
    table, types = everything.rows, listing.page(Query(), 0, 0).rows.schema
    choices = {name: _choices(table[column]) for name, column in CHOICES.items()}
    several = {column for name, column in CHOICES.items() if len(choices[name]) > 1}
    success = table["success"]
    return ListAbout(
        total=listing.total,
        columns=[_column(column, types, several) for column in listing.columns],
        counts={
            "success": _count(success),
            "failure": _count(pc.invert(success)),
            "unknown": success.null_count,
            "malformed": _count(table["malformed"]),
            "truncated": _count(table["truncated"]),
        },
        **choices,
        measures=[ListMeasure(name=name, title=NAMES.get(name, name.replace("_", " "))) for name in MEASURES],
        references=run.references(),
        notes=listing.notes,
        computed=everything.ready,
        scheme_a=view.scheme_a,
        scheme_b=view.scheme_b,
    )


def _column(column: Column, types: pa.Schema, several: set[str]) -> ListColumn:
    found = column.source == "search"
    return ListColumn(
        name=column.name,
        title=shown(column.title),
        kind=column.kind,
        unit=column.unit,
        meaning=shown(column.meaning),
        source=column.source,
        whole=found or pa.types.is_integer(types.field(column.name).type),
        usual=column.name in USUAL and (column.name not in VARYING or column.name in several),
    )


def _choices(values: pa.ChunkedArray) -> list[ListChoice]:
    """The values of a column with their counts, in order; without those that are unknown or empty."""
    counted = pc.value_counts(values.combine_chunks())
    pairs = [(pair["values"], pair["counts"]) for pair in counted.to_pylist() if pair["values"] not in (None, "")]
    return [ListChoice(value=str(value), count=count) for value, count in sorted(pairs)[:CHOICES_MAX]]


def _count(truth: pa.ChunkedArray) -> int:
    return pc.sum(truth).as_py() or 0
