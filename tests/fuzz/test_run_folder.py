"""The reader of run folders: whatever lies in one is read, or refused in one clear line."""

import json
import shutil
import tempfile
from contextlib import redirect_stdout
from functools import cache, partial
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actfocus_core.cli.whatif_tables import TABLES, request_line
from actfocus_core.counterfactual import store as whatif
from actfocus_core.interop.recipes import setting_of
from actfocus_core.runs import Run
from actfocus_core.train import config_of, read_status
from actfocus_core.train.checkpoint import SECONDS, checkpoints, load_checkpoint, save_checkpoint
from actfocus_core.train.control import STATES, requested, write_status
from actfocus_core.trajectory import Alternatives, Trajectory, Turn
from actfocus_studio.data.batch_cache import BatchCache
from actfocus_studio.data.cache import LruCache
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.data.view import View
from actfocus_studio.jobs.experiments import Experiments
from actfocus_studio.pages.trace import api as trace
from actfocus_studio.pages.train import api as train
from tests.fuzz.cases import answered, fuzz
from tests.fuzz.damage import DEEP, Choices, damaged_bytes, damaged_table, damaged_value
from tests.whatifs import BRANCHED

FACTS, NOTES = "trajectories/step-00000.parquet", "signals/step-00000.tiny.parquet"
RACE = "race-frozen-lake-1"


@cache
def base() -> Path:
    """A whole little run: two rollouts, scored; metrics, a status, a what-if, a checkpoint."""
    import torch

    base.kept = tempfile.TemporaryDirectory(prefix="actfocus-fuzz-")
    folder = Path(base.kept.name) / "runs"
    run = Run.create(
        folder / "r",
        {
            "command": "train",
            "env": "frozen_lake",
            "env_options": {"size": 4},
            "model": "tiny",
            "scheme": "actfocus",
            "steps": 3,
            "prompts": 1,
            "rollouts": 2,
        },
        {"name": "tiny", "fingerprint": "0" * 16},
    )
    rollouts = [trajectory(k) for k in range(2)]
    run.add_trajectories(0, rollouts)
    run.annotate(0, "tiny", rollouts, {"policy": "tiny"})
    for step in range(3):
        run.log(
            {
                "step": step,
                "success/rate": 0.5,
                "seconds/elapsed": 1.0 + step,
                "eval/t1/success": 0.25,
                "seconds/evaluate": 0.1,
            }
        )
    write_status(run.path, state="finished", step=3, steps=3, phase="", message="", elapsed=3.0, time_budget=None)
    (run.path / "control.json").write_text('{"request": "pause"}\n')
    whatif.store(run, whatif.WhatIf("branch", {"trajectory": "a-0", "turn": 0}, BRANCHED, rollouts))
    save_checkpoint(
        run.path / "checkpoints", 3, {"policy": {"w": torch.arange(6.0).reshape(2, 3)}}, dict.fromkeys(SECONDS, 3.0), 2
    )
    (folder / ".races").mkdir()
    (folder / ".races" / f"{RACE}.json").write_text(
        json.dumps(
            {
                "id": RACE,
                "made": 1.5,
                "steps": 3,
                "runs": [{"name": "r", "scheme": "actfocus", "seed": 0}],
                "request": {
                    "environment": "FrozenLake, slippery",
                    "algorithm": "grpo",
                    "schemes": ["actfocus"],
                    "seeds": 1,
                    "time": "30 seconds",
                },
            }
        )
    )
    return folder


SEGMENT = dict(
    rollout_id="r",
    segment=1,
    parent=(0, 4),
    agent="solver",
    in_loss=[True] * 12,
    recorded={"value": [0.5] * 12},
    policy_version=[3] * 12,
    rewards={"goal": (1.0, 1.0)},
    error="none",
    stop_reason="stop",
)
"""Optional fields of a trajectory"""


def trajectory(rollout: int) -> Trajectory:
    kinds = np.array([0, 2, 1, 2, 5, 3, 3, 5, 4, 5, 2, 2], np.uint8)
    written = np.isin(kinds, (3, 4, 5))
    scores = np.where(written, np.linspace(-2, -0.1, 12), np.nan)
    return Trajectory(
        f"a-{rollout}",
        np.arange(12),
        kinds,
        [-1, -1, *[0] * 10],
        scores,
        [f" t{k}" for k in range(12)],
        [
            Turn(
                "P (0,0)",
                "<think>x</think><answer>Up</answer>",
                ["Up"],
                True,
                float(rollout),
                0.0,
                "k0",
                {"at": [0, 0]},
            )
        ],
        {"entropy": scores, "ref_energy": scores, "ref_entropy": -scores, "ref_logprob": scores},
        Alternatives(np.full((12, 2), 3), np.full((12, 2), -0.5), [["a", "b"]] * 12),
        group="a",
        env="frozen_lake",
        seed=7,
        rollout=rollout,
        step=0,
        model="tiny",
        reward=float(rollout),
        success=bool(rollout),
        **(SEGMENT if rollout else {}),
    )


def file(name: str) -> Path:
    if name == "whatif":
        return next((base() / "r/whatif").glob("*.json"))
    return base() / "r" / name if name != RACE else base() / ".races" / f"{RACE}.json"


def read(name: str, data: bytes) -> None:
    """All that the library and the pages read of the run, while one file of it holds these bytes."""
    place = file(name)
    whole, listed = place.read_bytes(), sorted(base().rglob("*"))
    place.write_bytes(data)
    try:
        READERS.get(name, tables)()
        assert sorted(base().rglob("*")) == listed and place.read_bytes() == data, "reading writes nothing"
    finally:
        place.write_bytes(whole)


def opened() -> Run | None:
    return answered(lambda: Run.open(base() / "r"))


def tables() -> None:
    run = opened()
    if run is None:
        return
    frame = answered(run.index)
    for t in answered(run.trajectories) or []:
        assert {len(t.kinds), len(t.turns), len(t.logprobs), len(t.texts), *map(len, t.signals.values())} == {len(t)}
        assert all(isinstance(text, str) for text in t.texts) and all(
            isinstance(turn.state, dict) for turn in t.turn_records
        )
    for id in [] if frame is None else frame["id"].tolist()[:2]:
        answered(lambda: run.trajectory(id))  # noqa: B023
    answered(lambda: list(run.stream()))
    answered(lambda: run.annotation_metadata(0, "tiny"))
    page(View())


def page(view: View) -> None:
    """What the Trace page is sent: JSON, with one clear line where the run cannot be shown."""
    studio = SimpleNamespace(catalog=Catalog([base() / "r"], base() / "none"), batches=BatchCache())
    told = trace.opened(studio, LruCache(), trace.OpenRequest(view=view, restore=True))
    assert json.loads(told.model_dump_json(by_alias=True))


def info() -> None:
    run = opened()
    if run is not None:
        answered(lambda: config_of(run))
        answered(lambda: setting_of(run))
    page(View())


def rows() -> None:
    run = opened()
    found = answered(run.metrics)
    for row in (found or [[]])[0]:
        assert 0 <= row["step"] < 2**31
    first = answered(lambda: run.metrics(0, 1))
    assert found is None or first is None or answered(lambda: run.metrics(first[1]))[0] == found[0][len(first[0]) :]
    race()


def status() -> None:
    found = read_status(base() / "r")
    assert found.get("state") in (None, *STATES, "killed") and requested(base() / "r") in ("go", "pause", "stop")
    race()


def race() -> None:
    """The Train page's list and its race."""
    races = Experiments(base())
    assert answered(lambda: train.listed(races)) is not None, "a broken race is left out of the list"
    told = answered(lambda: train.look(races, RACE, {}))
    if told is not None:
        told.model_dump_json()
    answered(lambda: races.rates("frozen_lake", "grpo", "tiny"))
    answered(races._busy)


def answers() -> None:
    run = opened()
    if run is None:
        return
    [request_line(row["request"]) for row in answered(lambda: whatif.listing(run)) or []]
    what = answered(
        lambda: whatif.load(run, next((base() / "r/whatif").glob("*.parquet"), Path("branch-000000000000")).stem)
    )
    if what:
        # What was read can be printed.
        with redirect_stdout(StringIO()):
            TABLES[what.kind](what)


def checkpoint() -> None:
    folder = base() / "r/checkpoints"
    answered(lambda: load_checkpoint(folder, checkpoints(folder)[-1], ["policy"]))


READERS = {
    "run.json": info,
    "metrics.jsonl": rows,
    "status.json": status,
    "control.json": status,
    "whatif": answers,
    RACE: race,
    "checkpoints/step-00003/state.json": checkpoint,
    "checkpoints/step-00003/policy.safetensors": checkpoint,
}


def of(*names: str):
    """Makes (name, its bytes damaged, or its JSON with wrong values)."""

    def make(choices: Choices) -> tuple[str, bytes]:
        name = choices.pick(names)
        kept = file(name).read_bytes()
        if (name.endswith(".json") or name in ("whatif", RACE)) and choices.below(3):
            return name, json.dumps(damaged_value(choices, json.loads(kept))).encode()
        return name, damaged_bytes(choices, kept)

    return make


def metrics(choices: Choices) -> bytes:
    if choices.below(2):
        return damaged_bytes(choices, file("metrics.jsonl").read_bytes())
    row = {"step": 0} | {
        choices.pick(["step", "success/rate", "seconds/elapsed", "x"]): choices.value() for _ in range(choices.below(4))
    }
    return json.dumps(row).encode() + b"\n"


@fuzz(
    "run files",
    {
        "case": (
            "run.json",
            b'{"format": "actfocus-run", "version": 1, "config": {"env": "x", "env_options": {"slip": 1e999, "a": NaN}}}',
        )
    },
    {"case": ("run.json", DEEP.encode())},
    {"case": ("status.json", b"[]")},
    {"case": ("status.json", b'{"state": []}')},
    {"case": ("control.json", b'{"request": []}')},
    {"case": ("status.json", DEEP.encode())},
    {"case": ("control.json", DEEP.encode())},
    case=of("run.json", "status.json", "control.json"),
)
def test_the_small_files_of_a_run(case):
    read(*case)


@fuzz(
    "metrics",
    {"data": DEEP.encode() + b"\n"},
    {"data": b"5\n"},
    {"data": b'{"step": 0, "loss/policy": 1' + b"0" * 400 + b"}\n"},
    data=metrics,
)
def test_any_metrics(data):
    read("metrics.jsonl", data)


@fuzz("tables", case=of(FACTS, NOTES))
def test_any_bytes_in_a_table(case):
    read(*case)


def rewritten(choices: Choices) -> tuple[str, bytes]:
    name = choices.pick([FACTS, FACTS, NOTES])
    sink = pa.BufferOutputStream()
    pq.write_table(damaged_table(choices, pq.read_table(file(name))), sink)
    return name, sink.getvalue().to_pybytes()


@fuzz("columns", case=rewritten)
def test_any_columns_in_a_table(case):
    read(*case)


@fuzz("what-ifs", case=of("whatif"))
def test_any_what_if(case):
    read(*case)


@fuzz(
    "checkpoints",
    {"case": ("checkpoints/step-00003/state.json", b"[]")},
    {"case": ("checkpoints/step-00003/state.json", DEEP.encode())},
    case=of("checkpoints/step-00003/state.json", "checkpoints/step-00003/policy.safetensors"),
)
def test_any_checkpoint(case):
    read(*case)


@fuzz("races", case=of(RACE))
def test_any_race(case):
    read(*case)


def test_a_folder_whose_files_go_away_one_by_one():
    """Every file of an open run is deleted before everything is read again."""
    for name in [str(path.relative_to(base() / "r")) for path in sorted((base() / "r").rglob("*")) if path.is_file()]:
        run = Run.open(base() / "r")
        run.index()
        whole = (base() / "r" / name).read_bytes()
        (base() / "r" / name).unlink()
        try:
            for look in (
                run.index,
                run.trajectories,
                partial(run.trajectory, "a-1"),
                lambda run=run: list(run.stream()),
                run.metrics,
                partial(whatif.listing, run),
            ):
                answered(look)
            tables()
            race()
            answers()
        finally:
            (base() / "r" / name).write_bytes(whole)
    shutil.copytree(base(), moved := base().with_name("moved"))
    run = Run.open(moved / "r")
    shutil.rmtree(moved)
    for look in (
        run.trajectories,
        lambda: run.trajectory("a-1"),
        lambda: list(run.stream()),
        lambda: run.annotate(0, "x", []),
        run.metrics,
        lambda: whatif.listing(run),
    ):
        answered(look)
    assert not moved.exists()
