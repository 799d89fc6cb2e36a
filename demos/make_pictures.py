"""Make the screenshots of the README in assets/pictures: python demos/make_pictures.py

Starts the studio on the sample runs and takes screenshots in the system's Chromium.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from actfocus_core.paths import assets
from actfocus_studio.main import build, serve

PICTURES = {"trace-light": "light", "trace-dark": "dark"}
READY = "performance.getEntriesByName('trajectory painted').length"


def main() -> None:
    folder = assets() / "pictures"
    folder.mkdir(exist_ok=True)
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as runs_dir, sync_playwright() as playwright:
        studio = serve(build([], Path(runs_dir)))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, scheme in PICTURES.items():
            page = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=scheme).new_page()
            page.goto(studio.local_url)
            page.wait_for_function(READY)
            page.wait_for_selector(".js-plotly-plot")
            page.keyboard.press("]")
            page.wait_for_timeout(500)
            page.screenshot(path=folder / f"{name}.png")
            print(folder / f"{name}.png")
        browser.close()
        studio.close()


if __name__ == "__main__":
    main()
