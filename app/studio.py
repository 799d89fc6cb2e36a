"""What the pages of one running studio share."""

from __future__ import annotations

from dataclasses import dataclass, field

import gradio as gr

from app.batch import BatchCache
from app.catalog import Catalog
from app.frame.controls import Controls


@dataclass(frozen=True)
class Studio:
    """Handed to every page's ``build``."""

    demo: gr.Blocks
    catalog: Catalog
    controls: Controls
    batches: BatchCache = field(default_factory=BatchCache)
