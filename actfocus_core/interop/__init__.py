"""Other programs' rollouts: reading them into a run, writing a selection of a run for others."""

from actfocus_core.interop.formats import FORMATS, Format, recognise
from actfocus_core.interop.importing import import_run

__all__ = ["FORMATS", "Format", "import_run", "recognise"]
