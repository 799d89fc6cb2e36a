"""The Groups page's requests: its numbers are the library's."""

import json

import numpy as np
import pytest

from actfocus_core.analysis.diagnostics import action_bottleneck
from actfocus_core.credit import Batch
from actfocus_core.runs import Run
from actfocus_core.signals import SIGNALS, signal_values
from actfocus_core.train.groups import filter_groups
from actfocus_studio.data.batch_cache import BatchCache, constants
from actfocus_studio.data.cache import LruCache
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.pages.groups import diagnosis as module
from actfocus_studio.pages.groups import page as page_groups
from actfocus_studio.pages.groups.diagnosis import diagnose, diagnosis, ribbons
from actfocus_studio.shell.requests import answer
from tests.app.sample import make_run


class Shared:
    """What the page needs of a studio."""

    def __init__(self, runs_dir):
        self.catalog, self.batches = Catalog([], runs_dir), BatchCache()


def ask(studio, **request) -> dict:
    """The answer to a request of the page."""
    return json.loads(
        answer(json.dumps({"number": 1, **request}), lambda one: page_groups.handle(studio, LruCache(), one))
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("groups") / "run", prompts=9, rollouts=4, steps=3)


def test_the_diagnosis_is_the_library_s(run):
    found = diagnose(run, [0, 1], "scripted", 3).summary(0.25)
    expected = action_bottleneck(Batch.of(run.trajectories(0) + run.trajectories(1)))
    for name in ("correlations", "confound", "missing"):
        assert found[name] == expected[name]
    columns = {name: [row[name] for row in expected["groups"]] for name in expected["groups"][0] if name != "group"}
    assert {name: found["groups"][name] for name in columns} == columns
    assert found["groups"]["label"] == [row["group"] for row in expected["groups"]]
    assert found["steps"] == [0, 1, 2, 3] and found["unscored"] == 0
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 1.0])
def test_kept_is_what_training_would_keep_of_each_step(run, share):
    found = diagnose(run, [0, 1, 2], "scripted", 3).summary(share)
    kept = {(t.step, t.group) for step in (0, 1, 2) for t in filter_groups(run.trajectories(step), share)}
    groups = found["groups"]
    assert {pair for pair, keep in zip(zip(groups["step"], groups["name"]), found["kept"]) if keep} == kept
    assert len(kept) == 3 * max(1, round(share * 9))


def test_a_long_run_is_diagnosed_by_its_last_steps(run, monkeypatch):
    monkeypatch.setattr(module, "ROLLOUTS_MAX", 80)
    found = diagnosis(run, None, "scripted", LruCache()).summary(0.25)
    assert found["steps"] == [1, 2, 2, 3] and len(found["rollouts"]["return"]) == 72
    monkeypatch.setattr(module, "ROLLOUTS_MAX", 1)
    assert diagnosis(run, None, "scripted", LruCache()).summary(0.25)["steps"] == [2, 2, 1, 3]


def test_rollouts_without_a_return_are_left_out_and_counted(run, tmp_path):
    batch = run.trajectories(0)
    for t in batch[:4]:
        t.reward = float("nan")
    batch[5].reward = float("nan")
    other = Run.create(tmp_path / "other", run.info["config"], run.info["model"])
    other.add_trajectories(0, batch)
    found = diagnose(other, [0], None, 1).summary(0.25)
    assert found["unscored"] == 5 and len(found["groups"]["label"]) == 8 and found["groups"]["rollouts"][0] == 3
    json.dumps(found, allow_nan=False)


def test_a_ribbon_is_what_the_policy_wrote(run):
    batch = run.trajectories(1, "scripted")
    mates = [t for t in batch if t.group == batch[6].group]
    got = ribbons(run, 1, batch[6].group, "scripted", constants(batch))
    assert [r["id"] for r in got] == [t.id for t in mates]
    for r, t in zip(got, mates):
        assert r["kinds"] == "".join(str(k) for k in t.kinds if k >= 3)
        written = t.turns[t.kinds >= 3]
        assert [0, *r["turns"]] == [int(np.argmax(written == k)) for k in np.unique(written)]
        assert (r["return"], r["success"], r["actions"]) == (
            t.ret,
            t.success,
            [turn.actions for turn in t.turn_records],
        )
        for name in SIGNALS:
            np.testing.assert_array_equal(
                np.array(r["signals"][name], np.float32), signal_values(t, name)[t.kinds == 4]
            )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 9000,
        '{"number":1}',
        '{"number":1,"op":"groups"}',
        '{"number":1,"op":"groups","run":"../../etc"}',
        '{"number":1,"op":"groups","run":"frozen-lake"}',
        '{"number":1,"op":"groups","run":"frozen-lake","step":77}',
        '{"number":1,"op":"groups","run":"frozen-lake","step":0,"reference":"nobody","keep":["x"],"over":7,"op2":1,"op":"rm"}',
        '{"number":1,"op":"ribbons","run":"frozen-lake","step":0,"group":"<img>"}',
        '{"number":1,"op":"ribbons","run":"frozen-lake","step":-1,"group":"x"}',
    ],
)
def test_a_bad_request_gives_one_clear_line(text, tmp_path):
    studio = Shared(tmp_path)
    got = json.loads(answer(text, lambda one: page_groups.handle(studio, LruCache(), one)))
    assert set(got) == {"error", "number"} and got["error"] and "\n" not in got["error"]


def test_the_share_is_the_run_s_own_where_it_says(tmp_path):
    made = make_run(tmp_path / "runs" / "plain", prompts=8, rollouts=2)
    info = json.loads((made.path / "run.json").read_text(encoding="utf-8"))
    for share, keep, own in (
        (0.5, 0.5, True),
        (1.0, 1.0, True),
        ("x", 0.25, False),
        (None, 0.25, False),
        (7, 0.25, False),
    ):
        info["config"]["filter_share"] = share
        (made.path / "run.json").write_text(json.dumps(info), encoding="utf-8")
        got = ask(Shared(tmp_path / "runs"), op="groups", run="plain", step=0)["groups"]
        assert (got["keep"], got["own"]) == (keep, own)
        assert ask(Shared(tmp_path / "runs"), op="groups", run="plain", step=0, keep="0.1")["groups"]["keep"] == 0.1
