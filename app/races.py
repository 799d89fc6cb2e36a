"""Head to head: several credit schemes and seeds trained on the same prompts, one process a run.

A race is a small file, ``RUNS/.races/ID.json``: what was asked for, and the names of its runs; beside it
``ID.stop`` where it was stopped. All else stands in the run folders, which the training processes write
themselves. So every page, a second studio, and one started after a crash see the same, and a run outlives
them all. Two studios on one folder share its one slot: ``.slot`` is locked by the process that trains, and
freed by the system with it.

A run that is trained by the command line, TRL or verl into the same folder of runs is shown as a race of its own, with its name
for an id: it can be watched, paused and stopped, and is gone on with where it was begun.
"""

from __future__ import annotations

import atexit
import itertools
import json
import math
import re
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from actfocus_core import processes
from actfocus_core.credit import SCHEMES
from actfocus_core.errors import ActFocusError
from actfocus_core.files import create_empty, demand_no_link, locked, open_to_append, read_end, read_json
from actfocus_core.paths import appearing, when_written
from actfocus_core.runs import TRAINED, Run
from actfocus_core.signals import SIGNALS
from actfocus_core.train import read_status, request
from actfocus_core.train.control import requested
from actfocus_core.train.presets import is_language_model
from app import models
from app.jobs import ENVIRONMENTS, READ_ONLY, give_way, how_it_ended

TIMES = {"30 seconds": 30, "2 minutes": 120, "5 minutes": 300}
"""For one run."""
ALGORITHMS = ("grpo", "ppo")
CHOICES = ("uniform", "actfocus", "role_only", "energy_only")
"""Schemes a page may ask for."""
SEEDS_MAX = 5
RATES = {
    ("frozen_lake", "grpo"): (3.0, 3.5),
    ("frozen_lake", "ppo"): (4.9, 3.5),
    ("sokoban", "grpo"): (4.9, 5.0),
    ("sokoban", "ppo"): (6.5, 5.0),
    ("sudoku", "grpo"): (6.0, 7.0),
    ("sudoku", "ppo"): (9.0, 7.0),
    ("webshop", "grpo"): (5.0, 9.0),
    ("webshop", "ppo"): (8.0, 9.0),
}
"""Seconds a step and an evaluation, of the quick preset on one core: a first guess until this machine has trained once."""
LANGUAGE_RATES = (60.0, 25.0)
"""The same of a language model of the size of SmolLM2, whose quick preset has few and short rollouts."""
EVALUATIONS = 6
"""After the one before training, about."""
LEAST_STEPS = 4
"""Of a run, however slow its steps are."""
QUEUE_MAX = 4 * 3600
"""Seconds of training that may stand in the queue."""
DISK_FREE = 500_000_000
"""Bytes that must be free before a run is begun."""
LOG_TAIL, LOG_MAX = 4000, 400_000
"""Bytes of the end of a log that a page is sent: of a run that failed, and of one whose log it asks for."""
RACE_MAX = 1 << 20
"""Bytes of a race's file."""
QUIET = ("--progress", "lines", "--json")
ROWS_MAX = 1000
"""Rows of metrics a look brings; the page asks again at once where there are more."""
POLL = 0.5
KEYS = re.compile(
    r"step|success/rate|reward/return|format/(well_formed|collapsed)|loss/policy|kl/(update|reference)|"
    r"entropy/\w+|mass/\w+|grad/norm|clip/\w+|tokens/per_second|seconds/elapsed|eval/t[\d.]+/success(_low|_high)?"
)
"""Metrics a page draws."""
_ID = re.compile(r"[a-z0-9-]{1,60}")


@dataclass(frozen=True)
class RaceRequest:
    """What a page may ask for; every value is checked where it is made."""

    environment: str
    algorithm: str
    schemes: list[str]
    seeds: int
    time: str
    alpha: float = 0.1
    beta: float = 0.5
    signal: str = "energy"
    policy: str = "tiny"
    """One of ``models.installed``; which of them are there is checked where a race is started."""

    def __post_init__(self):
        for name, value, allowed in (
            ("environment", self.environment, ENVIRONMENTS),
            ("algorithm", self.algorithm, ALGORITHMS),
            ("time", self.time, TIMES),
            ("signal", self.signal, SIGNALS),
        ):
            if not isinstance(value, str) or value not in allowed:
                raise ActFocusError(f"{name}: must be one of {', '.join(allowed)}")
        if not isinstance(self.policy, str):
            raise ActFocusError("policy: must be a name")
        if (
            not isinstance(self.schemes, list)
            or not self.schemes
            or any(s not in CHOICES for s in self.schemes)
            or len(set(self.schemes)) != len(self.schemes)
        ):
            raise ActFocusError(f"schemes: choose one or more of {', '.join(CHOICES)}, each once")
        if isinstance(self.seeds, bool) or not isinstance(self.seeds, int) or not 1 <= self.seeds <= SEEDS_MAX:
            raise ActFocusError(f"seeds: must be a whole number from 1 to {SEEDS_MAX}")
        for name, value, high in (("alpha", self.alpha, 1), ("beta", self.beta, 2)):
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not math.isfinite(value)
                or not 0 <= value <= high
            ):
                raise ActFocusError(f"{name}: must be a number from 0 to {high}")


class Races:
    """All races in a folder of runs, and the one slot in which their runs are trained."""

    def __init__(self, runs_dir: Path, read_only: bool = False):
        self.runs_dir, self.read_only = Path(runs_dir).resolve(), read_only
        self.folder = self.runs_dir / ".races"
        self._lock = threading.Lock()
        self._going: list[str] = []
        """Races that this studio keeps going, in the order of the queue."""
        self._processes: dict[str, subprocess.Popen] = {}
        self._before: dict[str, object] = {}
        """Name of a run -> the process that its status was of when ours was started."""
        self._thread: threading.Thread | None = None
        atexit.register(self.close)

    # --- what a page asks for ------------------------------------------------------------

    def estimate(self, asked: RaceRequest) -> dict:
        """Steps of each run and seconds of the whole race, from the rates measured last.

        ``rate``: seconds a step, its share of the evaluations included.
        """
        time, runs = TIMES[asked.time], len(asked.schemes) * asked.seeds
        (step, evaluation), measured = self.rates(ENVIRONMENTS[asked.environment][0], asked.algorithm, asked.policy)
        steps = max(LEAST_STEPS, int((time - (EVALUATIONS + 1) * evaluation) / step))
        seconds = steps * step + evaluations(steps) * evaluation
        return {"steps": steps, "runs": runs, "seconds": seconds * runs, "rate": seconds / steps, "measured": measured}

    def rates(self, env: str, algorithm: str, policy: str) -> tuple[tuple[float, float], bool]:
        """Seconds a step and an evaluation, and whether they were measured: on the newest run of this kind that
        took some steps."""
        for path in sorted(self.runs_dir.glob("*/metrics.jsonl"), key=when_written, reverse=True):
            try:
                run = Run.open(path.parent)
                config = run.info.get("config") or {}
                same = config.get("command") == "train" and (config.get("env"), config.get("algorithm")) == (
                    env,
                    algorithm,
                )
                if same and config.get("model") == policy and (found := _rates(run.metrics(0, ROWS_MAX)[0])):
                    return found, True
            except ActFocusError:
                continue
        return LANGUAGE_RATES if is_language_model(policy) else RATES[env, algorithm], False

    def start(self, asked: RaceRequest) -> str:
        """Put a race into the queue and return its id. Raises ActFocusError where queue or disk are nearly full,
        for a policy that cannot be trained here, and in a studio that is read only."""
        self._demand_writable()
        models.chosen(asked.policy, self.runs_dir)
        waiting = self._waiting()
        if waiting + self.estimate(asked)["seconds"] > QUEUE_MAX:
            raise ActFocusError(
                f"{waiting / 60:.0f} minutes of training are in the queue, and with this race it would be more than "
                f"{QUEUE_MAX // 3600} hours; let some finish, stop one, or ask for less"
            )
        with self._lock, self._writing():
            demand_no_link(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            self._demand_disk()
            env, _ = ENVIRONMENTS[asked.environment]
            expected = self.estimate(asked)
            with self._locked(".lock", wait=True):
                id = self._free_id(f"race-{env.replace('_', '-')}")
                runs = [
                    {"name": f"{id}-{scheme.replace('_', '-')}-s{seed}", "scheme": scheme, "seed": seed}
                    for seed in range(asked.seeds)
                    for scheme in asked.schemes
                ]
                # After all others, also where the clock was set back.
                made = max([time.time(), *(race["made"] + 1e-3 for race in self._all())])
                race = {
                    "id": id,
                    "made": made,
                    "request": asdict(asked),
                    "steps": expected["steps"],
                    "seconds": expected["seconds"] / expected["runs"],
                    "runs": runs,
                }
                with appearing(self.folder / f"{id}.json") as part:
                    part.write_text(json.dumps(race, indent=1) + "\n", encoding="utf-8")
            self._going.append(id)
        self._work()
        return id

    def ask(self, id: str, what: str) -> None:
        """``pause``, ``go`` or ``stop`` a race; ``go`` resumes what was stopped, killed or left behind."""
        self._demand_writable()
        race = self._race(id)
        if what not in ("pause", "go", "stop"):
            raise ActFocusError(f"{what!r}: must be pause, go or stop")
        if race.get("alone"):
            if self._state(race, race["runs"][0])["state"] not in ("running", "paused"):
                raise ActFocusError(f"{id} was not begun by this studio: go on with it where it was begun")
            return request(self.runs_dir / id, what)
        with self._lock, self._writing():
            # Another studio may keep the race going: it looks for this file.
            demand_no_link(self.folder)
            if what == "stop":
                create_empty(self._stop_file(id))
            elif what == "go":
                self._stop_file(id).unlink(missing_ok=True)
                for run in race["runs"]:
                    # One whose process ended without a word is tried again.
                    self._forget_ended(run["name"])
            if what == "go" and id not in self._going:
                self._going.append(id)
            if what == "stop" and id in self._going:
                self._going.remove(id)
            for run in race["runs"]:
                path = self.runs_dir / run["name"]
                if read_status(path).get("state") in ("running", "paused"):
                    request(path, what)
        if what == "go":
            self._demand_disk()
        self._work()

    def races(self) -> list[dict]:
        """All races, the newest first: id, when it was made, and what of."""
        found = []
        for race in [*self._all(), *self._alone()]:
            states = [self._state(race, run)["state"] for run in race["runs"]]
            found.append(
                {
                    "id": race["id"],
                    "made": race["made"],
                    "request": race["request"],
                    "policy": _policy(race),
                    "states": states,
                }
            )
        return sorted(found, key=lambda race: race["made"], reverse=True)

    def look(self, id: str, cursors: dict[str, int]) -> dict:
        """A race as it stands, with each run's metrics since a cursor, as columns."""
        race = self._race(id)
        runs, queue = [], self._queue()
        for run in race["runs"]:
            path = self.runs_dir / run["name"]
            rows, cursor, state = [], 0, self._state(race, run)
            if path.is_dir():
                try:
                    rows, cursor = Run.open(path).metrics(cursors.get(run["name"], 0), ROWS_MAX)
                except ActFocusError as error:
                    # Its folder is broken, or being deleted: the other runs are shown.
                    state["message"] = str(error)
            runs.append(
                {
                    **run,
                    **state,
                    "columns": _columns(rows),
                    "cursor": cursor,
                    "more": len(rows) == ROWS_MAX,
                    "place": queue.index(run["name"]) + 1 if run["name"] in queue else None,
                }
            )
        return {**race, "policy": _policy(race), "runs": runs, "going": id in self._going}

    def log(self, id: str, name: str) -> dict:
        """What a run's process wrote, its config, and how to repeat it: as a command, and in Python."""
        path = self.path(id, name)
        race = self._race(id)
        run = next(run for run in race["runs"] if run["name"] == name)
        again = path.with_name(f"{name}-again")
        config = Run.open(path).info.get("config") if path.is_dir() else None
        python = [
            "from actfocus_core.runs import Run",
            "from actfocus_core.train import TrainConfig, train",
            "",
            f'config = Run.open({str(path)!r}).info["config"]',
            'config.pop("command")',
            f"train(TrainConfig.of(**config), {str(again)!r})",
        ]
        if race.get("alone"):
            own = config["command"]
            words = ["train", "--resume", str(path)] if own == "train" else ["export", str(path), "--format", own]
            return {
                "log": "",
                "config": config,
                "python": "\n".join(python if own == "train" else [*python[:1], "", f"run = Run.open({str(path)!r})"]),
                "command": shlex.join(["actfocus", *words]),
            }
        return {
            "log": _tail(self.folder / f"{name}.log", LOG_MAX),
            "config": config,
            "python": "\n".join(python),
            "command": shlex.join(["actfocus", *self._arguments(race, run, again)]),
        }

    def path(self, id: str, name: str) -> Path:
        """The folder of a race's run. Raises ActFocusError for any other name."""
        if name not in {run["name"] for run in self._race(id)["runs"]}:
            raise ActFocusError(f"the race {id} has no run of that name")
        return self.runs_dir / name

    # --- the slot ------------------------------------------------------------------------

    def _demand_disk(self) -> None:
        """Raises ActFocusError where too little is free to begin a run."""
        free = shutil.disk_usage(self.runs_dir).free
        if free < DISK_FREE:
            raise ActFocusError(
                f"only {free // 1_000_000} MB are free where the runs are kept; make room for at least "
                f"{DISK_FREE // 1_000_000} MB first"
            )

    def _demand_writable(self) -> None:
        if self.read_only:
            raise ActFocusError(READ_ONLY)

    def close(self) -> None:
        """The studio ends in good order: what it trains is asked to stop, so that it can be resumed."""
        with self._lock:
            self._going.clear()
        for name, process in self._processes.items():
            if process.poll() is None:
                try:
                    request(self.runs_dir / name, "stop")
                except (ActFocusError, OSError):
                    process.terminate()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Make one line of what the system says of a folder that cannot be written."""
        try:
            yield
        except OSError as error:
            raise ActFocusError(
                f"{self.runs_dir}: cannot be written ({error.strerror or error}); make room or allow it, or start "
                "the studio with another folder of runs"
            ) from None

    @contextmanager
    def _locked(self, name: str, wait: bool = False) -> Iterator[IO | None]:
        """A file of the folder of races, locked for the block; None where another process holds it and we do not wait."""
        demand_no_link(self.folder)
        with locked(self.folder / name, wait=wait) as file:
            yield file

    def _forget_ended(self, name: str) -> None:
        if name in self._processes and self._processes[name].poll() is not None:
            del self._processes[name]

    def _stop_file(self, id: str) -> Path:
        return self.folder / f"{id}.stop"

    def _work(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._loop, daemon=True)
                self._thread.start()

    def _loop(self) -> None:
        """Begin the next run whenever the slot is free, until nothing is left to begin."""
        while True:
            with self._lock:
                try:
                    stopping = self._obey_stops()
                    self._going = [id for id in self._going if self._pending(id)]
                    if self._going and not self._busy():
                        self._demand_disk()
                        self._begin_next()
                except (ActFocusError, OSError):
                    # The races wait: who presses Go on is told why.
                    self._going.clear()
                    return
                if not self._going and not stopping:
                    return
            time.sleep(POLL)

    def _obey_stops(self) -> bool:
        """Let go of what was stopped, here or in another studio; whether a process of it has still to be told."""
        self._going = [id for id in self._going if not self._stop_file(id).exists()]
        stopping = False
        for race in self._all():
            if self._stop_file(race["id"]).exists():
                for run in race["runs"]:
                    process, path = self._processes.get(run["name"]), self.runs_dir / run["name"]
                    if process is not None and process.poll() is None:
                        stopping = True
                        # One that was just starting took the request away with those of earlier processes.
                        if read_status(path).get("state") in ("running", "paused") and requested(path) != "stop":
                            request(path, "stop")
        return stopping

    def _begin_next(self) -> None:
        """Begin the next run if the slot is free."""
        with self._locked(".slot") as slot:
            # Only now: another studio may just have trained what was to be begun.
            if slot is None or self._busy() or not (pending := self._pending(id := self._going[0])):
                return
            self._spawn(self._race(id), pending[0], slot)

    def _waiting(self) -> float:
        """Seconds of training still to be done in the races that are kept going."""
        total = 0.0
        for id in list(self._going):
            if left := len(self._pending(id)):
                race = self._race(id)
                total += self.estimate(RaceRequest(**race["request"]))["seconds"] * left / len(race["runs"])
        return total

    def _pending(self, id: str) -> list[dict]:
        """The runs of a race that are not done: not begun, stopped or killed, and what is being trained."""
        try:
            race = self._race(id)
        except ActFocusError:
            return []
        return [run for run in race["runs"] if self._state(race, run)["state"] not in ("finished", "failed")]

    def _queue(self) -> list[str]:
        """Names of the runs that wait for the slot, the next one first."""
        return [
            run["name"]
            for id in list(self._going)
            for run in self._pending(id)
            if self._state(self._race(id), run)["state"] == "queued"
        ]

    def _busy(self) -> bool:
        """Whether any process trains here, begun by this studio or by another."""
        if any(process.poll() is None for process in self._processes.values()):
            return True
        return any(
            read_status(self.runs_dir / run["name"]).get("state") in ("running", "paused")
            for race in self._all()
            for run in race["runs"]
        )

    def _spawn(self, race: dict, run: dict, slot: IO) -> None:
        """Begin a run, or go on with it, in a process that keeps the slot locked as long as it lives."""
        path = self.runs_dir / run["name"]
        if path.exists():
            request(path, "go")
            command = processes.python("actfocus_core.cli", "train", "--resume", path, *QUIET)
        else:
            command = self._command(race, run)
        with open_to_append(self.folder / f"{run['name']}.log") as log:
            self._before[run["name"]] = read_status(path).get("pid")
            self._processes[run["name"]] = processes.start(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[slot.fileno()]
            )
        give_way(self._processes[run["name"]])

    def _command(self, race: dict, run: dict) -> list[str]:
        return processes.python("actfocus_core.cli", *self._arguments(race, run, self.runs_dir / run["name"]), *QUIET)

    def _arguments(self, race: dict, run: dict, out: Path) -> list[str]:
        """Of the ``actfocus`` command: what trains a run of the race into a folder."""
        asked, steps = race["request"], race["steps"]
        env, options = ENVIRONMENTS[asked["environment"]]
        own = SCHEMES[run["scheme"]].defaults
        given = {key: asked[key] for key in ("alpha", "beta", "signal") if key in own and run["scheme"] == "actfocus"}
        pairs = [text for key, value in options.items() for text in ("--option", f"{key}={json.dumps(value)}")]
        params = [text for key, value in given.items() for text in (f"--{key}", str(value))]
        policy = asked.get("policy", "tiny")
        # Whatever the machine does meanwhile, a run ends: after four times what was asked for, or expected.
        budget = 4 * max(TIMES[asked["time"]], race.get("seconds", 0))
        return [
            "train",
            "--preset",
            "quick",
            "--env",
            env,
            *pairs,
            *([] if policy == "tiny" else ["--policy", policy]),
            "--algorithm",
            asked["algorithm"],
            "--scheme",
            run["scheme"],
            *params,
            "--seed",
            str(run["seed"]),
            "--steps",
            str(steps),
            "--time-budget",
            str(round(budget)),
            "--set",
            f"eval_every={every(steps)}",
            "--set",
            "store_evaluation=true",
            "--out",
            str(out),
        ]

    # --- what is in the folders ----------------------------------------------------------

    def _all(self) -> list[dict]:
        """Every race whose file is one."""
        found = []
        for file in sorted(self.folder.glob("*.json")):
            with suppress(ActFocusError):
                found.append(self._race(file.stem))
        return found

    def _alone(self) -> list[dict]:
        """The runs that were trained here and belong to no race, each as one of its own."""
        found = []
        for id in sorted(self._trained() - {run["name"] for race in self._all() for run in race["runs"]}):
            with suppress(ActFocusError):
                found.append(self._race_of_one(id))
        return found

    def _trained(self) -> set[str]:
        """Names of the runs that say how their training goes."""
        return {path.parent.name for path in self.runs_dir.glob("*/status.json")}

    def _race_of_one(self, id: str) -> dict:
        run = Run.open(self.runs_dir / id)
        config, status = run.info.get("config") or {}, read_status(run.path)
        if config.get("command") not in TRAINED:
            raise ActFocusError(f"{id} is no training run")
        by = "" if config["command"] == "train" else f", {config['command']}"
        return {
            "id": id,
            "made": (run.path / "run.json").stat().st_mtime,
            "alone": True,
            "steps": status.get("steps") or 1,
            "request": {
                "environment": f"{config.get('env') or 'rollouts of its own'}{by}",
                "algorithm": str(config.get("algorithm", "")),
            },
            "runs": [{"name": id, "scheme": str(config.get("scheme", "")), "seed": config.get("seed") or 0}],
        }

    def _race(self, id: str) -> dict:
        known = isinstance(id, str) and _ID.fullmatch(id) is not None
        if not (known and (self.folder / f"{id}.json").exists()) and isinstance(id, str) and id in self._trained():
            return self._race_of_one(id)
        if not known:
            raise ActFocusError("there is no such race; choose one from the list")
        try:
            demand_no_link(self.folder)
            race = read_json(self.folder / f"{id}.json", RACE_MAX)
            race["request"] = asdict(RaceRequest(**race["request"]))
            good = (
                race["id"] == id
                and type(race["steps"]) is int
                and 0 < race["steps"] < 2**31
                and isinstance(race["made"], (int, float))
                and math.isfinite(race["made"])
                and race["runs"]
                and all(
                    _ID.fullmatch(run["name"].replace("_", "-"))
                    and run["scheme"] in SCHEMES
                    and type(run["seed"]) is int
                    for run in race["runs"]
                )
            )
        except FileNotFoundError:
            raise ActFocusError(f"there is no race {id} here; choose one from the list") from None
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
            ActFocusError,
        ) as error:
            raise ActFocusError(f"{self.folder / id}.json: not the file of a race ({error})") from None
        if not good:
            raise ActFocusError(f"{self.folder / id}.json: not the file of a race")
        return race

    def _free_id(self, stem: str) -> str:
        """No race and no run has this name yet."""
        taken = {path.stem for path in self.folder.glob("*.json")} | {path.name for path in self.runs_dir.iterdir()}
        return next(
            f"{stem}-{n}"
            for n in itertools.count(1)
            if not any(name.startswith(f"{stem}-{n}-") or name == f"{stem}-{n}" for name in taken)
        )

    def _state(self, race: dict, run: dict) -> dict:
        """queued, waiting (nobody keeps the race going), starting, or what the run says of itself."""
        status = read_status(self.runs_dir / run["name"])
        process = self._processes.get(run["name"])
        alive = process is not None and process.poll() is None
        state = status.get("state") or ("starting" if alive else "queued" if race["id"] in self._going else "waiting")
        code = None if process is None else process.poll()
        mute = (
            code is not None
            and status.get("pid") == self._before.get(run["name"])
            and state not in ("finished", "running", "paused")
        )
        if mute:
            # Started again it would end the same way.
            state = "failed"
        if state in ("stopped", "killed") and alive:
            state = "starting"
        step, elapsed = status.get("step", 0), status.get("elapsed") or 0.0
        left = (race["steps"] - step) * elapsed / step if step else None
        found = {
            "state": state,
            "step": step,
            "phase": status.get("phase", ""),
            "elapsed": elapsed,
            "left": left,
            "message": status.get("message") or "",
        }
        if state in ("failed", "killed"):
            # What could say nothing any more: killed, or on a full disk.
            found["message"] = (
                f"{how_it_ended(code)} before it said anything; its log may say why"
                if mute and not code
                else found["message"] or (how_it_ended(code) if code else "")
            )
            found["log"] = _tail(self.folder / f"{run['name']}.log", LOG_TAIL)
        return found


def _policy(race: dict) -> str:
    """What a race's policies began with, as a page calls it."""
    return models.short(race["request"].get("policy", "tiny"))


def every(steps: int) -> int:
    """Steps between the evaluations of a run."""
    return max(1, steps // EVALUATIONS)


def evaluations(steps: int) -> int:
    """How many a run has, those before its first step and after its last included."""
    return 1 + math.ceil(steps / every(steps))


def _rates(rows: list[dict]) -> tuple[float, float] | None:
    """Seconds a step and an evaluation; None where too few steps were taken or they do not say."""
    took = [row["seconds/evaluate"] for row in rows if row.get("seconds/evaluate")]
    if not took or not rows[-1].get("seconds/elapsed") or rows[-1].get("step", 0) < LEAST_STEPS - 1:
        return None
    step = (rows[-1]["seconds/elapsed"] - sum(took)) / rows[-1]["step"]
    return (step, sum(took) / len(took)) if step > 0 else None


def _columns(rows: list[dict]) -> dict[str, list]:
    """The metrics that a page draws, a value a row, None where a row has none: half the size of the rows."""
    names = dict.fromkeys(name for row in rows for name in row if KEYS.fullmatch(name))
    return {name: [_number(row.get(name)) for row in rows] for name in names}


def _number(value: object) -> float | None:
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


def _tail(file: Path, size: int) -> str:
    """The last bytes of a text file; nothing where there is none."""
    try:
        return read_end(file, size).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{file.name} is not shown: {error.strerror}"
