"""The requests of the What-if panel: the answers are the library's, and are kept with the run where it can be written."""

import json
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest

from actfocus_core.counterfactual.replay import replay as replayed
from actfocus_core.errors import ActFocusError
from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.data.view import View
from actfocus_studio.jobs.whatif.process import BUSY, WhatIfProcess
from actfocus_studio.panels.whatif import requests as whatif_requests
from actfocus_studio.panels.whatif.panel import Panel
from actfocus_studio.shell.requests import answer
from tests.app.sample import interesting_trajectory, make_run

PATIENCE_S = 180
SCHEMES = ["uniform", "actfocus"]


class Shared:
    """What the panel needs of a studio."""

    def __init__(self, runs_dir):
        self.catalog, self.read_only = Catalog([], runs_dir), False


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Copies of a sample run: one to write in, one whose what-ifs cannot be kept."""
    made = tmp_path_factory.mktemp("whatif")
    for name in ("lake", "closed"):
        shutil.copytree(assets() / "runs" / "frozen-lake", made / name, ignore=shutil.ignore_patterns("whatif"))
    (made / "closed" / "whatif").write_text("in the way")
    return made


class WatchedProcess(WhatIfProcess):
    """The process, and a way to wait for the end of its work."""

    def __init__(self):
        super().__init__()
        self.ended = threading.Event()

    def start(self, *request):
        self.ended.clear()
        return super().start(*request)

    def _take(self, message):
        super()._take(message)
        if self._status.state != "running":
            self.ended.set()

    def _ended(self, process, message):
        super()._ended(process, message)
        self.ended.set()


@pytest.fixture(scope="module")
def panel(folder):
    panel = Panel(Shared(folder), WatchedProcess())
    yield panel
    panel.process.close()


def ask(panel, op, run="lake", **request) -> dict:
    """The answer to a request of the page."""
    return json.loads(answer(json.dumps({"number": 1, "op": op, "run": run, **request}), panel.handle))


def finished(panel) -> dict:
    """The work's last status."""
    assert panel.process.ended.wait(PATIENCE_S)
    return ask(panel, "look")["job"]


REPLAY = {"kind": "replay", "schemes": SCHEMES, "match": "rate", "groups": 1, "evaluation": 0}
BRANCH = {
    "kind": "branch",
    "turn": 0,
    "token": None,
    "rollouts": 2,
    "action": None,
    "text": None,
    "same_dice": False,
    "temperature": 1.0,
    "seed": 0,
}


def test_the_process_answers_as_the_library_does(panel, folder):
    run = Run.open(folder / "lake")
    id = interesting_trajectory(run)
    assert ask(panel, "start", trajectory=id, alpha=0.2, beta=1.0, **REPLAY)["job"]["state"] == "running"
    assert ask(panel, "start", trajectory=id, **REPLAY)["error"] == BUSY
    job = finished(panel)
    assert (job["state"], job["kept"]) == ("done", True), job
    group = run.trajectory(id).group
    own = replayed(
        run,
        0,
        SCHEMES,
        params={"actfocus": {"alpha": 0.2, "beta": 1.0, "signal": "energy"}},
        fresh=True,
        groups=[group],
    )
    assert job["answer"] == own.id
    found = ask(panel, "show", id=own.id, trajectory=id)["what"]
    assert [t["id"] for t in found["trajectories"]] == [t.id for t in own.trajectories] and found["pane"]["id"] == id
    mine = next(t for t in own.trajectories if t.id == id)
    for scheme in SCHEMES:
        change = mine.signals[f"logprob_after:{scheme}"] - mine.signals["logprob_before"]
        np.testing.assert_allclose(np.array(found["schemes"][scheme]["change"], float), change, atol=2e-5)
    # The worlds and what the oracle says of the turns are the Trace page's.
    assert found["pane"]["turns"][0]["picture"].startswith("<svg") and found["pane"]["turns"][0]["oracle"]
    walked = ask(panel, "motion", id=own.id, trajectory=id, scheme="actfocus")["motion"]
    weights = np.array(walked["steps"]["weights"]["values"], float)
    np.testing.assert_allclose(weights, mine.signals["weight:actfocus"], atol=1e-6)
    assert [row["id"] for row in ask(panel, "list")["list"]] == [own.id]
    assert "no scheme 'empg'" in ask(panel, "motion", id=own.id, trajectory=id, scheme="empg")["error"]


def test_what_cannot_be_kept_is_shown_and_said(panel, folder):
    run = Run.open(folder / "closed")
    ask(panel, "start", run="closed", trajectory=interesting_trajectory(run), **BRANCH)
    job = finished(panel)
    assert (job["state"], job["kept"]) == ("done", False), job
    what = ask(panel, "show", run="closed", id=job["answer"])["what"]
    assert not what["kept"] and len(what["outcomes"]) == 2 and what["original"]["id"] == interesting_trajectory(run)
    assert [(row["id"], row["kept"]) for row in ask(panel, "list", run="closed")["list"]] == [(job["answer"], False)]
    assert (folder / "closed" / "whatif").read_text() == "in the way"
    assert "has no what-if" in ask(panel, "show", id=job["answer"])["error"]


def test_cancelled_work_leaves_nothing_and_the_next_is_answered(panel, folder):
    id = interesting_trajectory(Run.open(folder / "lake"))
    before = set((folder / "lake").rglob("*"))
    ask(panel, "start", trajectory=id, **BRANCH | {"rollouts": 64})
    assert ask(panel, "cancel")["job"]["state"] == "cancelled"
    assert set((folder / "lake").rglob("*")) == before
    ask(panel, "start", trajectory=id, **BRANCH | {"action": "Fly"})
    job = finished(panel)
    assert job["state"] == "failed" and "'Fly': is not an action of frozen_lake; legal now: " in job["message"]


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"op": "rm"}, "unknown"),
        ({"op": None}, "unknown"),
        ({"op": "show", "id": "../run"}, "invalid what-if id"),
        ({"op": "show", "id": ["x"]}, "invalid what-if id"),
        ({"op": "show", "id": "replay-000000000000"}, "has no what-if"),
        ({"op": "start", "kind": "rm"}, "kind"),
        ({"op": "start", "kind": []}, "kind"),
        ({"op": "start", **REPLAY, "schemes": ["magic"]}, "schemes"),
        ({"op": "start", **REPLAY, "schemes": [["uniform"]]}, "schemes"),
        ({"op": "start", **REPLAY, "schemes": []}, "schemes"),
        ({"op": "start", **REPLAY, "schemes": ["uniform"] * 2}, "schemes"),
        ({"op": "start", **REPLAY, "match": "lr"}, "match"),
        ({"op": "start", **REPLAY, "groups": True}, "groups"),
        ({"op": "start", **REPLAY, "groups": 7}, "groups"),
        ({"op": "start", **REPLAY, "evaluation": 1000}, "evaluation"),
        ({"op": "start", **BRANCH, "rollouts": 65}, "rollouts"),
        ({"op": "start", **BRANCH, "turn": -1}, "turn"),
        ({"op": "start", **BRANCH, "turn": 99}, "turn"),
        ({"op": "start", **BRANCH, "token": 10**9}, "token"),
        ({"op": "start", **BRANCH, "temperature": 1e999}, "temperature"),
        ({"op": "start", **BRANCH, "text": "x" * 5000}, "text"),
        ({"op": "start", "kind": "edit", "turn": 0}, "text"),
        ({"op": "start", "kind": "edit", "text": "x", "first": 0, "end": "5"}, "end"),
        ({"op": "facts", "run": "../.."}, "no run"),
    ],
)
def test_a_bad_request_gives_one_clear_line(panel, request_, says):
    found = ask(panel, **{"op": None, **request_})
    assert set(found) == {"error", "number"} and says in found["error"] and "\n" not in found["error"]


def test_of_a_trained_run_a_step_is_replayed_with_its_own_parameters(folder):
    run = Run.create(
        folder / "trained", {"command": "train", "model": "tiny", "scheme": "actfocus", "scheme_params": {"alpha": 0.3}}
    )
    lake = Run.open(folder / "lake")
    batch = lake.trajectories(0)[:8]
    for step in (1, 2, 3, 4):
        run.add_trajectories(step, [replace(t, id=f"{step}-{t.id}", step=step) for t in batch])
    for step in (2, 3):
        (run.path / "checkpoints" / f"step-{step:05d}").mkdir(parents=True)
    assert whatif_requests.steps(run) == [1, 3, 4]
    t, view = run.trajectories(3)[0], View(alpha=0.9)
    facts = whatif_requests.facts(run, t)
    assert (facts["trained"], facts["own"], facts["steps"]) == (True, "actfocus", [1, 3, 4])
    made = whatif_requests.replay(run, view, {**REPLAY, "step": 3}, t)
    # The run's own scheme keeps the run's parameters: the sidebar's are for the others.
    assert made == {"schemes": SCHEMES, "match": "rate", "evaluation": 0, "params": {}, "step": 3, "look": t.id}
    assert whatif_requests.replay(lake, view, REPLAY, lake.trajectories(0)[0])["params"]["actfocus"]["alpha"] == 0.9
    with pytest.raises(ActFocusError, match="has no step 9"):
        whatif_requests.replay(run, view, {**REPLAY, "step": 9}, t)


def test_a_run_whose_policy_is_not_here_says_so(panel, folder):
    run = make_run(folder / "scripted", prompts=1, rollouts=2)
    facts = ask(panel, "facts", run="scripted")["facts"]
    assert facts["model"] is None and "“scripted” is not here" in facts["why"]
    assert (
        "“scripted” is not here"
        in ask(panel, "start", run="scripted", trajectory=run.index()["id"][0], **REPLAY)["error"]
    )
