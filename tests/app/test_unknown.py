"""What the studio is told where success or reward is unknown, and of agents that are not trained: never a failure, never NaN."""

import json
from dataclasses import replace

import numpy as np
import pytest

from actfocus_core.credit import Batch
from actfocus_core.runs import Run
from actfocus_studio.data.batch_cache import constants
from actfocus_studio.data.catalog import locate
from actfocus_studio.data.view import View
from actfocus_studio.pages.compare.panes import member
from actfocus_studio.pages.groups.diagnosis import diagnose
from actfocus_studio.pages.groups.ribbons import ribbons
from actfocus_studio.pages.learn.facts import FACTS, Loaded
from tests.app.routes import values
from tests.app.server import shown
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
    assert [m.success for m in first.members][:4] == [None] * 4


def test_the_groups_page_leaves_unknown_ones_out_and_says_so(run):
    found = diagnose(run, [0], None, 1).summary(0.5, None)
    groups = found.groups
    assert np.isnan(values(groups.success)[0]) and values(groups.unknown_success)[:2].tolist() == [4, 0]
    assert len(groups.label.data) == len(values(groups.step)) == len(values(found.kept)) == 9
    assert groups.name.data == [f"prompt {g}" for g in range(9)] and values(groups.mean_return).max() <= 1
    assert np.isnan(values(found.rollouts.success)[:4]).all() and found.unscored == 1


def test_a_judge_takes_part_in_no_advantage_and_no_statistic_of_the_batch(run):
    ts = run.trajectories()
    told, without = constants(ts), constants([t for t in ts if t.trainable])
    assert all(told.advantages[t.id] is None for t in ts if not t.trainable)
    assert told.advantages[ts[4].id] is None
    assert all(told.advantages[id] == a for id, a in without.advantages.items()) and told.kinds == without.kinds


def test_what_the_pages_show_of_a_rollout_is_json(run):
    ts = run.trajectories()
    batch = constants(ts)
    told = _json(shown(run, ts[4], batch))["trajectory"]
    assert told["success"] is None and told["return"] is None and told["reward"] is None
    assert [r.success for r in ribbons(run, 0, "prompt 0", None, batch)][:4] == [None] * 4
    assert [member(row).success for _, row in run.index().head(4).iterrows()] == [None] * 4
    loaded = Loaded(run, View(trajectory=ts[0].id, step=0), lambda: Batch.of(ts))
    known = [t.success for t in ts if t.trainable and t.success is not None]
    assert (
        FACTS["success"].value(loaded) == pytest.approx(100 * np.mean(known)) and FACTS["rollouts"].value(loaded) == 36
    )
