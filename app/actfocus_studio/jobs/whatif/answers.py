"""The answers that are kept: in their run, or for as long as the studio runs."""

from __future__ import annotations

from actfocus_core.counterfactual import store as whatif
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run, stamp
from actfocus_studio.data.cache import LruCache
from actfocus_studio.jobs.whatif.process import WhatIfProcess

LISTED = 50


class Answers:
    """What-ifs of runs, read where the process put them."""

    def __init__(self, process: WhatIfProcess):
        self._process = process
        self._latest: LruCache[whatif.WhatIf] = LruCache(4)

    def listing(self, run: Run) -> list[dict]:
        """The run's what-ifs, the newest first, and those that could not be kept in it."""
        spare = self._process.spare(run)
        rows = [{**row, "kept": True} for row in whatif.listing(run)]
        rows += [{**row, "kept": False} for row in whatif.listing(run, spare)] if spare.is_dir() else []
        return sorted(rows, key=lambda row: row["created"], reverse=True)[:LISTED]

    def load(self, run: Run, id: object) -> tuple[whatif.WhatIf, bool]:
        """The what-if, or what is known of it, and whether it is or will be kept in the run.

        Raises ActFocusError where there is none of that id.
        """
        if not isinstance(id, str) or not whatif.is_id(id):
            raise ActFocusError(
                "the what-if in the address is none: it reads replay-, branch- or edit- and twelve digits"
            )
        for folder, kept in (
            (run.path / "whatif", True),
            (self._process.spare(run), False),
            (self._process.first(run), True),
        ):
            file = folder / f"{id}.json"
            if file.is_file():
                return self._latest.get((file, stamp(file)), lambda: whatif.load(run, id, folder)), kept  # noqa: B023
        return whatif.load(run, id), True
