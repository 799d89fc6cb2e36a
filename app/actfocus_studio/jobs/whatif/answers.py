"""Stored results of what-ifs: in the folder of their run, or in a temporary folder of the studio."""

from __future__ import annotations

from actfocus_core.counterfactual import store as whatif
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run, stamp
from actfocus_studio.data.cache import LruCache
from actfocus_studio.jobs.whatif.process import WhatIfProcess

LISTED = 50
"""Largest number of results in a listing."""


class Answers:
    """Reads the results that the process stored. The latest ones are cached."""

    def __init__(self, process: WhatIfProcess):
        self._process = process
        self._latest: LruCache[whatif.WhatIf] = LruCache(4)

    def listing(self, run: Run) -> list[dict]:
        """``id, kind, created, request, kept`` of the run's what-ifs, newest first, including temporary ones."""
        spare = self._process.spare(run)
        rows = [{**row, "kept": True} for row in whatif.listing(run)]
        rows += [{**row, "kept": False} for row in whatif.listing(run, spare)] if spare.is_dir() else []
        return sorted(rows, key=lambda row: row["created"], reverse=True)[:LISTED]

    def load(self, run: Run, id: str) -> tuple[whatif.WhatIf, bool]:
        """A what-if, and whether it is stored in the run's folder.

        While its computation is running it may be a partial result, which counts as stored. Raises ActFocusError for an
        unknown id.
        """
        if not whatif.is_id(id):
            raise ActFocusError(
                "invalid what-if id in the address; it must be replay-, branch- or edit- followed by twelve digits"
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
