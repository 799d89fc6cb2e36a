"""What the pages of one running studio share."""

from __future__ import annotations

from dataclasses import dataclass, field

import gradio as gr

from actfocus_studio.data.batch_cache import BatchCache
from actfocus_studio.data.cache import LruCache
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.jobs.experiments import Experiments
from actfocus_studio.jobs.rollouts import Signals
from actfocus_studio.jobs.whatif.process import WhatIfProcess
from actfocus_studio.pages.compare.credits import Batches
from actfocus_studio.pages.learn.lessons import Lesson
from actfocus_studio.shell.controls import Controls

KEPT_MAX = 32 << 20
"""Characters of trajectories that are kept; one has some 40,000."""


@dataclass(frozen=True)
class Studio:
    """Handed to every page's ``build``."""

    demo: gr.Blocks
    catalog: Catalog
    controls: Controls
    races: Experiments
    lessons: dict[str, Lesson] = field(default_factory=dict)
    read_only: bool = False
    """Nothing may be begun that writes, or computes for long."""
    batches: BatchCache = field(default_factory=BatchCache)
    trajectories: LruCache[str] = field(default_factory=lambda: LruCache(KEPT_MAX, len))
    """What is the same of a trajectory for all who look at it, as JSON."""
    compared: Batches = field(default_factory=Batches)
    signals: Signals = field(default_factory=Signals)
    whatif: WhatIfProcess = field(default_factory=WhatIfProcess)
