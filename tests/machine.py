"""What the tests need beside Python: a Chromium, and node.

    python -m tests.machine      installs what is missing where it can, or says in one line what to install, and ends with 2

Chromium: ``CHROMIUM``, else one of the system's, else the one of Playwright. Node: the system's, else the one that Playwright's
package brings with it, so it is never missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SYSTEMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW = "install Chromium (Debian: apt install chromium), or set CHROMIUM to the path of a Chromium or Chrome"


def chromium() -> str | None:
    """The path of a Chromium that can be started; None where there is none."""
    given = os.environ.get("CHROMIUM")
    if given:
        return shutil.which(given)
    found = next(filter(None, map(shutil.which, SYSTEMS)), None)
    return found or _of_playwright()


def node() -> str:
    """The path of node."""
    import playwright

    own = Path(playwright.__file__).parent / "driver" / "node"
    return shutil.which("node") or str(own)


def _of_playwright() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        path = started.chromium.executable_path
    return path if os.access(path, os.X_OK) else None


def install() -> bool:
    """Whether a Chromium could be installed: Debian's package as root, else the browser that Playwright downloads."""
    ways = []
    if shutil.which("apt-get") and os.getuid() == 0:
        ways.append(
            [["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]]
        )
    ways.append([[sys.executable, "-m", "playwright", "install", "chromium"]])
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for commands in ways:
        if (
            all(subprocess.run(command, env=quiet, capture_output=True).returncode == 0 for command in commands)
            and chromium()
        ):
            return True
    return False


def main() -> None:
    if chromium():
        return
    given = os.environ.get("CHROMIUM")
    if given or not install():
        what = (
            f"CHROMIUM is {given!r}, which is no program"
            if given
            else "there is no Chromium, and none could be installed"
        )
        print(f"tests: {what}; {HOW}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
