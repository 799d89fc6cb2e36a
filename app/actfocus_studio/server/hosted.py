"""The studio on a host of many, such as a Space: ``python -m actfocus_studio.server.hosted``; docs/hosting.md.

It is configured by environment variables, requires a login, and is read-only by default.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from actfocus_core.errors import ActFocusError


def settings(variables: Mapping[str, str]) -> dict:
    """The arguments of ``actfocus_studio.main.launch``. Raises ActFocusError if a variable is missing or invalid."""
    user, colon, password = variables.get("ACTFOCUS_AUTH", "").partition(":")
    if not (user and colon and password):
        raise ActFocusError("ACTFOCUS_AUTH: must be USER:PASSWORD; a hosted studio asks for a login")
    port = variables.get("PORT", "7860")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ActFocusError(f"PORT={port!r}: must be a number from 1 to 65535")
    return {
        "runs": _paths(variables, "ACTFOCUS_RUNS"),
        "lessons": _paths(variables, "ACTFOCUS_LESSONS"),
        "host": "0.0.0.0",
        "port": int(port),
        "open_browser": False,
        "auth": (user, password),
        "read_only": variables.get("ACTFOCUS_WRITABLE") != "1",
    }


def _paths(variables: Mapping[str, str], name: str) -> list[Path]:
    paths = [Path(part) for part in variables.get(name, "").split(os.pathsep) if part]
    for path in paths:
        if not path.exists():
            raise ActFocusError(f"{name}: there is no {path}")
    return paths


def main() -> None:
    try:
        from actfocus_studio.main import launch

        launch(**settings(os.environ))
    except ActFocusError as error:
        sys.exit(f"actfocus: {error}")


if __name__ == "__main__":
    main()
