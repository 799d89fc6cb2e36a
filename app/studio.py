"""What the pages of one running studio share."""

from __future__ import annotations

from dataclasses import dataclass, field

import gradio as gr

from app.batch import BatchCache
from app.catalog import Catalog
from app.compare.credits import Batches
from app.frame.controls import Controls
from app.jobs import Signals
from app.latest import Latest
from app.learn.lessons import Lesson
from app.races import Races
from app.whatif.process import WhatIfProcess

KEPT_MAX = 32 << 20
"""Characters of trajectories that are kept; one has some 40,000."""


@dataclass(frozen=True)
class Studio:
    """Handed to every page's ``build``."""

    demo: gr.Blocks
    catalog: Catalog
    controls: Controls
    races: Races
    lessons: dict[str, Lesson] = field(default_factory=dict)
    read_only: bool = False
    """Nothing may be begun that writes, or computes for long."""
    batches: BatchCache = field(default_factory=BatchCache)
    trajectories: Latest[str] = field(default_factory=lambda: Latest(KEPT_MAX, len))
    """What is the same of a trajectory for all who look at it, as JSON."""
    compared: Batches = field(default_factory=Batches)
    signals: Signals = field(default_factory=Signals)
    whatif: WhatIfProcess = field(default_factory=WhatIfProcess)
