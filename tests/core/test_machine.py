"""What is missing on a machine is said in one line, before any test runs."""

import os
import subprocess
import sys
from pathlib import Path

from tests import machine


def prepare(**variables) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "tests.machine"],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        cwd=Path(__file__).parents[2],
    )


def test_a_machine_with_a_browser_and_node_is_ready():
    done = prepare()
    assert (done.returncode, done.stderr) == (0, "")
    node = subprocess.run([machine.node(), "-e", "console.log(6 * 7)"], capture_output=True, text=True)
    assert node.stdout == "42\n"


def test_a_machine_without_one_says_what_to_install(tmp_path):
    """Neither Debian's package nor Playwright's browser can be had."""
    nowhere = {"PLAYWRIGHT_DOWNLOAD_HOST": "http://127.0.0.1:9", "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path)}
    for variables in ({"CHROMIUM": "/nowhere/chromium"}, {"PATH": str(tmp_path), "CHROMIUM": "", **nowhere}):
        done = prepare(**variables)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "apt install chromium" in done.stderr


def test_node_is_there_without_the_systems(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert subprocess.run([machine.node(), "-e", "process.exit(7)"]).returncode == 7
