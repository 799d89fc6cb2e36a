"""The import and export drawer: import a file, check a run, export a selection."""

from __future__ import annotations

from actfocus_core.interop import FORMATS
from actfocus_core.spans import RULES
from actfocus_studio.data.serialize import dump
from actfocus_studio.panels.import_export.job import EXPORTS, PARTS, PATTERN_MAX, ImportExport
from actfocus_studio.server.uploads import RECEIVE, UPLOAD_MAX
from actfocus_studio.shell.components import Ask, PageView
from actfocus_studio.shell.requests import PRIVATE, answer


def import_export_panel(job: ImportExport) -> None:
    """Add the drawer. Its script builds it; requests and answers are small JSON strings."""
    PageView(
        "drawer",
        menu=dump(
            {
                "formats": [format.title for format in FORMATS.values()],
                "rules": list(RULES),
                "exports": list(EXPORTS.items()),
                "parts": list(PARTS.items()),
                "pattern_max": PATTERN_MAX,
                "upload_max": UPLOAD_MAX,
                "receive": RECEIVE[1:],
            }
        ),
    )
    channel = Ask("drawer")
    channel.ask(lambda text: answer(text, job.handle), [channel], [channel], trigger_mode="multiple", **PRIVATE)
