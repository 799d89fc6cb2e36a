"""The Groups page's requests: its numbers are the library's."""

import json

import numpy as np
import pytest

from actfocus_core.analysis.diagnostics import action_bottleneck
from actfocus_core.credit import Batch, get_scheme
from actfocus_core.runs import Run
from actfocus_core.signals import SIGNALS, signal_values
from actfocus_core.train.groups import filter_groups
from actfocus_studio.data.batch_cache import BatchCache, constants
from actfocus_studio.data.cache import LruCache
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.data.view import View
from actfocus_studio.pages.groups import diagnosis as module
from actfocus_studio.pages.groups.api import api
from actfocus_studio.pages.groups.diagnosis import diagnose, diagnosis
from actfocus_studio.pages.groups.ribbons import ribbons
from tests.app.routes import Routes, values
from tests.app.sample import make_run
from tests.app.server import Api


class Shared:
    """What the page needs of a studio."""

    def __init__(self, runs_dir):
        self.catalog, self.batches = Catalog([], runs_dir), BatchCache()


def ask(studio, **view) -> dict:
    """The diagnosis of a view."""
    return Routes(api(studio), "groups").ask("diagnosis", view=view)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("groups") / "run", prompts=9, rollouts=4, steps=3)


def test_the_diagnosis_is_the_library_s(run):
    found = diagnose(run, [0, 1], "scripted", 3).summary(0.25, None)
    expected = action_bottleneck(Batch.of(run.trajectories(0) + run.trajectories(1)))
    assert [row.model_dump() for row in found.correlations] == expected["correlations"]
    assert found.confound.model_dump() == expected["confound"] and found.missing == expected["missing"]
    groups, rows = found.groups, expected["groups"]
    assert groups.label.data == [row["group"] for row in rows]
    for name in ("rollouts", "sigma", "mean_return", "success", "unknown_success"):
        assert values(getattr(groups, name)).tolist() == [row[name] for row in rows]
    means = {name for name in rows[0] if name.endswith(("_all", "_reasoning", "_action"))}
    assert set(groups.means) == set(found.trends) == means and len(means) == 3 * (4 - len(found.missing))
    for name in means:
        assert values(groups.means[name]).tolist() == [row[name] for row in rows]
    steps = found.steps
    assert (steps.first, steps.last, steps.count, steps.of) == (0, 1, 2, 3) and found.unscored == 0


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 1.0])
def test_kept_is_what_training_would_keep_of_each_step(run, share):
    found = diagnose(run, [0, 1, 2], "scripted", 3).summary(share, None)
    kept = {(t.step, t.group) for step in (0, 1, 2) for t in filter_groups(run.trajectories(step), share)}
    groups = zip(values(found.groups.step), found.groups.name.data)
    assert {pair for pair, keep in zip(groups, values(found.kept)) if keep} == kept
    assert len(kept) == 3 * max(1, round(share * 9))


def test_a_long_run_is_diagnosed_by_its_last_steps(run, monkeypatch):
    monkeypatch.setattr(module, "ROLLOUTS_MAX", 80)
    found = diagnosis(run, None, "scripted", LruCache()).found
    assert found.steps.model_dump() == {"first": 1, "last": 2, "count": 2, "of": 3}
    assert len(values(found.rollouts.return_)) == 72
    monkeypatch.setattr(module, "ROLLOUTS_MAX", 1)
    found = diagnosis(run, None, "scripted", LruCache()).found
    assert found.steps.model_dump() == {"first": 2, "last": 2, "count": 1, "of": 3}


def test_rollouts_without_a_return_are_left_out_and_counted(run, tmp_path):
    batch = run.trajectories(0)
    for t in batch[:4]:
        t.reward = float("nan")
    batch[5].reward = float("nan")
    other = Run.create(tmp_path / "other", run.info["config"], run.info["model"])
    other.add_trajectories(0, batch)
    found = diagnose(other, [0], None, 1).found
    assert found.unscored == 5 and len(found.groups.label.data) == 8 and values(found.groups.rollouts)[0] == 3


def test_a_ribbon_is_what_the_policy_wrote(run):
    batch = run.trajectories(1, "scripted")
    mates = [t for t in batch if t.group == batch[6].group]
    got = ribbons(run, 1, batch[6].group, "scripted", constants(batch))
    assert [r.id for r in got] == [t.id for t in mates]
    for r, t in zip(got, mates):
        assert values(r.kinds).tolist() == [k for k in t.kinds if k >= 3]
        written = t.turns[t.kinds >= 3]
        assert [0, *values(r.turns)] == [int(np.argmax(written == k)) for k in np.unique(written)]
        assert (r.return_, r.success, r.actions) == (t.ret, t.success, [turn.actions for turn in t.turn_records])
        for name in SIGNALS:
            np.testing.assert_array_equal(values(r.signals[name]), signal_values(t, name)[t.kinds == 4])
            assert r.stats[name].batch.count == sum((mate.kinds == 4).sum() for mate in batch)


LAKE = '"run":"frozen-lake"'


@pytest.mark.parametrize(
    "operation, text",
    [
        ("diagnosis", ""),
        ("diagnosis", "[]"),
        ("diagnosis", "{"),
        ("diagnosis", "[" * 9000),
        ("diagnosis", "{}"),
        ("diagnosis", '{"view":{}}'),
        ("diagnosis", '{"view":{"run":"../../etc"}}'),
        ("diagnosis", f'{{"view":{{{LAKE}}}}}'),
        ("diagnosis", f'{{"view":{{{LAKE},"step":77}}}}'),
        ("diagnosis", f'{{"view":{{{LAKE},"reference":"nobody","keep":["x"],"over":7}}}}'),
        ("ribbons", f'{{{LAKE},"reference":"","step":0,"group":"<img>"}}'),
        ("ribbons", f'{{{LAKE},"reference":"","step":-1,"group":"x"}}'),
        ("ribbons", f'{{{LAKE},"reference":"","step":0,"group":["x"]}}'),
        ("ribbons", f'{{{LAKE},"step":0}}'),
    ],
)
def test_a_bad_request_gives_one_clear_line(operation, text, tmp_path):
    Routes(api(Shared(tmp_path)), "groups").expect_refused(operation, text)


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
        got = ask(Shared(tmp_path / "runs"), run="plain", step=0)
        assert (got["keep"], got["own"]) == (keep, own)
        assert ask(Shared(tmp_path / "runs"), run="plain", step=0, keep="0.1")["keep"] == 0.1


# --- side by side ------------------------------------------------------------------------------------


@pytest.fixture
def ask_studio(run):
    return Api(folder=run.path.parent)


def test_columns_are_the_rollouts_with_their_tokens(run, ask_studio):
    batch = constants(run.trajectories(1, "scripted"))
    mates = [t for t in run.trajectories(1) if t.group == "00001-3"]
    found = ask_studio(
        "groups/beside", run=run.name, reference="scripted", step=1, group="00001-3", columns=[2, 0, 99, 2]
    )
    assert [m["id"] for m in found["members"]] == [t.id for t in mates]
    for member, t in zip(found["members"], mates, strict=True):
        assert (member["return"], member["success"], member["tokens"]) == (t.ret, t.success, len(t))
        assert member["advantage"] == batch.advantages[t.id]
        assert member["malformed"] == sum(not turn.valid for turn in t.turn_records)
    assert [column["member"] for column in found["columns"]] == [2, 0]
    for column in found["columns"]:
        t = mates[column["member"]]
        assert values(column["ids"]).tolist() == list(t.token_ids) and column["tokens"]["text"]["data"] == t.texts


def test_the_credit_of_columns_is_that_of_their_scheme(run, ask_studio):
    batch = Batch.of(run.trajectories(2, "scripted"))
    ids = [batch.ids[9], batch.ids[4]]
    view = {"run": run.name, "reference": "scripted", "scheme_a": "actfocus", "alpha": 0.3, "beta": 1.5}
    found = ask_studio("groups/credit", view=view, step=2, ids=[*ids, "nowhere"])
    expected = get_scheme("actfocus").compute(batch, alpha=0.3, beta=1.5, signal="energy").effective()
    for credit, id in zip(found["credits"], ids):
        own = expected[batch.index == batch.ids.index(id)] * batch.response.sum()
        np.testing.assert_allclose(values(credit["credit"]), own, rtol=1e-6)
    assert found["credits"][2]["credit"] is None and found["top"] > 0


def test_too_many_columns_and_an_unknown_group_are_one_line(run, ask_studio):
    about = {"run": run.name, "reference": "", "step": 1}
    assert "at most 8" in ask_studio("groups/beside", **about, group="00001-3", columns=list(range(9)))["error"]
    assert "no group" in ask_studio("groups/beside", **about, group="zzz", columns=[0, 1])["error"]
    assert "at most 8" in ask_studio("groups/credit", view={"run": run.name}, step=1, ids=["a"] * 9)["error"]


@pytest.mark.parametrize(
    "text, kept",
    [
        ("0,3", "0,3"),
        ("usual", "usual"),
        ("3", ""),
        ("1,1", ""),
        ("0,1,2,3,4,5,6,7,8", ""),
        ("a,b", ""),
        ("\u0661,2", ""),
        ("", ""),
    ],
)
def test_the_columns_of_an_address_are_positions(text, kept):
    assert View.parse({"beside": text}).beside == kept
