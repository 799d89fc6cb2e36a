"""What is written for a browser or a notebook, in Chromium with axe-core: contrast and names on light and dark pages."""

import pytest

from actfocus_core.interop.exporting import Selection, export_run
from actfocus_core.reports.html import render
from actfocus_core.runs import Run

from .test_accessibility import axe, violations  # noqa: F401

pytestmark = pytest.mark.browser

NOTEBOOK = ":root { color-scheme: light dark } body { color: CanvasText; background: Canvas }"
"""The page that a notebook puts around a trajectory, in the browser's theme."""


@pytest.fixture(scope="module")
def written(runs_dir, tmp_path_factory) -> dict[str, str]:
    """The report, the exported page and the notebook's view of one run."""
    run = Run.open(runs_dir / "plain")
    page, _ = export_run(run, tmp_path_factory.mktemp("written") / "page.html", "html", Selection(limit=2))
    notebook = run.trajectories(run.steps()[-1])[0]._repr_html_()
    return {
        "report": render(run, run.steps()[-1], bootstrap=10)[0],
        "page": page.read_text(encoding="utf-8"),
        "notebook": f"<!doctype html><html lang=en><title>notebook</title><style>{NOTEBOOK}</style>{notebook}",
    }


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["report", "page", "notebook"])
def test_contrast_and_names(name, theme, page, written, axe):  # noqa: F811
    page.emulate_media(color_scheme=theme)
    page.set_content(written[name])
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert max(ground) < 40 if theme == "dark" else min(ground) == 255
    assert violations(page, axe) == []
