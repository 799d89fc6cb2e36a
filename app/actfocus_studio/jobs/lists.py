"""What a list of rollouts needs computed, in a separate process: columns, the index of the texts, the highest tokens."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

from actfocus_core.errors import ActFocusError
from actfocus_core.listing import Listing
from actfocus_core.runs import Run
from actfocus_studio.data.listings import Listings
from actfocus_studio.data.view import View
from actfocus_studio.jobs.worker import READ_ONLY, Status, Worker

WORKER = "actfocus_studio.jobs.list_worker"
TOP = 200
"""Tokens that are listed."""
KEPT = 32
"""Answers of highest tokens that are kept."""


class Lists(Worker):
    """At most one running computation for lists of rollouts, and the highest tokens that were found."""

    def __init__(self, listings: Listings, read_only: bool = False):
        super().__init__(
            "a list is already being computed, possibly started from another page; wait for that or cancel it"
        )
        self.listings, self.read_only = listings, read_only
        self._asked: tuple | None = None
        self._tokens: OrderedDict[tuple, dict[str, Any]] = OrderedDict()

    def begin(self, run: Run, name: str, view: View, what: str) -> Status:
        """Compute ``what``, one of NEEDS or ``tokens``, for the list of a view.

        Raises ActFocusError while another computation runs, and in a read-only studio.
        """
        if self.read_only:
            raise ActFocusError(READ_ONLY)
        request = {
            "run": str(run.path.resolve()),
            "view": view.model_dump(),
            "what": what,
            "folder": str(self.listings.folder),
            "top": TOP,
        }
        key = tokens_key(self.listings.get(run, view), view)
        status = self.launch([json.dumps(request)], None, name, module=WORKER)
        self._asked = (status.id, key)
        return status

    def tokens(self, listing: Listing, view: View) -> dict[str, Any] | None:
        """The highest tokens of a view, if they were computed: name of a column -> values."""
        return self._tokens.get(tokens_key(listing, view))

    def _ended(self, status: Status, result: dict | None) -> None:
        """Keep what was found, and let the lists read what was stored."""
        asked = self._asked
        if result and "value" in result and asked and asked[0] == status.id:
            self._tokens[asked[1]] = result
            while len(self._tokens) > KEPT:
                self._tokens.popitem(last=False)
        self.listings.forget()


def tokens_key(listing: Listing, view: View) -> tuple:
    """Equal where the same tokens are asked for."""
    files = tuple((str(file), mark) for file, mark in listing.files)
    filters = (view.where, view.only, view.in_step, view.in_group, view.in_env, view.in_agent)
    searched = (view.search, view.regex, view.case, view.within)
    asked = (view.extreme, view.end, view.token_kind)
    return (files, listing.a.key, listing.b.key, listing.reference, *filters, *searched, *asked)
