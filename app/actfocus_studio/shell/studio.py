"""What the pages of one running studio share."""

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
"""Characters of trajectories that are kept; one has some 40,000."""


@dataclass(frozen=True)
class Studio:
    """Handed to every page's ``build``."""

    demo: gr.Blocks
    catalog: Catalog
    controls: Controls
    experiments: Experiments
    lessons: Sequence[Path] = ()
    """Files of lessons besides our own."""
    read_only: bool = False
    """Nothing may be begun that writes, or computes for long."""
    batches: BatchCache = field(default_factory=BatchCache)
    trajectories: LruCache[str] = field(default_factory=lambda: LruCache(KEPT_MAX, len))
    """What is the same of a trajectory for all who look at it, as JSON."""
    scored: ScoredBatches = field(default_factory=ScoredBatches)
    signals: Signals = field(default_factory=Signals)
    whatif: WhatIfProcess = field(default_factory=WhatIfProcess)
