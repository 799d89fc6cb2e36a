"""Which one of the suites with an environment of its own `make test-plugin` runs, so that none stays broken unnoticed for long.

    python3 tests/plugins/which_suite.py      its name on stdout, and the reason on stderr

Every other day all suites take turns, whatever was changed, so each has run after eight days. On the days between
it is the one whose own files the last twenty commits changed; of several, one a day in turn; where they changed
none, or there is no history, all take turns on these days as well. A file that several of them use decides nothing.
Needs nothing but Python and, for the choice by commits, git.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from pathlib import Path

COMMITS = 20
OWN = {
    "lowest": ("constraints-lowest.txt", "tests/core/test_requirements.py"),
    "trl": (
        "actfocus_core/plugins/trl/*.py",
        "tests/plugins/test_trl.py",
        "tests/plugins/trl_*.py",
        "constraints-trl.txt",
    ),
    "verl": (
        "actfocus_core/plugins/verl/*.py",
        "actfocus_core/plugins/verl_ray.py",
        "tests/plugins/test_verl*.py",
        "tests/plugins/verl_*.py",
        "constraints-verl.txt",
    ),
    "vllm": ("actfocus_core/policy/vllm.py", "tests/core/test_vllm.py", "constraints-vllm.txt"),
}
"""Suite, which is that of `make test-NAME` -> the files that are its own."""


def choose(root: Path, today: date) -> tuple[str, str]:
    """A suite of OWN for the checkout ``root`` on a day, and why it is this one."""
    turn, everyone = divmod(today.toordinal(), 2)
    if everyone:
        suite = list(OWN)[turn % len(OWN)]
        return suite, f"of {', '.join(OWN)} it is this one's turn on {today}, whatever was changed"
    paths = changed(root)
    found = [
        suite
        for suite, own in OWN.items()
        if any(fnmatchcase(path, pattern) for path in paths or () for pattern in own)
    ]
    # Where nothing decides, not the suite of the day before.
    candidates = found or [*list(OWN)[len(OWN) // 2 :], *list(OWN)[: len(OWN) // 2]]
    suite = candidates[turn % len(candidates)]
    if len(found) == 1:
        return suite, f"the last {COMMITS} commits changed its files and no other's"
    why = (
        "there is no git history"
        if paths is None
        else f"the last {COMMITS} commits changed files of {' and '.join(found) or 'none'}"
    )
    return suite, f"{why}, and of {', '.join(candidates)} it is this one's turn on {today}"


def changed(root: Path) -> set[str] | None:
    """Paths under ``root`` that its last commits changed, added or deleted; None where git knows of no commit."""
    try:
        told = subprocess.run(
            [
                "git",
                "-C",
                str(root),
                "log",
                f"-{COMMITS}",
                "--format=",
                "--name-only",
                "--no-renames",
                "--relative",
                "-z",
            ],
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {path.strip("\n") for path in told.stdout.decode(errors="replace").split("\0")} - {""}


if __name__ == "__main__":
    chosen, reason = choose(Path(__file__).resolve().parents[2], datetime.now(UTC).date())
    print(f"test-plugin: {chosen}, since {reason}", file=sys.stderr)
    print(chosen)
