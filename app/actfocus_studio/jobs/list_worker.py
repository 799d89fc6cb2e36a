"""The process of ``Lists``: ``python -m actfocus_studio.jobs.list_worker REQUEST``, a JSON object.

Progress is one JSON object a line on stderr, as by ``actfocus --progress jsonl``; the result is one on stdout. Columns and the
index of the texts are stored in the cache folder of the request, where the studio reads them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.listing import Listing
from actfocus_core.processes import interrupt_on_termination_signals
from actfocus_core.runs import Run
from actfocus_core.trajectory import TokenKind
from actfocus_studio.data.listings import Listings, asked, compute
from actfocus_studio.data.view import View


def main(text: str) -> int:
    """Answer a request; the exit code."""
    interrupt_on_termination_signals()
    request = json.loads(text)
    view = View.parse(request["view"])
    try:
        listing = Listings(Path(request["folder"])).get(Run.open(request["run"]), view)
        what = request["what"]
        if what == "tokens":
            print(json.dumps(_tokens(listing, view, request["top"])))
        else:
            compute(listing, what, _progress(what))
            print(json.dumps({what: listing.total}))
    except ActFocusError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _tokens(listing: Listing, view: View, top: int) -> dict[str, list]:
    """The highest or lowest tokens of the rollouts that a view lists; name of a column -> values."""
    # In any order: the extremes do not depend on it.
    unordered = view.model_copy(update={"sort": ""})
    wanted = asked(listing, unordered)
    while wanted.need:
        compute(listing, wanted.need, _progress(wanted.need))
        wanted = asked(listing, unordered)
    if wanted.query is None:
        raise ActFocusError(wanted.where or wanted.search)
    found = listing.extremes(
        view.extreme,
        top=top,
        lowest=view.end == "low",
        kind=view.token_kind or None,
        query=wanted.query,
        on_progress=_progress("tokens"),
    )
    return {
        "value": [token.value for token in found],
        "text": [token.text for token in found],
        "kind": [int(TokenKind[token.kind.upper()]) for token in found],
        "rollout": [token.id for token in found],
        "turn": [token.turn for token in found],
        "token": [token.token for token in found],
    }


def _progress(phase: str) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        print(json.dumps({"phase": phase, "done": done, "total": total}), file=sys.stderr, flush=True)

    return report


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
