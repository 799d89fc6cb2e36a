"""The import and export drawer: import a file, check a run, export a selection."""

from __future__ import annotations

from actfocus_core.interop import FORMATS
from actfocus_core.interop.items import AUTO
from actfocus_core.spans import RULES
from actfocus_studio.panels.import_export.job import EXPORTS, PARTS
from actfocus_studio.panels.import_export.preview import PATTERN_MAX
from actfocus_studio.server.uploads import RECEIVE, UPLOAD_MAX
from actfocus_studio.shell.components import ClientHTML


def build() -> None:
    """Add the drawer, which its script builds."""
    ClientHTML(
        "panels/import_export/panel.js",
        elem_id="af-drawer",
        menu={
            "formats": [format.title for format in FORMATS.values()],
            "rules": [AUTO, *RULES],
            "exports": list(EXPORTS.items()),
            "parts": list(PARTS.items()),
            "pattern_max": PATTERN_MAX,
            "upload_max": UPLOAD_MAX,
            "receive": RECEIVE[1:],
        },
    )
