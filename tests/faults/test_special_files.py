"""A run folder that a stranger made: links, FIFOs and devices in place of its files harm nobody who opens it."""

import os
import shutil
import socket
from contextlib import suppress

import pytest

from actfocus_core import files
from actfocus_core.counterfactual import store as whatif
from actfocus_core.errors import ActFocusError
from actfocus_core.paths import assets
from actfocus_core.policy import load_policy
from actfocus_core.runs import Run
from actfocus_core.train import read_status, request
from actfocus_core.train.checkpoint import checkpoints, load_checkpoint
from actfocus_core.train.control import clear, requested, training_lock
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.jobs.experiments import ExperimentRequest, Experiments
from tests.app.experiments import GOOD
from tests.core.command import actfocus
from tests.fuzz.test_run_folder import RACE, base

SECRET = '{"secret": "of another folder"}\n'


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a run, a race and the log of its run."""
    folder = tmp_path_factory.mktemp("whole") / "runs"
    shutil.copytree(base(), folder)
    (folder / ".races/r.log").write_text("step 1\n")
    for name in (".lock", ".slot"):
        (folder / ".races" / name).touch()
    (folder / "r/.lock").touch()
    return folder


def names(folder) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    )


def link(place, outside):
    place.symlink_to(outside)


def device(place, outside):
    place.symlink_to("/dev/zero")


def itself(place, outside):
    place.symlink_to(place)


def fifo(place, outside):
    os.mkfifo(place)


def folder(place, outside):
    place.mkdir()


def connection(place, outside):
    here = os.getcwd()
    os.chdir(place.parent)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(place.name)
    os.chdir(here)


def huge(place, outside):
    with open(place, "wb") as stream:
        stream.truncate(10 << 30)


KINDS = [link, device, itself, fifo, folder, connection, huge]


def look(runs) -> str:
    """All that the library and the studio read of the folder; what they say of it."""
    said = []

    def told(reads) -> None:
        try:
            said.append(repr(reads()))
        except ActFocusError as error:
            assert len(str(error).splitlines()) == 1
            said.append(str(error))

    told(lambda: Catalog([], runs).paths())
    told(lambda: Catalog([], runs).open("r").trajectories())
    run = None
    with suppress(ActFocusError):
        run = Run.open(runs / "r")
    if run:
        for reads in (
            run.index,
            run.metrics,
            lambda: list(run.stream()),
            lambda: run.annotation_metadata(0, "tiny"),
            lambda: whatif.listing(run),
            lambda: whatif.load(run, next(iter((run.path / "whatif").glob("*"))).stem),
        ):
            told(reads)
    told(
        lambda: (
            load_checkpoint(runs / "r/checkpoints", checkpoints(runs / "r/checkpoints")[-1], ["policy"])
            if checkpoints(runs / "r/checkpoints")
            else "no checkpoint"
        )
    )
    said += [repr(read_status(runs / "r")), requested(runs / "r")]
    races = Experiments(runs)
    for reads in (
        races.listing,
        races._busy,
        lambda: races.look(RACE, {}),
        lambda: races.log(RACE, "r"),
        lambda: races.rates("frozen_lake", "grpo", "tiny"),
    ):
        told(reads)
    return "\n".join(said)


def write(runs, monkeypatch) -> None:
    """All that they write there, each refused in one line where it cannot be done."""

    def tried(*writes) -> None:
        for one in writes:
            with suppress(ActFocusError, OSError):
                one()

    def train_alone():
        with training_lock(runs / "r"):
            clear(runs / "r")

    races = Experiments(runs)
    monkeypatch.setattr(Experiments, "_work", lambda self: None)
    monkeypatch.setattr(Experiments, "_command", lambda self, race, run: ["true"])
    tried(
        lambda: request(runs / "r", "pause"),
        train_alone,
        lambda: Run.open(runs / "r").log({"step": 9}),
        lambda: races.ask(RACE, "stop"),
        lambda: races.ask(RACE, "go"),
        lambda: races.start(ExperimentRequest(**GOOD)),
    )
    races._going = [race["id"] for race in races._all() if race["id"] != RACE][:1]
    if races._going:
        tried(races._begin_next)
    for process in races._processes.values():
        process.wait()
    monkeypatch.undo()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", KINDS)
def test_every_file_of_a_run_and_of_the_races(whole, tmp_path, kind, monkeypatch):
    """Nothing hangs or fills up, nothing elsewhere is shown or changed, and each is one line."""
    outside = tmp_path / "secret.json"
    todo = names(whole)
    assert len(todo) > 10 and {"r/.lock", "r/status.json", "r/metrics.jsonl", ".races/r.log", ".races/.slot"} <= set(
        todo
    )
    for number, name in enumerate([*todo, f".races/{RACE}.stop"]):
        outside.write_text(SECRET)
        runs = tmp_path / str(number)
        shutil.copytree(whole, runs)
        (runs / name).unlink(missing_ok=True)
        kind(runs / name, outside)
        assert "of another folder" not in look(runs), name
        write(runs, monkeypatch)
        assert "of another folder" not in look(runs), name
        assert outside.read_text() == SECRET and sorted(tmp_path.iterdir()) == [runs, outside], name
        shutil.rmtree(runs)


@pytest.mark.parametrize(
    "name", ["trajectories", "signals", "whatif", "checkpoints", "evaluation", "policy", "tensorboard"]
)
def test_a_folder_of_a_run_that_is_a_link(whole, tmp_path, name):
    shutil.copytree(whole, tmp_path / "runs")
    elsewhere, own = tmp_path / "elsewhere", tmp_path / "runs/r" / name
    if own.exists():
        own.rename(elsewhere)
    else:
        elsewhere.mkdir()
    own.symlink_to(elsewhere)
    with pytest.raises(ActFocusError, match=f"{name} is a link"):
        Run.open(own.parent)
    done = actfocus("credit", str(own.parent))
    assert done.returncode == 2 and f"{name} is a link" in done.stderr


def test_an_evaluation_that_is_a_link_to_another_run(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "runs")
    (tmp_path / "runs/r/evaluation").mkdir()
    (tmp_path / "runs/r/evaluation/t1").symlink_to(whole / "r")
    with pytest.raises(ActFocusError, match="t1 is a link"):
        Run.open(tmp_path / "runs/r").evaluation("t1")
    assert [name for name in Catalog([], tmp_path / "runs").paths() if "evaluation" in name] == []
    assert Run.open(whole / "r").evaluation("t1") is None


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "actfocus.json"])
def test_a_file_of_a_runs_policy_that_is_a_link(whole, tmp_path, name):
    """The same folder outside of a run is read: the hub's cache consists of links."""
    shutil.copytree(whole / "r", tmp_path / "r")
    linked = shutil.copytree(assets() / "tiny-policy", tmp_path / "r/policy") / name
    kept = linked.rename(tmp_path / name)
    linked.symlink_to(kept)
    with pytest.raises(ActFocusError, match=f"{name}: is a link"):
        load_policy(str(linked.parent), "cpu")
    shutil.copytree(linked.parent, tmp_path / "elsewhere", symlinks=True)
    assert load_policy(str(tmp_path / "elsewhere"), "cpu").fingerprint == load_policy("tiny", "cpu").fingerprint


def test_the_folder_of_races_that_is_a_link(whole, tmp_path):
    runs, elsewhere = tmp_path / "runs", tmp_path / "elsewhere"
    shutil.copytree(whole, runs)
    (runs / ".races").rename(elsewhere)
    (runs / ".races").symlink_to(elsewhere)
    before = names(elsewhere)
    races = Experiments(runs)
    with pytest.raises(ActFocusError, match="is a link"):
        races.start(ExperimentRequest(**GOOD))
    assert races.listing()[0]["id"] == "r" and names(elsewhere) == before


def test_a_run_folder_that_is_itself_a_link_is_opened(whole, tmp_path):
    (tmp_path / "mine").symlink_to(whole / "r")
    assert len(Run.open(tmp_path / "mine").trajectories()) == 2
    assert "r" in Catalog([tmp_path / "mine"], tmp_path / "none").paths()
    with training_lock(tmp_path / "mine"):
        assert files.is_locked(whole / "r/.lock")


def test_resuming_behind_a_link_names_the_file_and_changes_nothing(tmp_path):
    """A lock that is a link used to empty its target."""
    run, victim = tmp_path / "r", tmp_path / "victim"
    small = ("--set", "prompts=1", "--set", "rollouts=2", "--set", "eval_every=0", "--set", "minibatch=2")
    assert actfocus("train", "--preset", "quick", "--steps", "1", "--out", str(run), *small).returncode == 0
    victim.write_text("precious")
    for name, says in ((".lock", ".lock: it is a link"), ("metrics.jsonl", "metrics.jsonl: it is a link")):
        kept = (run / name).rename(tmp_path / "kept")
        (run / name).symlink_to(victim)
        done = actfocus("train", "--resume", str(run), "--steps", "2")
        assert done.returncode == 2 and says in done.stderr and victim.read_text() == "precious"
        kept.replace(run / name)
    assert actfocus("train", "--resume", str(run), "--steps", "2").returncode == 0


# --- the helper ------------------------------------------------------------------------------


def test_opening_never_empties_and_locking_keeps_the_content(tmp_path):
    (tmp_path / "x").write_text("kept")
    with files.locked(tmp_path / "x") as held, files.locked(tmp_path / "x") as second:
        assert held and second is None and files.is_locked(tmp_path / "x")
    assert not files.is_locked(tmp_path / "x") and not files.is_locked(tmp_path / "absent")
    with files.open_to_append(tmp_path / "x") as stream:
        stream.write(b", and more")
    files.create_empty(tmp_path / "x")
    assert files.read_text(tmp_path / "x") == "kept, and more" and files.read_end(tmp_path / "x", 4) == b"more"
    files.create_empty(tmp_path / "new")
    assert files.read_text(tmp_path / "new") == ""


def test_many_who_look_see_no_lock_in_each_other(tmp_path):
    """A reader used to take the trainer's lock for a moment, and a second one saw a trainer."""
    files.create_empty(tmp_path / "x")
    with open(tmp_path / "x", "rb") as reader:
        import fcntl

        fcntl.flock(reader, fcntl.LOCK_SH)
        assert not files.is_locked(tmp_path / "x")


def test_a_file_over_the_limit_is_not_read(tmp_path):
    (tmp_path / "x").write_bytes(b"x" * 11)
    with pytest.raises(OSError, match="11 bytes, at most 10"):
        files.read_text(tmp_path / "x", 10)
    assert files.read_text(tmp_path / "x", 11) == "x" * 11
    with pytest.raises(OSError, match="more than the 0 bytes"):
        files.read_text("/proc/self/status", 0)  # a regular file that says it has no bytes
