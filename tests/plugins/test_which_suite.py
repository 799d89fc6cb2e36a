"""The choice of the one suite that .ci/run runs besides `make test`, on real git histories."""

import os
import re
import subprocess
import sys
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests.plugins.which_suite import OWN, choose

HOUSE = Path(__file__).parents[2]
DAYS = [date(2026, 2, 27) + timedelta(days=n) for n in range(8)]
BY_CHANGE = [day for day in DAYS if day.toordinal() % 2 == 0]
ENOUGH = 20


@pytest.fixture
def commit(tmp_path):
    """A commit to a repository of its own, in which these files have other content, or are gone."""
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_CEILING_DIRECTORIES": str(tmp_path)}

    def git(*args):
        subprocess.run(
            ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *args],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            env=os.environ | alone,
        )

    def make(*paths, times=1, gone=False):
        for n in range(times):
            for path in paths:
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).unlink() if gone else (tmp_path / path).write_bytes(os.urandom(8))
            git("add", "--all")
            git("commit", "--quiet", "--message", f"{n}")

    git("init", "--quiet")
    return make


def on(root: Path, days: list[date] = BY_CHANGE) -> list[str]:
    return [choose(root, day)[0] for day in days]


@pytest.mark.parametrize(
    ("path", "suite"),
    [
        ("actfocus_core/plugins/trl/mirror.py", "trl"),
        ("actfocus_core/plugins/trl/__init__.py", "trl"),
        ("tests/plugins/trl_run.py", "trl"),
        ("constraints-trl.txt", "trl"),
        ("actfocus_core/plugins/verl/batch.py", "verl"),
        ("actfocus_core/plugins/verl_ray.py", "verl"),
        ("tests/plugins/verl_worker.py", "verl"),
        ("tests/plugins/test_verl.py", "verl"),
        ("actfocus_core/policy/vllm.py", "vllm"),
        ("tests/core/test_vllm.py", "vllm"),
        ("constraints-lowest.txt", "lowest"),
    ],
)
def test_the_suite_whose_files_changed_is_run_every_other_day_until_twenty_commits_later(path, suite, commit, tmp_path):
    commit("README.md")
    commit(path, "actfocus_core/policy/tiny_cpu/forward.py")
    commit("a name with a\nbreak and ümlaut", "actfocus_core/train/ppo.py", times=ENOUGH - 1)
    assert on(tmp_path) == [suite] * 4
    assert "changed its files and no other's" in choose(tmp_path, BY_CHANGE[0])[1]
    commit("README.md")
    assert sorted(on(tmp_path)) == sorted(OWN)


def test_on_the_days_between_every_suite_has_its_turn_whatever_was_changed(commit, tmp_path):
    commit("constraints-trl.txt")
    between = [day for day in DAYS if day not in BY_CHANGE]
    assert sorted(on(tmp_path, between)) == sorted(OWN)
    assert "whatever was changed" in choose(tmp_path, between[0])[1]


def test_a_deleted_file_counts_and_one_that_is_moved_away_too(commit, tmp_path):
    commit("constraints-verl.txt")
    commit("README.md", times=ENOUGH)
    commit("constraints-verl.txt", gone=True)
    assert on(tmp_path) == ["verl"] * 4


def test_of_several_that_changed_each_has_its_day(commit, tmp_path):
    commit("README.md")
    commit("actfocus_core/plugins/verl/losses.py", times=3)
    commit("tests/core/test_vllm.py")
    assert sorted(on(tmp_path)) == ["verl"] * 2 + ["vllm"] * 2
    assert "files of verl and vllm" in choose(tmp_path, BY_CHANGE[0])[1]


def test_files_that_several_use_decide_nothing(commit, tmp_path):
    commit(
        "actfocus_core/policy/tiny_cpu/forward.py",
        "actfocus_core/plugins/batch.py",
        "actfocus_core/plugins/signatures.py",
        "actfocus_core/plugins/mirror.py",
        "tests/plugins/test_signatures.py",
        "actfocus_core/interop/formats/trl.py",
        "docs/verl.md",
        "old/constraints-trl.txt",
        "pyproject.toml",
    )
    assert set(on(tmp_path)) == set(OWN) and "files of none" in choose(tmp_path, BY_CHANGE[0])[1]


@pytest.mark.parametrize("git", ["no repository", "no commit", "no program"])
def test_without_a_history_they_take_turns(git, tmp_path, monkeypatch):
    if git == "no commit":
        subprocess.run(["git", "init", "--quiet", tmp_path], check=True, capture_output=True)
    if git == "no program":
        monkeypatch.setenv("PATH", str(tmp_path))
    assert sorted(on(tmp_path, DAYS)) == sorted([*OWN, *OWN])
    assert all(a != b for a, b in pairwise(on(tmp_path, DAYS)))
    assert "there is no git history" in choose(tmp_path, BY_CHANGE[0])[1]


def test_the_makefile_runs_what_the_script_prints_and_says_why():
    ran = subprocess.run(
        [sys.executable, HOUSE / "tests/plugins/which_suite.py"], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() in OWN and ran.stderr.startswith(f"test-plugin: {ran.stdout.strip()}, since ")
    makefile = (HOUSE / "Makefile").read_text()
    assert all(f"\ntest-{suite}: .venv-{suite}/.ready\n" in makefile for suite in OWN)
    dry = subprocess.run(
        ["make", "--dry-run", "test-plugin"], cwd=HOUSE, capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r"\.venv-(lowest|trl|verl|vllm)/bin/python -m pytest", dry)
    # Every pattern is of a file that is there.
    for suite, patterns in OWN.items():
        for pattern in patterns:
            assert list(HOUSE.glob(pattern)), (suite, pattern)
