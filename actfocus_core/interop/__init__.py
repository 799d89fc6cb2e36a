"""Import of rollouts from other programs, and export of a selection of a run."""

from actfocus_core.interop.formats import FORMATS, Format, recognise
from actfocus_core.interop.head import Preview, preview
from actfocus_core.interop.importing import import_run

__all__ = ["FORMATS", "Format", "Preview", "import_run", "preview", "recognise"]
