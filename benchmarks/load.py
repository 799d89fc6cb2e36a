"""Many people in one studio while a run trains, in a real browser.

    python benchmarks/load.py [--sessions 20] [--pages 20] [--seconds 120] [--idle-trainer]

Starts a studio and a training run as processes of their own, opens as many browser sessions, each on a run and with a
setting of its own, and lets all of them step through trajectories and turns and drag alpha at once, with three
seconds between two actions. Prints one JSON object: milliseconds from a page's opening to its painted tokens, from a key to the
painted trajectory and from a slider's event to the painted tokens; of these until the answer was there; the studio's resident memory as it went; who used how much of the
processor; and every session that saw what was not its own. Exits 1 where the median is above 300 ms, or a session saw
another's state.

One Chromium that draws twenty pages is most of the work here, and twenty people would bring a machine each: with
``--pages 1`` the other sessions step by plain HTTP, as often as the pages do.
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
USE = """async ([seed, seconds, pause]) => {
  const store = ActFocus.store, trace = () => ActFocus.trace.state;
  const range = document.querySelector('#af-alpha input[type=range]');
  const rest = (ms) => new Promise((done) => setTimeout(done, ms));
  // A message posted in a frame comes after its painting.
  const painted = () => new Promise((done) => requestAnimationFrame(() => {
    const c = new MessageChannel(); c.port1.onmessage = () => done(performance.now()); c.port2.postMessage(0); }));
  const key = (name) => document.body.dispatchEvent(new KeyboardEvent('keydown', { key: name, bubbles: true, cancelable: true }));
  let dice = seed;
  const roll = () => (dice = (dice * 48271) % 2147483647) / 2147483647;
  const found = { opened: [trace().painted], step: [], turn: [], drag: [], walked: 0, lost: [], alpha: store.settings.alpha };
  let arrived = () => {};
  store.onPlace(() => arrived());
  performance.clearResourceTimings();
  performance.setResourceTimingBufferSize(10000);
  const end = performance.now() + 1000 * seconds;
  await rest(1000 * roll());
  while (performance.now() < end) {
    const what = roll();
    if (what < 0.4) {
      const before = trace().model, next = before.data.place.next, name = next ? 'j' : 'k';
      const wanted = next || before.data.place.previous, began = performance.now();
      const there = new Promise((done) => { arrived = done; });
      key(name);
      await Promise.race([there, rest(120000)]);
      found.step.push(await painted() - began);
      found.walked += 1;
      if (store.place.trajectory !== wanted) found.lost.push([wanted, store.place.trajectory]);
    } else if (what < 0.6) {
      const began = performance.now();
      key(roll() < 0.5 ? 'ArrowRight' : 'ArrowLeft');
      found.turn.push(await painted() - began);
    } else {
      // A drag of ten events; each must be painted before the next is sent.
      for (let i = 0; i < 10; i++) {
        const began = performance.now();
        found.alpha = Math.round(100 * (0.02 + 0.96 * roll())) / 100;
        range.value = found.alpha;
        range.dispatchEvent(new Event('input', { bubbles: true }));
        found.drag.push(await painted() - began);
      }
    }
    await rest(pause * (0.5 + roll()));
  }
  await rest(500);
  found.answer = performance.getEntriesByType('resource').filter((e) => e.name.includes('/run/')).map((e) => e.duration);
  return { ...found, shown: { run: store.place.run, trajectory: store.place.trajectory, alpha: store.settings.alpha, beta: store.settings.beta,
    text: document.querySelector('#af-text').textContent.length } };
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("sessions", 20), ("seconds", 120), ("pause-ms", 3000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--pages", type=int, help="how many of the sessions are pages of a browser; all without it")
    parser.add_argument("--idle-trainer", action="store_true", help="train nothing meanwhile")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        found = under_load(
            browser, Path(folder), args.sessions, args.seconds, args.pause_ms, not args.idle_trainer, args.pages
        )
    print(json.dumps(found, indent=1))
    sys.exit(bool(found["strangers"]) or found["median_ms"] > GOAL_MS)


def under_load(
    browser: Browser,
    folder: Path,
    sessions: int,
    seconds: float,
    pause_ms: int = 3000,
    training: bool = True,
    pages: int | None = None,
) -> dict:
    """Use a studio as ``main`` says; ``folder`` is to be empty."""
    drawn = sessions if pages is None else pages
    port = _free_port()
    studio = processes.start(
        processes.python(ACTFOCUS, "app", *RUNS, "--no-browser", "--port", port, "--runs-dir", folder),
        stdout=subprocess.DEVNULL,
    )
    trainer = None
    try:
        _wait(f"http://127.0.0.1:{port}/")
        if training:
            # As the studio starts one.
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
        opened = [_opened(browser, port, i) for i in range(drawn)]
        if training:
            _begun(folder / "training" / "run.json")
        count = _clock(studio, trainer)
        with ThreadPoolExecutor(max(1, sessions - drawn)) as pool:
            walks = [pool.submit(_walk, port, i, seconds, pause_ms) for i in range(drawn, sessions)]
            memory, used = _use(opened, studio.pid, seconds, pause_ms)
            plain = [walk.result() for walk in walks]
        cpu = count()
        for page in opened:
            page.context.close()
        steps = len(Run.open(folder / "training").metrics()[0]) if training else 0
        if trainer and trainer.poll() is not None:
            raise RuntimeError(f"the training run ended early, with {trainer.returncode}")
    finally:
        if trainer:
            trainer.kill()  # asked to end, it would finish its step first, which takes long on a busy machine
        studio.terminate()
        for process in filter(None, (trainer, studio)):
            process.wait(60)
    return figures(used, memory, plain) | {
        "cpu_seconds": cpu,
        "sessions": sessions,
        "pages": drawn,
        "seconds": seconds,
        "training_steps": steps,
    }


def figures(used: list[dict], memory: list[tuple[float, float]], plain: list[dict]) -> dict:
    """Of what the pages and the plain sessions went through, and of (seconds, megabytes)."""
    every = {name: np.array(sum((session[name] for session in used), [])) for name in ("opened", *ACTIONS, "answer")}
    every["plain_step"] = np.array(sum((session["step"] for session in plain), []))
    told = {
        f"{name}_ms": {
            "n": len(times),
            "median": round(float(np.median(times)), 1),
            "p95": round(float(np.quantile(times, 0.95)), 1),
            "most": round(float(times.max()), 1),
        }
        for name, times in every.items()
        if len(times)
    }
    strangers = [
        {**session["shown"], "lost": session["lost"]}
        for i, session in enumerate(used)
        if session["lost"] or _stranger(i, session)
    ]
    strangers += [{"lost": session["lost"]} for session in plain if session["lost"]]
    # The first half is the caches' filling.
    late = np.array(memory[len(memory) // 2 :])
    slope = np.polyfit(late[:, 0], late[:, 1], 1)[0] * 3600 if len(late) > 2 else None
    return {
        "median_ms": round(float(np.median(np.concatenate([every[name] for name in ACTIONS]))), 1),
        **told,
        "strangers": strangers,
        "megabytes": {
            "first": round(memory[0][1]),
            "half": round(late[0][1]),
            "last": round(memory[-1][1]),
            "most": round(max(m for _, m in memory)),
            "an_hour_more": slope and round(slope),
        },
    }


def _stranger(i: int, session: dict) -> bool:
    """Whether a page shows a run or a setting that is not the one it was given or dragged to."""
    shown = session["shown"]
    return (shown["run"], shown["alpha"], shown["beta"]) != (
        RUNS[i % len(RUNS)].name,
        session["alpha"],
        _beta(i),
    ) or not shown["text"]


def _beta(i: int) -> float:
    return round(0.05 * (i + 1), 2)


def _opened(browser: Browser, port: int, i: int) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.set_default_timeout(120_000)
    page.goto(f"http://127.0.0.1:{port}/?run={RUNS[i % len(RUNS)].name}&beta={_beta(i)}&alpha=0.1")
    page.wait_for_function("window.ActFocus && ActFocus.trace && ActFocus.trace.state.painted")
    return page


def _use(pages: list[Page], pid: int, seconds: float, pause_ms: int) -> tuple[list[tuple[float, float]], list[dict]]:
    """All pages act at once, by themselves; meanwhile the studio's memory is looked at."""
    for i, page in enumerate(pages):
        page.evaluate(f"arguments => {{ window.used = ({USE})(arguments); }}", [1 + 7919 * i, seconds, pause_ms])
    began, memory = time.monotonic(), []
    while (now := time.monotonic() - began) < seconds:
        memory.append((now, _megabytes(pid)))
        time.sleep(min(2.0, seconds / 10))
    return [*memory, (time.monotonic() - began, _megabytes(pid))], [page.evaluate("window.used") for page in pages]


def _walk(port: int, i: int, seconds: float, pause_ms: int) -> dict:
    """A session without a page: it steps as often as one with a page does. ``lost``: what it asked for and got instead."""
    dice, address = random.Random(i), f"http://127.0.0.1:{port}"
    with urlopen(f"{address}/config", timeout=120) as told:
        config = json.load(told)
    nav = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "af-nav")
    handler = next(d["id"] for d in config["dependencies"] if [nav, "go"] in d["targets"])

    def ask(**request: str) -> dict:
        body = {"data": [json.dumps(request)], "fn_index": handler, "session_hash": f"plain{i}"}
        call = Request(
            f"{address}/gradio_api/run/predict", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urlopen(call, timeout=120) as told:
            return json.loads(json.load(told)["data"][0])

    found: dict[str, list] = {"step": [], "lost": []}
    run, end = RUNS[i % len(RUNS)].name, time.monotonic() + seconds
    place = ask(run=run)["place"]
    while time.monotonic() < end:
        if dice.random() < 0.4:
            wanted, began = place["next"] or place["previous"], time.perf_counter()
            data = ask(run=run, trajectory=wanted)
            found["step"].append(1000 * (time.perf_counter() - began))
            place = data["place"]
            if (data["run"]["name"], place["id"], data["trajectory"]["id"]) != (run, wanted, wanted):
                found["lost"].append([wanted, place["id"]])
        time.sleep(pause_ms / 1000 * (0.5 + dice.random()))
    return found


def _clock(studio: subprocess.Popen, trainer: subprocess.Popen | None) -> Callable[[], dict[str, float]]:
    """Seconds of the processor that everybody uses until the function is called: where ``others`` use much, this says little."""
    own = {
        "studio": [psutil.Process(studio.pid)],
        "trainer": [psutil.Process(trainer.pid)] if trainer else [],
        "browser": [
            p for p in psutil.Process().children(recursive=True) if p.pid not in {studio.pid, trainer and trainer.pid}
        ],
        "this": [psutil.Process()],
    }

    def now() -> dict[str, float]:
        used = {name: sum(sum(p.cpu_times()[:2]) for p in processes) for name, processes in own.items()}
        everybody = psutil.cpu_times()
        busy = (
            sum(everybody)
            - everybody.idle
            - everybody.iowait
            - getattr(everybody, "guest", 0)
            - getattr(everybody, "guest_nice", 0)
        )
        return used | {"others": busy - sum(used.values())}

    before = now()
    return lambda: {name: round(seconds - before[name], 1) for name, seconds in now().items()}


def _megabytes(pid: int) -> float:
    resident = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(resident.split()[1]) / 1024


def _wait(address: str, patience: float = 300) -> None:
    end = time.monotonic() + patience
    while True:
        try:
            with urlopen(address, timeout=5):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _begun(file: Path, patience: float = 300) -> None:
    end = time.monotonic() + patience
    while not file.exists():
        if time.monotonic() > end:
            raise RuntimeError("the training run did not begin")
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
