"""Where a trajectory stands in the list of rollouts of a view, which J and K step through."""

from __future__ import annotations

from actfocus_core.listing import Listing
from actfocus_core.listing.query import Query
from actfocus_core.runs import Run
from actfocus_studio.data.listings import Asked, asked
from actfocus_studio.data.message import Message
from actfocus_studio.data.view import View
from actfocus_studio.shell.studio import Studio


class ListPlace(Message):
    """A trajectory among the rollouts that the view lists."""

    position: int | None
    """None where it is not among them."""
    total: int
    previous: str | None
    next: str | None
    hit: int | None
    """The token at which its first hit begins, where the list is the result of a search"""
    sort: str
    """The title of the column that orders the list, or empty."""


def first_listed(studio: Studio, run: Run, view: View) -> View:
    """A view that names no trajectory, with the first one of its list; any other view as it is."""
    if view.trajectory or view.step is not None or not view.lists:
        return view
    listing, found = _asked(studio, run, view)
    first = listing.page(found.query, 0, 1, []).ids if found.query else []
    return view.model_copy(update={"trajectory": first[0]}) if first else view


def place_in_list(studio: Studio, run: Run, view: View, id: str) -> tuple[ListPlace | None, list[str]]:
    """The place of a trajectory in the list of a view, and what is wrong with the list; None where it is that of the run."""
    if not view.lists:
        return None, []
    listing, found = _asked(studio, run, view)
    notes = [f"The list of rollouts: {line}." for line in (found.where, found.search, *found.notes) if line]
    if found.need:
        notes.append("The list of rollouts is not computed yet; the Rollouts tab computes it.")
    if found.query is None:
        return None, notes
    at = listing.place(found.query, id)
    total = listing.page(found.query, 0, 0, []).total
    return ListPlace(
        position=at,
        total=total,
        previous=_id(listing, found.query, at - 1) if at else None,
        next=_id(listing, found.query, 0 if at is None else at + 1),
        hit=_hit(listing, found.query, at),
        sort=next((column.title for column in listing.columns if column.name == found.query.sort), ""),
    ), notes


def _asked(studio: Studio, run: Run, view: View) -> tuple[Listing, Asked]:
    listing = studio.lists.listings.get(run, view)
    return listing, asked(listing, view)


def _id(listing: Listing, query: Query, place: int) -> str | None:
    return next(iter(listing.page(query, place, 1, []).ids), None)


def _hit(listing: Listing, query: Query, place: int | None) -> int | None:
    """The token at which the first hit of a rollout begins."""
    if place is None or query.search is None:
        return None
    return listing.page(query, place, 1, ["first_hit"]).rows["first_hit"][0].as_py()
