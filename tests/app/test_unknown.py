"""What the studio is told where success or reward is unknown, and of agents that are not trained: never a failure, never NaN."""

import json
import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from actfocus_core.credit import Batch
from actfocus_core.runs import Run
from actfocus_studio.data.batch_cache import constants
from actfocus_studio.data.catalog import locate
from actfocus_studio.data.serialize import trajectory_payload
from actfocus_studio.data.view import View
from actfocus_studio.pages.compare.page import _member
from actfocus_studio.pages.groups.diagnosis import diagnose, ribbons
from actfocus_studio.pages.learn.facts import FACTS, Loaded
from actfocus_studio.server.static import PACKAGE
from tests import machine
from tests.core.batches import trajectories

NAN = float("nan")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Nine groups of four: of the first nobody knows the success; the first of each has a judge beside it."""
    ts = [replace(t, success=None) if k < 4 else t for k, t in enumerate(trajectories(seed=4, groups=9))]
    ts[4] = replace(ts[4], success=None, reward=NAN)
    judges = [replace(t, id=f"{t.id}-judge", agent="judge", trainable=False, reward=50.0) for t in ts[::4]]
    made = Run.create(tmp_path_factory.mktemp("unknown") / "r", {})
    made.add_trajectories(0, [*ts, *judges])
    return Run.open(made.path)


def _json(value: object) -> object:
    return json.loads(json.dumps(value, allow_nan=False))


def test_the_filters_count_what_is_known(run):
    place, _ = locate(run, View())
    known = [t.success for t in run.trajectories()]
    assert place.counts["success"] == known.count(True) and place.counts["failure"] == known.count(False)
    assert place.counts["all"] > place.counts["success"] + place.counts["failure"]
    first, _ = locate(run, View(trajectory=run.trajectories()[0].id))
    assert [m["success"] for m in _json(first.members)][:4] == [None] * 4


def test_the_groups_page_leaves_unknown_ones_out_and_says_so(run):
    found = _json(diagnose(run, [0], None, 1).summary(0.5))
    groups = found["groups"]
    assert groups["success"][0] is None and groups["unknown_success"][:2] == [4, 0]
    assert len(groups["label"]) == len(groups["name"]) == len(groups["step"]) == len(found["kept"]) == 9
    assert groups["name"] == [f"prompt {g}" for g in range(9)] and max(groups["mean_return"]) <= 1
    assert found["rollouts"]["success"][:4] == [None] * 4 and found["unscored"] == 1


def test_a_judge_takes_part_in_no_advantage_and_no_statistic_of_the_batch(run):
    ts = run.trajectories()
    told, without = constants(ts), constants([t for t in ts if t.trainable])
    assert all(told.advantages[t.id] is None for t in ts if not t.trainable)
    assert told.advantages[ts[4].id] is None
    assert all(told.advantages[id] == a for id, a in without.advantages.items()) and told.kinds == without.kinds


def test_what_the_pages_show_of_a_rollout_is_json(run):
    ts = run.trajectories()
    batch = constants(ts)
    told = json.loads(trajectory_payload(run, ts[4], batch), parse_constant=pytest.fail)["trajectory"]
    assert told["success"] is None and told["return"] is None and told["reward"] is None
    assert [r["success"] for r in _json(ribbons(run, 0, "prompt 0", None, batch))][:4] == [None] * 4
    assert [_json(_member(row))["success"] for _, row in run.index().head(4).iterrows()] == [None] * 4
    loaded = Loaded(run, View(trajectory=ts[0].id, step=0), lambda: Batch.of(ts))
    known = [t.success for t in ts if t.trainable and t.success is not None]
    assert (
        FACTS["success"].value(loaded) == pytest.approx(100 * np.mean(known)) and FACTS["rollouts"].value(loaded) == 36
    )


def test_the_page_says_unknown():
    """``AF.dom.outcome``, and the rate of the top bar, in JavaScript as it is served."""
    dom = (next(PACKAGE.rglob("dom.js"))).read_text()
    outcome = re.search(r"  function outcome\(.*?\n  }\n", dom, re.S)[0]
    rate = re.search(r"  function rate\(.*?\n  }\n", (PACKAGE / "shell/top_bar.js").read_text(), re.S)[0]
    percent = re.search(r"  function percent\(.*?\n  }\n", dom, re.S)[0]
    script = f"""{outcome}{percent}const AF = {{ dom: {{ percent }} }};{rate}
    console.log(JSON.stringify([
      [true, false, null].map(outcome), rate({{ all: 4, success: 1, failure: 1 }}), rate({{ all: 2, success: 1, failure: 1 }}),
      rate({{ all: 3, success: 0, failure: 0 }}),
    ]));"""
    done = subprocess.run([machine.node(), "-e", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [
        ["success", "failure", "success unknown"],
        "50 % success (2 unknown)",
        "50 % success",
        "success unknown",
    ]
