"""`actfocus list`: the rollouts of a run, filtered, sorted and searched, and its highest tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from actfocus_core.cli.base import app
from actfocus_core.cli.options import Alpha, Beta, ProgressMode, Reference, RunArgument, names_in
from actfocus_core.cli.show import progress_bars
from actfocus_core.errors import ActFocusError

if TYPE_CHECKING:
    from actfocus_core.listing import Listing, Query, Setting

LIMIT = 20
"""Rows of a table by default."""


@app.command("list")
def list_(
    run: RunArgument,
    where: Annotated[
        str,
        typer.Option(
            help='Only rollouts for which this is true, for instance \'success == false and tokens > 800\', env in ("a", "b"), '
            'group ~ "00012.*", not truncated, success is unknown, contains(action, "Up").',
            show_default="all",
        ),
    ] = "",
    search: Annotated[
        str | None, typer.Option(help="Only rollouts whose text has this in it.", show_default=False)
    ] = None,
    regex: Annotated[bool, typer.Option("--regex", help="--search is a regular expression (RE2).")] = False,
    ignore_case: Annotated[bool, typer.Option("--ignore-case", help="--search ignores upper and lower case.")] = False,
    kind: Annotated[
        Literal["reasoning", "action", "observation", "format"] | None,
        typer.Option(help="--search or --tokens only in tokens of this kind.", show_default="all"),
    ] = None,
    sort: Annotated[str, typer.Option(help="Column to sort by.", show_default="the order of the run")] = "",
    descending: Annotated[
        bool | None,
        typer.Option(
            "--descending/--ascending", help="Direction.", show_default="the highest number first, text from a to z"
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Comma-separated columns to show, or all; --explain names them.", show_default="what fits"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help="Rows at most; 0: all.", show_default=f"{LIMIT}, with --json all")
    ] = None,
    scheme: Annotated[
        str, typer.Option(help="Scheme A: NAME, or NAME,PARAMETER=VALUE,...; see `actfocus credit`.")
    ] = "actfocus",
    against: Annotated[str, typer.Option(help="Scheme B, which `change` compares with A.")] = "uniform",
    alpha: Alpha = None,
    beta: Beta = None,
    signal: Annotated[str | None, typer.Option(help="Signal of A.", show_default="the scheme's default")] = None,
    reference: Reference = None,
    tokens: Annotated[
        str | None,
        typer.Option(
            help="Instead list the tokens with the highest value of this signal, weight_a, weight_b, credit_a or credit_b.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="With --tokens: how many.")] = 20,
    lowest: Annotated[bool, typer.Option("--lowest", help="With --tokens: the lowest.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Print what the columns mean.")] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Keep nothing in the user's cache folder.")] = False,
    progress: ProgressMode = "bar",
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List the rollouts of a run: filter, sort, search their texts, and see what a credit scheme changes most."""
    from actfocus_core.cli.listing_tables import print_columns, print_page, print_tokens
    from actfocus_core.listing import Cache, Listing, Query, Search
    from actfocus_core.listing.query import TEXT_KINDS
    from actfocus_core.runs import Run

    opened = Run.open(run)
    a = _setting(scheme, {"alpha": alpha, "beta": beta, "signal": signal})
    listing = Listing(opened, a, _setting(against, {}), reference, Cache(None) if no_cache else None)
    if explain:
        return print_columns(listing.columns, json_)
    if search is None and (regex or ignore_case):
        raise ActFocusError(f"list: {'--regex' if regex else '--ignore-case'} needs --search")
    if search is not None and tokens is None and kind is not None and kind not in TEXT_KINDS:
        raise ActFocusError(f"list: --kind {kind}: a search looks into {', '.join(TEXT_KINDS)}")
    if kind is not None and search is None and tokens is None:
        raise ActFocusError("list: --kind needs --search or --tokens")
    found = Search(search, regex, ignore_case, None if tokens else kind) if search is not None else None
    query = _directed(listing, Query(where, found, sort), descending)
    shown = _shown(listing, query, columns, json_)
    with progress_bars(progress) as show:
        _prepare(listing, query, shown, show)
        if tokens:
            extremes = listing.extremes(
                tokens, top=top, lowest=lowest, kind=kind, query=query, on_progress=show(tokens)
            )
    if tokens:
        return print_tokens(tokens, extremes, lowest, json_)
    rows = limit if limit is not None else None if json_ else LIMIT
    print_page(listing.page(query, 0, rows or listing.total, shown), listing, columns is not None, json_)


def _setting(text: str, params: dict[str, Any]) -> Setting:
    """A scheme with the parameters of options that were given."""
    from actfocus_core.listing import Setting

    setting = Setting.parse(text)
    return Setting(
        setting.scheme, setting.params | {name: value for name, value in params.items() if value is not None}
    )


def _directed(listing: Listing, query: Query, descending: bool | None) -> Query:
    """The query with the direction, which by default depends on the column."""
    from dataclasses import replace

    if descending is None:
        descending = any(c.name == query.sort and c.kind == "number" for c in listing.columns)
    return replace(query, descending=descending)


def _shown(listing: Listing, query: Query, columns: str | None, as_json: bool) -> list[str]:
    """The names of the columns to show."""
    there = [c.name for c in listing.columns if c.source != "search" or query.search is not None]
    if columns is not None:
        return there if columns.strip() == "all" else names_in(columns)
    if as_json:
        # What is not computed for the query is not computed for a column that nobody asked for.
        computed = "values" in listing.needs(query) or listing.computed
        return [c.name for c in listing.columns if c.name in there and (c.source != "computed" or computed)]
    from actfocus_core.cli.listing_tables import USUAL

    names = [name for name in USUAL if name in there]
    return list(
        dict.fromkeys(["id", *(["hits"] if query.search else []), *([query.sort] if query.sort else []), *names])
    )


def _prepare(listing: Listing, query: Query, columns: list[str], show: Any) -> None:
    """Compute what the answer needs."""
    needs = listing.needs(query, columns)
    if "values" in needs:
        listing.compute(show("compute"))
    if "text" in needs:
        listing.index_text(show("index"))
