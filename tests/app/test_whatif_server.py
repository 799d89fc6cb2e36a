"""The requests of the What-if panel: the answers are the library's, and are kept with the run where it can be written."""

import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest

from actfocus_core.counterfactual.replay import replay as replayed
from actfocus_core.counterfactual.store import WhatIf, store
from actfocus_core.counterfactual.walkthrough import walkthrough
from actfocus_core.errors import ActFocusError
from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.data.view import View
from actfocus_studio.jobs.experiments import Experiments
from actfocus_studio.jobs.whatif.process import BUSY, WhatIfProcess
from actfocus_studio.panels.whatif import requests as whatif_requests
from actfocus_studio.panels.whatif.api import api
from actfocus_studio.panels.whatif.requests import ReplayRequest
from actfocus_studio.shell.studio import Studio
from tests.app.routes import Routes, values
from tests.app.sample import interesting_trajectory, make_run
from tests.whatifs import BRANCHED, NODE

PATIENCE_S = 180
SCHEMES = ["uniform", "actfocus"]


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


class Panel(Routes):
    """The panel's routes over the runs of a folder."""

    def __init__(self, runs_dir):
        self.process = WatchedProcess()
        super().__init__(api(Studio(Catalog([], runs_dir), Experiments(runs_dir), whatif=self.process)), "whatif")

    def about(self, op: str, run: str = "lake", **request) -> dict:
        """The answer to a request about a run; ``trajectory, alpha, beta`` go into the view."""
        view = {name: request.pop(name) for name in ("trajectory", "alpha", "beta") if name in request}
        return self.ask(op, view={"run": run, **view}, **request)

    def finished(self) -> dict:
        """The work's last status."""
        assert self.process.ended.wait(PATIENCE_S)
        return self.ask("look")


@pytest.fixture(scope="module")
def panel(folder):
    panel = Panel(folder)
    yield panel
    panel.process.close()


REPLAY = {"schemes": SCHEMES, "match": "rate", "groups": 1, "evaluation": 0}
BRANCH = {
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
    assert panel.about("replay", trajectory=id, alpha=0.2, beta=1.0, **REPLAY)["state"] == "running"
    assert panel.about("replay", trajectory=id, **REPLAY)["error"] == BUSY
    job = panel.finished()
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
    found = panel.about("show", id=own.id, trajectory=id)
    assert [t["id"] for t in found["trajectories"]] == [t.id for t in own.trajectories] and found["pane"]["id"] == id
    mine = next(t for t in own.trajectories if t.id == id)
    for scheme in SCHEMES:
        change = mine.signals[f"logprob_after:{scheme}"] - mine.signals["logprob_before"]
        np.testing.assert_allclose(values(found["schemes"][scheme]["change"]), change, atol=2e-5)
    # The worlds and what the oracle says of the turns are the Trace page's.
    assert found["pane"]["turns"][0]["picture"].startswith("<svg") and found["pane"]["turns"][0]["oracle"]
    walked = panel.about("motion", id=own.id, trajectory=id, scheme="actfocus")
    np.testing.assert_allclose(values(walked["columns"]["weight"]), mine.signals["weight:actfocus"], atol=1e-6)
    steps = walkthrough(own, id, "actfocus")
    for column, expected in (("loss", steps["loss"]["values"]), ("share", steps["mass"]["values"])):
        np.testing.assert_allclose(values(walked["columns"][column]), np.array(expected, float), atol=1e-6)
    z = steps["z"]
    np.testing.assert_allclose(values(walked["signal"]["z"]), np.array(z["values"], float), atol=2e-5)
    assert (walked["signal"]["name"], walked["signal"]["count"]) == ("energy", z["count"])
    assert walked["returns"] == list(steps["rewards"]["group"].values()) and walked["params"] == {
        "alpha": 0.2,
        "beta": 1.0,
    }
    listed = panel.about("list")["answers"]
    assert [(row["id"], row["kind"], row["request"]["schemes"]) for row in listed] == [(own.id, "replay", SCHEMES)]
    assert "no scheme 'empg'" in panel.about("motion", id=own.id, trajectory=id, scheme="empg")["error"]


def test_what_cannot_be_kept_is_shown_and_said(panel, folder):
    run = Run.open(folder / "closed")
    panel.about("branch", run="closed", trajectory=interesting_trajectory(run), **BRANCH)
    job = panel.finished()
    assert (job["state"], job["kept"]) == ("done", False), job
    what = panel.about("show", run="closed", id=job["answer"])
    assert not what["kept"] and what["original"]["id"] == interesting_trajectory(run)
    assert sum(len(node["ids"]) for node in what["result"]["tree"]) == what["result"]["to_go"]["n"] == 2
    listed = panel.about("list", run="closed")["answers"]
    assert [(row["id"], row["kept"]) for row in listed] == [(job["answer"], False)]
    assert (folder / "closed" / "whatif").read_text() == "in the way"
    assert "has no what-if" in panel.about("show", id=job["answer"])["error"]


def test_cancelled_work_leaves_nothing_and_the_next_is_answered(panel, folder):
    id = interesting_trajectory(Run.open(folder / "lake"))
    before = set((folder / "lake").rglob("*"))
    panel.about("branch", trajectory=id, **BRANCH | {"rollouts": 64})
    assert panel.ask("cancel")["state"] == "cancelled"
    assert set((folder / "lake").rglob("*")) == before
    panel.about("branch", trajectory=id, **BRANCH | {"action": "Fly"})
    job = panel.finished()
    assert job["state"] == "failed" and "'Fly': is not an action of frozen_lake; legal now: " in job["message"]


@pytest.mark.parametrize(
    ("op", "request_", "says"),
    [
        ("show", {"id": "../run"}, "invalid what-if id"),
        ("show", {"id": ["x"]}, "id: "),
        ("show", {"id": "replay-000000000000"}, "has no what-if"),
        ("replay", {**REPLAY, "schemes": ["magic"]}, "schemes: choose one to 3 of uniform, "),
        ("replay", {**REPLAY, "schemes": [["uniform"]]}, "schemes"),
        ("replay", {**REPLAY, "schemes": []}, "schemes: choose one to 3 of uniform, "),
        ("replay", {**REPLAY, "schemes": ["uniform"] * 2}, "schemes: choose one to 3 of uniform, "),
        ("replay", {**REPLAY, "match": "lr"}, "match"),
        ("replay", {**REPLAY, "groups": True}, "groups"),
        ("replay", {**REPLAY, "groups": 7}, "groups"),
        ("replay", {**REPLAY, "evaluation": 1000}, "evaluation"),
        ("replay", {**REPLAY, "kind": "branch"}, "kind"),
        ("branch", {**BRANCH, "rollouts": 65}, "rollouts"),
        ("branch", {**BRANCH, "turn": -1}, "turn"),
        ("branch", {**BRANCH, "turn": 99}, "turn: must be a whole number from 0 to "),
        ("branch", {**BRANCH, "token": 10**9}, "token"),
        ("branch", {**BRANCH, "token": 10**6}, "token: must be a whole number from 0 to "),
        ("branch", {**BRANCH, "temperature": 1e999}, "temperature"),
        ("branch", {**BRANCH, "text": "x" * 5000}, "text"),
        ("edit", {"turn": 0}, "text"),
        ("edit", {"text": "x"}, "turn: must be a whole number from 0 to "),
        ("edit", {"text": "x", "first": 0, "end": "5"}, "end"),
        ("edit", {"text": "x", "first": 0}, "end: must be a whole number from 1 to "),
        ("facts", {"run": "../.."}, "no run"),
    ],
)
def test_a_bad_request_gives_one_clear_line(panel, op, request_, says):
    found = panel.about(op, **request_)
    assert set(found) == {"error"} and says in found["error"] and "\n" not in found["error"]


@pytest.mark.parametrize(
    ("part", "stored", "says"),
    [
        ("request", {"trajectory": "a", "turn": 0, "action": ["Up"]}, "action: Input should be a valid string"),
        ("result", {**BRANCHED, "tree": [{**NODE, "valid": []}]}, "tree.0.valid: Input should be a valid boolean"),
    ],
)
def test_a_stored_file_that_does_not_fit_gives_one_clear_line(panel, folder, part, stored, says):
    """Files of other programs: what the library does not need the panel reads with care."""
    lake = Run.open(folder / "lake")
    t = lake.trajectories(0)[0]
    what = WhatIf("branch", {"trajectory": t.id, "turn": 0}, BRANCHED, [t])
    what = replace(what, **{part: {**stored, **({"trajectory": t.id} if part == "request" else {})}})
    file = store(lake, what)
    try:
        assert panel.about("show", id=what.id)["error"] == f"{what.id}: {says}"
    finally:
        file.unlink()
        file.with_suffix(".parquet").unlink()


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
    facts = whatif_requests.facts(run, "trained", t)
    assert (facts.trained, facts.own, facts.steps) == (True, "actfocus", [1, 3, 4])

    def made(run, t, **request):
        return whatif_requests.replay(run, t, ReplayRequest(view=view, **REPLAY, **request))

    # The run's own scheme keeps the run's parameters: the sidebar's are for the others.
    expected = {"schemes": SCHEMES, "match": "rate", "evaluation": 0, "params": {}, "step": 3, "look": t.id}
    assert made(run, t, step=3) == expected
    assert made(lake, lake.trajectories(0)[0])["params"]["actfocus"]["alpha"] == 0.9
    for step in (9, None):
        with pytest.raises(ActFocusError, match=f"has no step {step}"):
            made(run, t, step=step)


def test_a_run_whose_policy_is_not_here_says_so(panel, folder):
    run = make_run(folder / "scripted", prompts=1, rollouts=2)
    facts = panel.about("facts", run="scripted")
    assert facts["model"] is None and "“scripted” is not here" in facts["why"]
    refused = panel.about("replay", run="scripted", trajectory=run.index()["id"][0], **REPLAY)
    assert "“scripted” is not here" in refused["error"]
