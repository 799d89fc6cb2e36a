"""Many concurrent sessions in one studio while a run trains, in a real browser.

    python benchmarks/load.py [--sessions 20] [--pages 20] [--seconds 120] [--idle-trainer]

Starts a studio and a training run as separate processes and opens ``--sessions`` browser sessions, each with its own run
and settings. All sessions step through trajectories and turns and drag alpha concurrently, with three seconds between two
actions. Prints one JSON object: milliseconds from opening a page to its painted tokens, from a key press to the painted
trajectory, and from a slider event to the painted tokens; the duration of the requests among these; the studio's resident
memory over time; CPU seconds by process; and all sessions that received another session's state. Exits 1 if the median is
above 300 ms or a session received another's state.

Most of the work is one Chromium that draws twenty pages, while twenty users would have a machine each: with ``--pages 1``
the other sessions step by plain HTTP requests, as often as the pages do.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from actfocus_core import processes
from actfocus_core.runs import Run
from actfocus_studio.jobs.worker import give_way

GOAL_MS = 300
ACTIONS = ("step", "turn", "drag")
ROOT = Path(__file__).parent.parent
RUNS = sorted(path.parent for path in (ROOT / "assets/runs").glob("*/run.json"))
ACTFOCUS = "actfocus_core.cli"
PAINTED = "performance.getEntriesByName('trajectory painted').length"
"""Whether the page has painted a trajectory."""
USE = """async ([seed, seconds, pause]) => {
  const { modules } = await import(document.querySelector('script[type=module][src*="studio/script/"]').src);
  const { store } = modules['web/lib/store.js'], { openModel } = modules['web/trace/open_model.js'];
  const range = document.querySelector('#af-alpha input[type=range]');
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  // A message that is posted in an animation frame is delivered after the frame is painted.
  const painted = () => new Promise((done) => requestAnimationFrame(() => {
    const c = new MessageChannel(); c.port1.onmessage = () => done(performance.now()); c.port2.postMessage(0); }));
  const key = (name) => document.body.dispatchEvent(new KeyboardEvent('keydown', { key: name, bubbles: true, cancelable: true }));
  let random = seed;
  const uniform = () => (random = (random * 48271) % 2147483647) / 2147483647;
  const result = { opened: [performance.getEntriesByName('trajectory painted')[0].startTime], step: [], turn: [], drag: [], walked: 0, lost: [], alpha: store.settings.alpha };
  let arrived = () => {};
  store.onPlace(() => arrived());
  performance.clearResourceTimings();
  performance.setResourceTimingBufferSize(10000);
  const end = performance.now() + 1000 * seconds;
  await sleep(1000 * uniform());
  while (performance.now() < end) {
    const action = uniform();
    if (action < 0.4) {
      const before = openModel(), next = before.data.place.next, name = next ? 'j' : 'k';
      const target = next || before.data.place.previous, start = performance.now();
      const arrival = new Promise((done) => { arrived = done; });
      key(name);
      await Promise.race([arrival, sleep(120000)]);
      result.step.push(await painted() - start);
      result.walked += 1;
      if (store.place.trajectory !== target) result.lost.push([target, store.place.trajectory]);
    } else if (action < 0.6) {
      const start = performance.now();
      key(uniform() < 0.5 ? 'ArrowRight' : 'ArrowLeft');
      result.turn.push(await painted() - start);
    } else {
      // A drag of ten events; each is painted before the next one is sent.
      for (let i = 0; i < 10; i++) {
        const start = performance.now();
        result.alpha = Math.round(100 * (0.02 + 0.96 * uniform())) / 100;
        range.value = result.alpha;
        range.dispatchEvent(new Event('input', { bubbles: true }));
        result.drag.push(await painted() - start);
      }
    }
    await sleep(pause * (0.5 + uniform()));
  }
  await sleep(500);
  result.answer = performance.getEntriesByType('resource').filter((e) => e.name.includes('/studio/api/')).map((e) => e.duration);
  return { ...result, shown: { run: store.place.run, trajectory: store.place.trajectory, alpha: store.settings.alpha, beta: store.settings.beta,
    text: document.querySelector('#af-text').textContent.length } };
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("sessions", 20), ("seconds", 120), ("pause-ms", 3000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--pages", type=int, help="number of sessions that are browser pages; by default all")
    parser.add_argument("--idle-trainer", action="store_true", help="run no training")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        result = under_load(
            browser, Path(folder), args.sessions, args.seconds, args.pause_ms, not args.idle_trainer, args.pages
        )
    print(json.dumps(result, indent=1))
    sys.exit(bool(result["strangers"]) or result["median_ms"] > GOAL_MS)


def under_load(
    browser: Browser,
    folder: Path,
    sessions: int,
    seconds: float,
    pause_ms: int = 3000,
    training: bool = True,
    pages: int | None = None,
) -> dict:
    """Measure a studio with ``sessions`` sessions, of which ``pages`` are browser pages; ``folder`` must be empty."""
    page_count = sessions if pages is None else pages
    port = _free_port()
    studio = processes.start(
        processes.python(ACTFOCUS, "app", *RUNS, "--no-browser", "--port", port, "--runs-dir", folder),
        stdout=subprocess.DEVNULL,
    )
    trainer = None
    try:
        _wait(f"http://127.0.0.1:{port}/")
        if training:
            # Started as by the studio.
            trainer = processes.start(
                processes.python(
                    ACTFOCUS,
                    "train",
                    "--preset",
                    "quick",
                    "--out",
                    folder / "training",
                    "--steps",
                    10000,
                    "--set",
                    "time_budget=100000",
                ),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            give_way(trainer)
        open_pages = [_open_page(browser, port, i) for i in range(page_count)]
        if training:
            _wait_for_file(folder / "training" / "run.json")
        cpu_seconds = _cpu_clock(studio, trainer)
        with ThreadPoolExecutor(max(1, sessions - page_count)) as pool:
            walks = [pool.submit(_walk, port, i, seconds, pause_ms) for i in range(page_count, sessions)]
            memory, page_results = _use(open_pages, studio.pid, seconds, pause_ms)
            plain_results = [walk.result() for walk in walks]
        cpu = cpu_seconds()
        for page in open_pages:
            page.context.close()
        steps = len(Run.open(folder / "training").metrics()[0]) if training else 0
        if trainer and trainer.poll() is not None:
            raise RuntimeError(f"the training run ended early, with {trainer.returncode}")
    finally:
        if trainer:
            trainer.kill()  # SIGTERM would finish the step first, which takes long on a busy machine.
        studio.terminate()
        for process in filter(None, (trainer, studio)):
            process.wait(60)
    return figures(page_results, memory, plain_results) | {
        "cpu_seconds": cpu,
        "sessions": sessions,
        "pages": page_count,
        "seconds": seconds,
        "training_steps": steps,
    }


def figures(page_results: list[dict], memory: list[tuple[float, float]], plain_results: list[dict]) -> dict:
    """Summary of the results of pages and plain sessions, and of the memory samples (seconds, megabytes)."""
    durations = {
        name: np.array(sum((session[name] for session in page_results), [])) for name in ("opened", *ACTIONS, "answer")
    }
    durations["plain_step"] = np.array(sum((session["step"] for session in plain_results), []))
    summaries = {
        f"{name}_ms": {
            "n": len(times),
            "median": round(float(np.median(times)), 1),
            "p95": round(float(np.quantile(times, 0.95)), 1),
            "most": round(float(times.max()), 1),
        }
        for name, times in durations.items()
        if len(times)
    }
    strangers = [
        {**session["shown"], "lost": session["lost"]}
        for i, session in enumerate(page_results)
        if session["lost"] or _shows_other_state(i, session)
    ]
    strangers += [{"lost": session["lost"]} for session in plain_results if session["lost"]]
    # Caches fill during the first half.
    late = np.array(memory[len(memory) // 2 :])
    slope = np.polyfit(late[:, 0], late[:, 1], 1)[0] * 3600 if len(late) > 2 else None
    return {
        "median_ms": round(float(np.median(np.concatenate([durations[name] for name in ACTIONS]))), 1),
        **summaries,
        "strangers": strangers,
        "megabytes": {
            "first": round(memory[0][1]),
            "half": round(late[0][1]),
            "last": round(memory[-1][1]),
            "most": round(max(m for _, m in memory)),
            "an_hour_more": slope and round(slope),
        },
    }


def _shows_other_state(i: int, session: dict) -> bool:
    """Whether a page shows another run or other settings than it was opened with or set to."""
    shown = session["shown"]
    return (shown["run"], shown["alpha"], shown["beta"]) != (
        RUNS[i % len(RUNS)].name,
        session["alpha"],
        _beta(i),
    ) or not shown["text"]


def _beta(i: int) -> float:
    return round(0.05 * (i + 1), 2)


def _open_page(browser: Browser, port: int, i: int) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.set_default_timeout(120_000)
    page.goto(f"http://127.0.0.1:{port}/?run={RUNS[i % len(RUNS)].name}&beta={_beta(i)}&alpha=0.1")
    page.wait_for_function(PAINTED)
    return page


def _use(pages: list[Page], pid: int, seconds: float, pause_ms: int) -> tuple[list[tuple[float, float]], list[dict]]:
    """Run the actions in all pages concurrently, and sample the studio's memory; returns samples and results."""
    for i, page in enumerate(pages):
        page.evaluate(f"arguments => {{ window.used = ({USE})(arguments); }}", [1 + 7919 * i, seconds, pause_ms])
    start, memory = time.monotonic(), []
    while (elapsed := time.monotonic() - start) < seconds:
        memory.append((elapsed, _megabytes(pid)))
        time.sleep(min(2.0, seconds / 10))
    return [*memory, (time.monotonic() - start, _megabytes(pid))], [page.evaluate("window.used") for page in pages]


def _walk(port: int, i: int, seconds: float, pause_ms: int) -> dict:
    """A session without a page that steps as often as one with a page.

    ``lost`` in the result: pairs (requested, received) of trajectories that differ.
    """
    rng, address = random.Random(i), f"http://127.0.0.1:{port}"

    def go(**view: str) -> dict:
        body = json.dumps({"view": view}).encode()
        call = Request(f"{address}/studio/api/trace/open", body, {"Content-Type": "application/json"})
        with urlopen(call, timeout=120) as response:
            return json.load(response)

    result: dict[str, list] = {"step": [], "lost": []}
    run, end = RUNS[i % len(RUNS)].name, time.monotonic() + seconds
    place = go(run=run)["place"]
    while time.monotonic() < end:
        if rng.random() < 0.4:
            target, start = place["next"] or place["previous"], time.perf_counter()
            data = go(run=run, trajectory=target)
            result["step"].append(1000 * (time.perf_counter() - start))
            place = data["place"]
            if (data["run"]["name"], place["id"], data["trajectory"]["id"]) != (run, target, target):
                result["lost"].append([target, place["id"]])
        time.sleep(pause_ms / 1000 * (0.5 + rng.random()))
    return result


def _cpu_clock(studio: subprocess.Popen, trainer: subprocess.Popen | None) -> Callable[[], dict[str, float]]:
    """A function that returns CPU seconds by process since this call.

    The result is not meaningful if ``others``, the other processes of the machine, use much of the CPU.
    """
    groups = {
        "studio": [psutil.Process(studio.pid)],
        "trainer": [psutil.Process(trainer.pid)] if trainer else [],
        "browser": [
            p for p in psutil.Process().children(recursive=True) if p.pid not in {studio.pid, trainer and trainer.pid}
        ],
        "this": [psutil.Process()],
    }

    def now() -> dict[str, float]:
        used = {name: sum(sum(p.cpu_times()[:2]) for p in group) for name, group in groups.items()}
        machine = psutil.cpu_times()
        busy = (
            sum(machine)
            - machine.idle
            - machine.iowait
            - getattr(machine, "guest", 0)
            - getattr(machine, "guest_nice", 0)
        )
        return used | {"others": busy - sum(used.values())}

    before = now()
    return lambda: {name: round(seconds - before[name], 1) for name, seconds in now().items()}


def _megabytes(pid: int) -> float:
    resident = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(resident.split()[1]) / 1024


def _wait(address: str, timeout: float = 300) -> None:
    end = time.monotonic() + timeout
    while True:
        try:
            with urlopen(address, timeout=5):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _wait_for_file(file: Path, timeout: float = 300) -> None:
    end = time.monotonic() + timeout
    while not file.exists():
        if time.monotonic() > end:
            raise RuntimeError("the training run did not start")
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
