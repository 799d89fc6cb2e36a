"""One studio for all browser tests: it is started once, on a free port."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from actfocus_core.paths import assets
from actfocus_core.runs import Run
from tests import machine
from tests.app.pages import ORDINARY_MS, Studio
from tests.app.sample import make_run

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]
# Ten turns at the paper's limit of 400 tokens make a trajectory of 4,000.
LONG = {"words": 380, "size": 8, "frozen": 1.0, "max_turns": 10, "max_actions": 20}


@pytest.fixture(scope="session")
def runs_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_run(folder / "plain", prompts=6, rollouts=4, steps=2)
    make_run(folder / "unscored", prompts=2, scored=False)
    make_run(folder / "hostile", prompts=2, hostile=True)
    make_run(folder / "long", prompts=3, rollouts=2, **LONG)
    for task, options in (("sokoban", {}), ("sudoku", {}), ("webshop", {"departments": ["fashion"]})):
        make_run(folder / f"scripted-{task}", prompts=2, rollouts=2, task=task, **options)
    (folder / "broken").mkdir()
    (folder / "broken" / "run.json").write_text("{not json", encoding="utf-8")
    return folder


@pytest.fixture(scope="session", autouse=True)
def lists_cache(tmp_path_factory) -> Path:
    """Where the studio keeps what it computes for lists of rollouts, apart from the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actfocus_studio.data.listings.user_cache", lambda: folder)
        yield folder


@pytest.fixture(scope="session")
def sampled_run(runs_dir) -> Run:
    """A run of the studio that was sampled by a real policy; it has no stored answers of the What-if panel."""
    path = runs_dir / "sampled-lake"
    shutil.copytree(assets() / "runs" / "frozen-lake", path, ignore=shutil.ignore_patterns("whatif"))
    return Run.open(path)


@pytest.fixture(scope="session")
def studio(runs_dir) -> str:
    """The address of a running studio over ``runs_dir``; its first run is ``plain``."""
    from actfocus_studio.main import build, serve

    server = serve(build([runs_dir / "plain"], runs_dir))
    yield server.local_url.rstrip("/")
    server.close()


@pytest.fixture(scope="session")
def chromium():
    """A Chromium. Where there is none the session ends: these tests are not optional."""
    from playwright.sync_api import sync_playwright

    path = machine.chromium()
    if path is None:
        pytest.exit(f"no Chromium here; {machine.HOW}", returncode=2)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, studio):
    """A page that may neither raise an error nor send a request to any other host."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    page = context.new_page()
    errors, urls = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "in watch callback" in message.text else None)
    page.on("request", lambda request: urls.append(request.url))
    page.set_default_timeout(ORDINARY_MS)
    yield page
    context.close()
    assert not errors
    assert [url for url in urls if not url.startswith((studio, "data:", "blob:"))] == []


@pytest.fixture
def app(page, studio) -> Studio:
    """The studio in ``page``."""
    return Studio(page, studio)
