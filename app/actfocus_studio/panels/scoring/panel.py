"""The dialog that scores a run with a reference model."""

from __future__ import annotations

from actfocus_studio.shell.components import ClientHTML


def build() -> None:
    """Add the dialog, which its script builds."""
    ClientHTML("panels/scoring/panel.js", elem_id="af-scoring")
