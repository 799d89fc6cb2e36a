"""Responsiveness of the Train page with long runs, in a real browser.

    python benchmarks/long_run.py [--steps 10000] [--seeds 1] [--seconds 20]

Creates an experiment of two schemes with runs of ``--steps`` steps, the last of which grows by two rows per second, opens
it in Chromium and prints one JSON object: seconds until all curves are drawn; long tasks (over 50 ms), frame times and CPU
seconds per second of the page's main thread, while the run grows and while a chart is zoomed in and out; and the bytes of a
poll.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from actfocus_core.runs import Run
from actfocus_core.train.control import training_lock, write_status
from actfocus_core.train.metrics import METRICS
from actfocus_studio.main import build, serve

SCHEMES = ("uniform", "actfocus")
EVALUATE = 50
WATCH = """() => {
  window.watched = { tasks: [], frames: [], last: performance.now() };
  new PerformanceObserver((list) => list.getEntries().forEach((e) => watched.tasks.push(e.duration))).observe({ type: 'longtask' });
  (function frame(now) { watched.frames.push(now - watched.last); watched.last = now; requestAnimationFrame(frame); })(performance.now());
}"""


def row(step: int, rng: np.random.Generator) -> dict:
    """The metrics of a step under all names that training logs, with an evaluation every EVALUATE steps."""
    success = 0.3 + 0.5 * (1 - math.exp(-step / 3000))
    metrics = {name: float(rng.normal(success, 0.08)) for name in METRICS if "/" in name} | {
        "step": step,
        "seconds/elapsed": 1.5 * step,
    }
    if step % EVALUATE == 0:
        for t in ("t1", "t0.5"):
            metrics |= {
                f"eval/{t}/success": success,
                f"eval/{t}/success_low": success - 0.05,
                f"eval/{t}/success_high": success + 0.05,
            }
    return metrics


def make_experiment(folder: Path, steps: int, seeds: int) -> list[Run]:
    """An experiment as the studio stores it; its runs are finished and have ``steps`` rows each."""
    rng = np.random.default_rng(0)
    names = [
        {"name": f"race-long-1-{scheme}-s{seed}", "scheme": scheme, "seed": seed}
        for seed in range(seeds)
        for scheme in SCHEMES
    ]
    (folder / ".races").mkdir(parents=True)
    request = {
        "environment": "FrozenLake, deterministic",
        "algorithm": "grpo",
        "schemes": list(SCHEMES),
        "seeds": seeds,
        "time": "5 minutes",
    }
    (folder / ".races" / "race-long-1.json").write_text(
        json.dumps({"id": "race-long-1", "made": time.time(), "request": request, "steps": 2 * steps, "runs": names}),
        encoding="utf-8",
    )
    runs = []
    for name in names:
        run = Run.create(
            folder / name["name"],
            {"command": "train", "env": "frozen_lake", "algorithm": "grpo", "scheme": name["scheme"]},
        )
        for step in range(steps):
            run.log(row(step, rng))
        write_status(run.path, state="finished", step=steps, elapsed=1.5 * steps)
        runs.append(run)
    return runs


def grow(run: Run, steps: int, ended: threading.Event) -> None:
    """Write two rows per second, like a training process."""
    rng = np.random.default_rng(1)
    with training_lock(run.path):
        for step in range(steps, 10 * steps):
            run.log(row(step, rng))
            write_status(run.path, state="running", step=step, elapsed=1.5 * step, phase="rollout")
            if ended.wait(0.5):
                return


def measure(page: Page, seconds: float, act) -> dict:
    """Load of the browser while ``act(end)`` runs."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(m["value"] for m in metrics if m["name"] == "TaskDuration")

    page.evaluate("Object.assign(watched, { tasks: [], frames: [], last: performance.now() })")
    before, start = busy(), time.monotonic()
    act(start + seconds)
    elapsed, watched = time.monotonic() - start, page.evaluate("watched")
    frames = sorted(watched["frames"]) or [0.0]
    return {
        "long_tasks": len(watched["tasks"]),
        "longest_task_ms": round(max(watched["tasks"], default=0)),
        "frames": len(frames),
        "frame_median_ms": round(statistics.median(frames), 1),
        "frame_99_ms": round(frames[int(0.99 * len(frames))], 1),
        "cpu_seconds_a_second": round((busy() - before) / elapsed, 3),
    }


def wait_until(page: Page, end: float) -> None:
    page.wait_for_timeout(max(0.0, 1000 * (end - time.monotonic())))


def zoom(page: Page, end: float) -> None:
    """Repeatedly zoom into a chart by dragging and out by a double click."""
    box = page.locator(".af-race-plot .nsewdrag").nth(1).bounding_box()
    x, y = box["x"], box["y"] + box["height"] / 2
    while time.monotonic() < end:
        page.mouse.move(x + 0.4 * box["width"], y)
        page.mouse.down()
        page.mouse.move(x + 0.5 * box["width"], y, steps=15)
        page.mouse.up()
        page.wait_for_timeout(700)
        page.mouse.dblclick(x + 0.5 * box["width"], y)
        page.wait_for_timeout(700)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("steps", 10_000), ("seeds", 1), ("seconds", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        runs = make_experiment(Path(folder), args.steps, args.seeds)
        figures = {"steps": args.steps, "runs": len(runs), "seconds_to_write": round(time.monotonic() - began, 1)}
        ended = threading.Event()
        writer = threading.Thread(target=grow, args=[runs[-1], args.steps, ended])
        studio = serve(build([], Path(folder)))
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
                    args=["--no-sandbox", "--disable-gpu"],
                )
                print(
                    json.dumps(
                        figures
                        | measure_page(
                            browser.new_page(viewport={"width": 1440, "height": 1000}), studio.local_url, args, writer
                        ),
                        indent=1,
                    )
                )
                browser.close()
        finally:
            ended.set()
            writer.join()
            studio.close()


def measure_page(page: Page, address: str, args, writer: threading.Thread) -> dict:
    page.set_default_timeout(300_000)
    sizes: list[int] = []
    page.on(
        "response",
        lambda response: (
            sizes.append(len(response.body())) if "/run/" in response.url or "/call/" in response.url else None
        ),
    )
    began = time.monotonic()
    page.goto(f"{address}?tab=train&race=race-long-1")
    page.wait_for_function("document.querySelectorAll('.af-race-plot .scatterlayer .trace path.js-line').length >= 6")
    drawn = time.monotonic() - began
    page.wait_for_timeout(1000)
    loaded = sum(sizes)
    writer.start()
    page.evaluate(WATCH)
    page.wait_for_timeout(1500)
    sizes.clear()
    polling = measure(page, args.seconds, lambda end: wait_until(page, end))
    polls = sorted(sizes) or [0]
    return {
        "seconds_to_draw": round(drawn, 1),
        "bytes_at_first": loaded,
        "while_it_grows": polling,
        "polls": len(polls),
        "bytes_a_poll_median": polls[len(polls) // 2],
        "bytes_a_poll_most": polls[-1],
        "while_zooming": measure(page, args.seconds, lambda end: zoom(page, end)),
    }


if __name__ == "__main__":
    main()
