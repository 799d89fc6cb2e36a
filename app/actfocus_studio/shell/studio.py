"""The state that the pages of a running studio share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from actfocus_studio.data.batch_cache import BatchCache
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.data.listings import Listings
from actfocus_studio.data.scored_batches import ScoredBatches
from actfocus_studio.jobs.experiments import Experiments
from actfocus_studio.jobs.lists import Lists
from actfocus_studio.jobs.signals import Signals
from actfocus_studio.jobs.whatif.process import WhatIfProcess

PRIVATE = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""How every event of Gradio is attached: answered at once, shown nowhere."""
LATEST = {**PRIVATE, "trigger_mode": "always_last"}
"""Of several in quick succession the last one counts; by default it would be dropped while another one is answered."""


@dataclass(frozen=True)
class Studio:
    """The argument of every page's ``build`` and ``api``."""

    catalog: Catalog
    experiments: Experiments
    lessons: Sequence[Path] = ()
    """Lesson files besides the bundled ones."""
    read_only: bool = False
    """No work may be started that writes files or computes for long."""
    batches: BatchCache = field(default_factory=BatchCache)
    scored: ScoredBatches = field(default_factory=ScoredBatches)
    lists: Lists = field(default_factory=lambda: Lists(Listings()))
    """What is computed for lists of rollouts; ``lists.listings`` has the lists."""
    signals: Signals = field(default_factory=Signals)
    whatif: WhatIfProcess = field(default_factory=WhatIfProcess)
