"""Two studios to attack: one open to this machine, one behind a login and only for looking."""

from __future__ import annotations

import pytest

from actfocus_studio.main import build, serve
from tests.app.attacks.server import SECRET, Server
from tests.app.sample import make_run


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "runs").mkdir()
    make_run(folder / "runs" / "mine", prompts=1, rollouts=2)
    make_run(folder / "outside", prompts=1, rollouts=2).info["config"]["secret"] = SECRET
    (folder / "outside" / "run.json").write_text(
        (folder / "outside" / "run.json").read_text().replace('"frozen_lake"', f'"{SECRET}"')
    )
    (folder / "runs" / "note.txt").write_text(SECRET)
    (folder / "runs" / "link").symlink_to(folder / "runs" / "note.txt")
    site = build([folder / "runs" / "mine"], folder / "runs")
    studio = serve(site)
    yield Server(studio, site, folder / "runs")
    studio.close()


@pytest.fixture(scope="module")
def hosted(tmp_path_factory):
    """Behind a login, for looking only."""
    folder = tmp_path_factory.mktemp("hosted")
    make_run(folder / "mine", prompts=1, rollouts=2)
    site = build([folder / "mine"], folder, read_only=True)
    studio = serve(site, auth=("me", "secret"))
    yield Server(studio, site, folder)
    studio.close()
