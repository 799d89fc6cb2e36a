"""The Rollouts page over a run of thousands of rollouts, in a real browser.

    python benchmarks/rollouts_page.py [--rollouts 3072]

The run has the rollouts of the bundled FrozenLake run again and again, in steps of 64. Opens the page in Chromium, lets it compute
the columns and index the texts, then sorts, filters, searches, scrolls from one end to the other, walks by keyboard and opens rollouts.
Prints one JSON object: by kind of action the milliseconds until its rows are there (or its frames, for scrolling), and the longest
task of the page during these. Exits 1 if a task after opening took more than 200 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_studio.main import build, serve

GOAL_MS = 200
STEP = 64
WATCH = """() => {
  window.tasks = [];
  new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((e) => e.duration))).observe({ type: 'longtask' });
}"""
BUSY = "[role=grid][aria-label=Rollouts][aria-busy=false]"
SCROLL = """async () => {
  const node = document.querySelector('[role=grid][aria-label=Rollouts]');
  const frames = [];
  let last = performance.now();
  for (let k = 0; k <= 120; k++) {
    node.scrollTop = k / 120 * node.scrollHeight;
    await new Promise((done) => requestAnimationFrame(done));
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  return frames;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=3072)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        run = make_run(Path(folder) / "runs" / "many", args.rollouts)
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        server = serve(build([run.path], run.path.parent))
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(600_000)
        result = measure(page, server.local_url)
        browser.close()
        server.close()
    print(json.dumps(result, indent=1))
    sys.exit(result["longest_task_ms"] > GOAL_MS)


def make_run(path: Path, rollouts: int) -> Run:
    """A run with the rollouts of the bundled one, repeated under other ids."""
    source = Run.open(assets() / "runs" / "frozen-lake")
    reference = source.references()[0]
    pool = source.trajectories(source.steps()[0], reference)
    run = Run.create(path, dict(source.info["config"]), source.info["model"])
    for step in range(-(-rollouts // STEP)):
        batch = [
            replace(pool[k % len(pool)], id=f"{step:05d}-{k:02d}", group=f"{step:05d}-{k // 8}", step=step)
            for k in range(min(STEP, rollouts - step * STEP))
        ]
        run.add_trajectories(step, batch)
        run.annotate(step, reference, batch)
    return run


def measure(page: Page, address: str) -> dict:
    start = time.perf_counter()
    page.goto(f"{address}?tab=rollouts")
    page.locator(f"{BUSY} [data-row]").first.wait_for()
    took: dict[str, list[float]] = {"open": [1000 * (time.perf_counter() - start)]}
    root = page.locator("#af-list")
    start = time.perf_counter()
    root.get_by_role("columnheader", name="change", exact=True).get_by_role("button").click()
    root.locator("[role=columnheader][aria-sort=descending]").wait_for()
    seconds = time.perf_counter() - start
    root.get_by_label("Search in the texts").fill("hole")
    root.get_by_text("hits in").wait_for()
    root.get_by_role("button", name="clear").click()
    page.wait_for_timeout(1000)
    page.evaluate(WATCH)
    longest: dict[str, float] = {}

    def act(kind: str, work) -> None:
        before = page.evaluate("window.tasks.length")
        begin = time.perf_counter()
        work()
        took.setdefault(kind, []).append(1000 * (time.perf_counter() - begin))
        page.wait_for_timeout(300)
        longest[kind] = max(longest.get(kind, 0.0), *page.evaluate(f"[0, ...window.tasks.slice({before})]"))

    def listed(work) -> None:
        with page.expect_response("**/rollouts/rows"):
            work()
        page.wait_for_function("() => !document.querySelector('#af-list [aria-busy=true]')")

    for title in ("tokens", "return", "change", "highest energy", "id", "success"):
        head = root.get_by_role("columnheader", name=title, exact=True).get_by_role("button")
        act("sort", lambda head=head: listed(head.click))
    for name in ("failure", "malformed", "failure", "malformed"):
        chip = root.locator(".af-chip", has_text=name)
        act("filter", lambda chip=chip: listed(chip.click))
    for text in ("left", "right", "hole"):
        act("search", lambda text=text: listed(lambda: root.get_by_label("Search in the texts").fill(text)))
    act("search", lambda: listed(root.get_by_role("button", name="clear").click))
    frames: list[float] = []
    act("scroll", lambda: frames.extend(page.evaluate(SCROLL)))
    page.locator(BUSY).focus()
    for key in ("Home", *["PageDown"] * 20, "End", "ArrowUp"):
        act("key", lambda key=key: page.keyboard.press(key))
    act("open a rollout", lambda: _opened(page, lambda: page.keyboard.press("Enter")))
    page.locator(".af-brand").click()
    for key in "kkkkjj":
        act("J and K", lambda key=key: _opened(page, lambda: page.keyboard.press(key)))
    act("back to the list", lambda: page.get_by_role("tab", name="Rollouts", exact=True).click())
    return {
        "compute_s": round(seconds, 1),
        "median_ms": {kind: round(float(np.median(times))) for kind, times in took.items()},
        "scroll_frame_ms": {"median": round(float(np.median(frames)), 1), "most": round(max(frames), 1)},
        "longest_task_by_kind_ms": {kind: round(value) for kind, value in longest.items()},
        "longest_task_ms": round(max(longest.values())),
        "rows_in_the_page": page.locator(f"{BUSY} [data-row]").count(),
    }


def _opened(page: Page, work) -> None:
    with page.expect_response("**/trace/open"):
        work()


if __name__ == "__main__":
    main()
