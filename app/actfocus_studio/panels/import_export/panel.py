"""The import and export drawer: a file in, the doctor's report, a selection out."""

from __future__ import annotations

from actfocus_core.interop import FORMATS
from actfocus_core.spans import RULES
from actfocus_studio.data.serialize import dump
from actfocus_studio.panels.import_export.job import EXPORTS, PARTS, PATTERN_MAX, ImportExport
from actfocus_studio.server.uploads import RECEIVE, UPLOAD_MAX
from actfocus_studio.shell.components import Ask, PageView
from actfocus_studio.shell.requests import PRIVATE, answer


def import_export_panel(job: ImportExport) -> None:
    """Build the drawer; requests and answers are small JSON strings."""
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
    asked = Ask("drawer")
    asked.ask(lambda text: answer(text, job.handle), [asked], [asked], trigger_mode="multiple", **PRIVATE)
