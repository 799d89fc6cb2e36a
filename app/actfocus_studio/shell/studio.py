"""The state that the pages of a running studio share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr

from actfocus_studio.data.batch_cache import BatchCache
from actfocus_studio.data.cache import LruCache
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.data.scored_batches import ScoredBatches
from actfocus_studio.jobs.experiments import Experiments
from actfocus_studio.jobs.signals import Signals
from actfocus_studio.jobs.whatif.process import WhatIfProcess
from actfocus_studio.shell.controls import Controls

KEPT_MAX = 32 << 20
"""Size of the cache of trajectories, in characters; one has about 40,000."""


@dataclass(frozen=True)
class Studio:
    """The argument of every page's ``build``."""

    demo: gr.Blocks
    catalog: Catalog
    controls: Controls
    experiments: Experiments
    lessons: Sequence[Path] = ()
    """Lesson files besides the bundled ones."""
    read_only: bool = False
    """No work may be started that writes files or computes for long."""
    batches: BatchCache = field(default_factory=BatchCache)
    trajectories: LruCache[str] = field(default_factory=lambda: LruCache(KEPT_MAX, len))
    """The JSON of trajectories that does not depend on the view."""
    scored: ScoredBatches = field(default_factory=ScoredBatches)
    signals: Signals = field(default_factory=Signals)
    whatif: WhatIfProcess = field(default_factory=WhatIfProcess)
