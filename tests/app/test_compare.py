"""Requests of the Compare page: credit, tables and scoreboards equal those of NumPy and SciPy; errors are one line."""

import json
import math
import shutil
from dataclasses import replace
from urllib.parse import parse_qs, parse_qsl

import numpy as np
import pytest
from scipy.stats import spearmanr

from actfocus_core.credit import SCHEMES, Batch, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.trajectory import TokenKind
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.data.scored_batches import ScoredBatch, ScoredBatches
from actfocus_studio.data.token_credit import TokenCredit, token_credit
from actfocus_studio.data.view import COMPARED, View
from actfocus_studio.pages.compare.api import api
from actfocus_studio.pages.compare.credits import boards, table
from actfocus_studio.shell.studio import Studio
from tests.app.routes import Routes, values
from tests.app.sample import make_run
from tests.app.truth import with_truth


@pytest.fixture(scope="module")
def plain(runs_dir):
    return Run.open(runs_dir / "plain")


@pytest.fixture(scope="module")
def desk(plain, runs_dir):
    """A studio without a page; the run ``known`` has the same prompts as ``plain``."""
    known = with_truth(runs_dir / "known", plain)
    yield Studio(Catalog([], runs_dir), None)
    shutil.rmtree(known.path)


def ask(desk, operation, view=None, **more):
    """The answer to a request of the page."""
    return Routes(api(desk), "compare").ask(operation, view={"run": "plain", **(view or {})}, **more)


def test_the_table_is_numpys_own(plain):
    compared = ScoredBatch.of(plain, 1, None)
    got = table(compared, View(alpha=0.3, beta=1.2, signal="entropy"))
    trajectories = plain.trajectories(1)
    kinds = np.concatenate([t.kinds for t in trajectories])
    rows = {row.scheme: row for row in got.schemes}
    assert list(rows) == list(SCHEMES) and got.rollouts == len(trajectories)
    entropy = np.concatenate([t.signals["ref_entropy"] for t in trajectories]).astype(float)
    action = kinds == TokenKind.ACTION
    z = (entropy[action] - entropy[action].mean()) / np.sqrt(entropy[action].var() + 1e-6)
    w = np.where(kinds >= TokenKind.REASONING, 0.3, 0.0)
    w[action] = 1 + 1.2 / (1 + np.exp(-z))
    actfocus = rows["actfocus"].weight
    assert actfocus.kinds.action.mass_share == pytest.approx(w[action].sum() / w.sum(), rel=1e-4)
    assert actfocus.effective_tokens == pytest.approx(w.sum() ** 2 / (w**2).sum(), rel=1e-4)
    assert rows["role_only"].params["alpha"] == 0.1, "only ActFocus follows the sidebar"
    c = {
        name: get_scheme(name).compute(compared.batch).effective()[compared.batch.response]
        for name in ("uniform", "gtpo")
    }
    assert got.spearman["uniform"]["gtpo"] == pytest.approx(spearmanr(c["uniform"], c["gtpo"]).statistic, abs=1e-6)
    both = (c["uniform"] != 0) & (c["gtpo"] != 0)
    assert rows["gtpo"].sign_flips == pytest.approx((c["uniform"] * c["gtpo"] < 0)[both].mean())


def test_controls_stand_in_the_table_where_they_change_anything(plain):
    names = [row.scheme for row in table(ScoredBatch.of(plain, 0, None), View(controls=True)).schemes]
    assert "shuffle:actfocus" in names and "reversed:top_entropy" in names and "random:gtpo" in names
    assert "shuffle:uniform" not in names and names.index("shuffle:actfocus") == names.index("actfocus") + 1


@pytest.mark.parametrize("name", ["uniform", "actfocus", "gigpo", "shuffle:energy_only"])
def test_token_credit_is_the_effective_credit_in_units_of_the_advantage(plain, name):
    compared = ScoredBatch.of(plain, 0, None)
    id = compared.batch.ids[5]
    got, top = token_credit(compared, name, View(), id)
    whole = get_scheme(name).compute(compared.batch).effective() * compared.batch.response.sum()
    assert values(got.credit) == pytest.approx(whole[compared.batch.index == 5], rel=1e-5, abs=1e-9)
    assert 0 < top <= np.abs(whole).max()
    if name == "uniform":
        np.testing.assert_allclose(whole, compared.batch.grpo(), rtol=1e-5)


def test_what_is_missing_gives_no_credit(runs_dir, plain):
    unscored = ScoredBatch.of(Run.open(runs_dir / "unscored"), 0, None)
    assert token_credit(unscored, "actfocus", View(), unscored.batch.ids[0]) == (
        TokenCredit(credit=None, missing=["energy"]),
        0.0,
    )
    assert token_credit(unscored, "actfocus", View(beta=0), unscored.batch.ids[0])[0].credit is not None
    assert boards(unscored, View()) == []


def test_rollouts_without_a_return_are_left_out_and_counted(tmp_path, plain):
    run = Run.create(tmp_path / "half", plain.info["config"])
    batch = plain.trajectories(0)
    batch[:3] = [replace(t, reward=math.nan) for t in batch[:3]]
    run.add_trajectories(0, batch)
    compared = ScoredBatches().get(run, 0, None)
    assert compared.unscored == 3 and len(compared.batch.ids) == len(batch) - 3
    assert token_credit(compared, "uniform", View(), batch[0].id)[0].credit is None
    json.loads(table(compared, View()).model_dump_json(), parse_constant=pytest.fail)
    none = Run.create(tmp_path / "none", plain.info["config"])
    none.add_trajectories(0, [replace(t, reward=math.nan) for t in batch])
    with pytest.raises(ActFocusError, match="no rollout of step 0 has a return"):
        ScoredBatch.of(none, 0, None)


def test_a_step_scored_again_is_read_again(tmp_path):
    run, cache = make_run(tmp_path / "run", prompts=2), ScoredBatches()
    first = cache.get(run, 0, "scripted")
    assert cache.get(run, 0, "scripted") is first
    batch = run.trajectories(0)
    for t in batch:
        t.signals["ref_energy"] = t.signals["ref_energy"] * 3
    run.annotate(0, "scripted", batch)
    again = cache.get(run, 0, "scripted")
    response = first.batch.response
    np.testing.assert_allclose(again.batch.signals["energy"][response], 3 * first.batch.signals["energy"][response])


def test_the_same_prompt_is_found_at_other_steps_and_in_other_runs(desk, plain):
    id = plain.index().iloc[9]["id"]
    found = ask(desk, "places", {"trajectory": id})["places"]
    assert (found[0]["run"], found[0]["step"]) == ("plain", 0) and id in [m["id"] for m in found[0]["members"]]
    index = plain.index()
    seed = index.loc[index["id"] == id, "seed"].item()
    there = next(p for p in found if (p["run"], p["step"]) == ("plain", 1))
    assert [m["id"] for m in there["members"]] == list(index[(index["step"] == 1) & (index["seed"] == seed)]["id"])
    assert [p["run"] for p in found if p["run"] != "plain"] == ["known"], (
        "other environments or options are other prompts"
    )


def test_the_other_pane_has_its_own_batch(desk, plain):
    index = plain.index()
    here, there = (index[index["step"] == step].iloc[4]["id"] for step in (0, 1))
    view = {"trajectory": here, "other": there, "scheme_a": "uniform", "scheme_b": "uniform"}
    shown = ask(desk, "panes", view)
    assert (shown["left"]["id"], shown["right"]["id"], shown["right"]["step"]) == (here, there, 1)
    got = ask(desk, "credit", view)
    for side, step, id in (("a", 0, here), ("b", 1, there)):
        batch = Batch.of(plain.trajectories(step))
        own = batch.grpo()[batch.index == batch.ids.index(id)]
        assert values(got[side]["credit"]) == pytest.approx(own, rel=1e-5)


def test_the_other_trajectory_of_the_address_is_checked(desk):
    shown = ask(desk, "panes", {"other": "<img src=x>"})
    assert shown["right"] is None and "<img src=x>" in shown["notes"][0]
    for bad in ({"other": "x", "other_run": "../../etc"}, {"other": "x"}):
        assert "\n" not in ask(desk, "credit", bad)["error"]


PLAIN = '"view":{"run":"plain"}'


@pytest.mark.parametrize(
    "operation, text",
    [
        ("panes", ""),
        ("panes", "[]"),
        ("panes", "{"),
        ("panes", "7"),
        ("panes", "{}"),
        ("panes", "[" * 9000),
        ("panes", f'{{{PLAIN},"op":"rm"}}'),
        ("schemes", '{"view":{"run":"../x"}}'),
        ("judge", f'{{{PLAIN},"values":"--help"}}'),
        ("report", '{"view":{"run":"broken"}}'),
    ],
)
def test_a_bad_request_gives_one_clear_line(desk, operation, text):
    Routes(api(desk), "compare").expect_refused(operation, text)


def test_the_setting_kept_as_b_is_a_scheme_of_its_own(plain):
    compared = ScoredBatch.of(plain, 0, None)
    id = compared.batch.ids[3]
    view = View.parse({"kept": "0.3,1.2,entropy,batch,0", "scheme_b": "kept", "alpha": 0.7})
    assert view.scheme_b == "kept" and View.parse(dict(parse_qsl(view.query()))) == view
    kept, _ = token_credit(compared, "kept", view, id)
    assert kept == token_credit(compared, "actfocus", View(alpha=0.3, beta=1.2, signal="entropy"), id)[0]
    assert kept != token_credit(compared, "actfocus", view, id)[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kept",
        "0.3,1.2,entropy,batch",
        "0.3,1.2,luck,batch,0",
        "nan,1,energy,batch,0",
        "0.3,inf,energy,batch,0",
        "0.3,1,energy,world,0",
        "0.3,1,energy,batch,yes",
        "0.3,1,energy,batch,0,0",
        ["0.3"],
        None,
        "0" * 300,
    ],
)
def test_what_is_not_a_kept_setting_is_none(text):
    view = View.parse({"kept": text, "scheme_b": "kept"})
    assert view.kept == "" and view.scheme_b == View().scheme_b


def test_the_address_keeps_what_is_compared():
    view = View(
        tab="compare", scheme_a="shuffle:gtpo", scheme_b="carl", other_run="a run", other="00001-3-01", controls=True
    )
    assert View.parse({name: values[0] for name, values in parse_qs(view.query()).items()}) == view
    for bad in ("", "shuffle:", "shuffle:shuffle:gtpo", "__proto__", "actfocus ", ["gtpo"], None):
        assert View.parse({"scheme_a": bad, "scheme_b": bad}).scheme_b == "uniform"
    assert len(COMPARED) == 4 * len(SCHEMES) and all(get_scheme(name).name == name for name in COMPARED)


def test_the_report_is_the_commands_own(desk, plain):
    from actfocus_core.reports.html import render

    got = ask(desk, "report", {"step": 1})
    assert got["report"] == render(plain, 1, "scripted")[0] and got["name"] == "plain-step-1.html"
