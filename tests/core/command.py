"""The ``actfocus`` command within the tests' own process: what it prints, and its exit code."""

import contextlib
import io
import sys
from dataclasses import dataclass
from unittest.mock import patch

from actfocus_core.cli import main


@dataclass(frozen=True)
class Result:
    returncode: int
    stdout: str
    stderr: str


def actfocus(*arguments, cwd: str | None = None) -> Result:
    """Only the arguments, the folder and the streams differ from a process of its own."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["actfocus", *map(str, arguments)]),
        contextlib.chdir(cwd or "."),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            return Result(int(end.code or 0), out.getvalue(), err.getvalue())
