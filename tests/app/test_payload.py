"""What the page is given is the trajectory, and closed forms are the sums they stand for."""

import json
import subprocess

import numpy as np
import pytest

from actfocus_core.advantages import grpo_advantages
from actfocus_core.credit import signal_stats, token_weights
from actfocus_core.runs import Run
from actfocus_core.signals import SIGNALS, signal_values
from actfocus_core.trajectory import RESPONSE_KINDS, TokenKind
from actfocus_studio.data.batch_cache import BatchCache, constants
from actfocus_studio.data.catalog import Catalog, locate
from actfocus_studio.data.serialize import env_options
from actfocus_studio.data.view import View
from actfocus_studio.server.static import PACKAGE
from tests import machine
from tests.app.routes import values
from tests.app.sample import make_run
from tests.app.server import Api, shown

WEIGHTS_JS = PACKAGE / "web/trace/weights.js"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("payload") / "run", prompts=5, rollouts=4, steps=2)


@pytest.fixture(scope="module")
def batch(run):
    return run.trajectories(1)


def node(script: str, data: object) -> object:
    """Run JavaScript with weights.js as ``W`` and ``data`` as ``D``; gives what it returns. null stands for NaN in ``D.values``."""
    source = (
        f"import * as W from {json.dumps(WEIGHTS_JS.as_uri())};"
        "import { readFileSync } from 'node:fs';"
        "const D = JSON.parse(readFileSync(0, 'utf8'));"
        "if (D.values) D.values = D.values.map((value) => value ?? NaN);"
        f"console.log(JSON.stringify((() => {{ {script} }})()));"
    )
    done = subprocess.run(
        [machine.node(), "--input-type=module", "-e", source],
        input=json.dumps(data),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def payload(run, **view) -> dict:
    return Api(run.path, folder=run.path.parent)("trace/open", view={"run": run.name, **view}, restore=True)


def test_columns_are_the_trajectory_to_the_last_bit(run, batch):
    for t in batch:
        c = shown(run, t)["tokens"]
        assert values(c["text"]) == t.texts and values(c["id"]).tolist() == t.token_ids.tolist()
        assert values(c["kind"]).tolist() == t.kinds.tolist() and values(c["turn"]).tolist() == t.turns.tolist()
        for name, expected in [("logprob", t.logprobs), *((s, signal_values(t, s)) for s in SIGNALS)]:
            np.testing.assert_array_equal(values(c[name]), np.asarray(expected, np.float32))


def test_what_was_not_recorded_is_unknown_and_not_zero(tmp_path):
    unscored = make_run(tmp_path / "unscored", prompts=1, rollouts=2, scored=False)
    data = payload(unscored)
    assert np.isnan(values(data["tokens"]["energy"])).all() and data["alternatives"] is None
    assert data["batch"]["signals"]["energy"] is None and data["batch"]["ranges"]["energy"] is None
    assert data["batch"]["signals"]["nll"] is not None


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("alpha, beta", [(1, 0), (0.1, 0.5), (0.37, 2), (0, 1.25)])
def test_javascript_and_python_weights_agree(batch, signal, alpha, beta):
    kinds = np.concatenate([t.kinds for t in batch])
    values = np.concatenate([signal_values(t, signal) for t in batch])
    stats = signal_stats(kinds, values)
    data = {
        "kinds": kinds.tolist(),
        "values": [v if np.isfinite(v) else None for v in values.tolist()],
        "stats": {"mu": stats.mean, "sigma": stats.std},
        "alpha": alpha,
        "beta": beta,
    }
    got = node("return Array.from(W.tokenWeights(D.kinds, D.values, D.stats, D.alpha, D.beta))", data)
    np.testing.assert_allclose(got, token_weights(kinds, values, alpha, beta), rtol=0, atol=1e-6)


def test_an_action_without_its_signal_has_no_weight_in_javascript():
    assert node(
        "const w = W.tokenWeights([3, 4, 4, 4], [NaN, NaN, -1, NaN], null, 0.1, 0.5);"
        "return [w[0], Number.isNaN(w[1]), W.tokenWeight(4, NaN, null, 0.1, 0), "
        "Number.isNaN(W.tokenWeight(4, NaN, {mu: 0, sigma: 1}, 0.1, 0.5))]",
        {},
    ) == [0.1, True, 1, True]
    assert node("return W.tokenWeights([4, 4], [1e9, -1e9], {mu: 0, sigma: 1e-4}, 0.1, 2).join()", {}) == "3,1"


@pytest.mark.parametrize("by_advantage", [False, True])
@pytest.mark.parametrize("scope", ["batch", "group", "trajectory"])
@pytest.mark.parametrize("alpha, beta", [(1, 0), (0.1, 0.5), (0.3, 2), (0, 0)])
def test_closed_form_mass_is_the_sum_over_all_tokens(batch, scope, alpha, beta, by_advantage):
    per_batch = constants(batch)
    advantages = grpo_advantages(np.array([t.ret for t in batch]), [t.group for t in batch])
    cells = {"batch": lambda t: 0, "group": lambda t: t.group, "trajectory": lambda t: t.id}[scope]
    mass, kinds = [], np.concatenate([t.kinds for t in batch])
    for t, advantage in zip(batch, advantages):
        mates = [m for m in batch if cells(m) == cells(t)]
        values = np.concatenate([signal_values(m, "energy") for m in mates])
        stats = signal_stats(np.concatenate([m.kinds for m in mates]), values)
        z = (signal_values(t, "energy").astype(np.float64) - stats.mean) / stats.std
        w = np.where(t.kinds >= TokenKind.REASONING, float(alpha), 0.0)
        action = t.kinds == TokenKind.ACTION
        w[action] = 1 + beta / (1 + np.exp(-z[action]))
        mass.append(w * (abs(float(advantage)) if by_advantage else 1))
    mass = np.concatenate(mass)
    data = per_batch.of(batch[0]).model_dump()
    got = node(
        "return W.massByKind(D.kinds, D.sums, D.alpha, D.beta, D.adv)",
        {
            "kinds": data["kinds"],
            "sums": data["signals"]["energy"][scope]["sums"],
            "alpha": alpha,
            "beta": beta,
            "adv": by_advantage,
        },
    )
    for kind in RESPONSE_KINDS:
        assert got["mass"][kind.name.lower()] == pytest.approx(mass[kinds == kind].sum(), rel=1e-9, abs=1e-9)
    assert got["total"] == pytest.approx(mass.sum(), rel=1e-9)
    assert got["effective"] == pytest.approx(mass.sum() ** 2 / (mass**2).sum(), rel=1e-9)


def test_statistics_of_a_scope_are_those_of_the_method(batch):
    per_batch = constants(batch)
    kinds = np.concatenate([t.kinds for t in batch])
    for name in SIGNALS:
        stats = signal_stats(kinds, np.concatenate([signal_values(t, name) for t in batch]))
        for t in batch[:3]:
            of = per_batch.of(t).model_dump()["signals"][name]
            assert of["batch"]["mu"] == pytest.approx(stats.mean, rel=1e-12)
            assert of["batch"]["sigma"] == pytest.approx(stats.std, rel=1e-12)
            own = signal_stats(t.kinds, signal_values(t, name))
            assert of["trajectory"]["mu"] == pytest.approx(own.mean, rel=1e-9)
            assert of["trajectory"]["sigma"] == pytest.approx(own.std, rel=1e-9)


def test_pictures_are_of_every_turn_and_the_end(run, batch):
    data = payload(run, trajectory=batch[0].id)
    assert len(data["turns"]) == len(batch[0].turn_records) + 1
    assert all(turn["picture"].startswith("<svg") for turn in data["turns"]) and data["turns"][-1]["end"]


def test_an_unknown_environment_has_no_pictures(tmp_path, batch):
    foreign = make_run(tmp_path / "foreign", prompts=1, rollouts=1)
    t = foreign.trajectories(0)[0]
    t.env = "somebody_elses"
    assert {turn["picture"] for turn in shown(foreign, t)["turns"]} == {None}


def test_a_trajectory_without_actions_has_a_batch(batch):
    last = batch[-1]
    last.kinds = np.where(last.kinds == TokenKind.ACTION, TokenKind.FORMAT, last.kinds).astype(np.uint8)
    of = constants(batch).of(last).signals["energy"].trajectory
    assert (of.mu, of.sigma, of.count) == (0.0, 1.0, 0)


def test_the_batch_is_read_once_and_again_when_it_is_scored_anew(run):
    cache = BatchCache()
    first = cache.get(run, 0, "scripted")
    assert cache.get(run, 0, "scripted") is first
    run.annotate(0, "scripted", run.trajectories(0))
    assert cache.get(run, 0, "scripted") is not first


def test_the_picker_walks_over_the_whole_run(run):
    index, seen = run.index(), []
    view = View(trajectory=index["id"][0])
    while True:
        place, _ = locate(run, view)
        seen.append(place.id)
        if place.next is None:
            break
        view = View(trajectory=place.next)
    assert seen == index["id"].tolist()
    assert place.counts["success"] + place.counts["failure"] == place.counts["all"] == len(index)
    assert {m.id for m in place.members} == set(index["id"][(index["group"] == place.group)])


def test_a_filter_keeps_what_it_says(run):
    place, _ = locate(run, View(filter="failure"))
    row = run.index().set_index("id").loc[place.id]
    assert not row["success"] and place.position == 0


def test_runs_of_one_name_are_told_apart(tmp_path):
    for folder in ("a", "b"):
        make_run(tmp_path / folder / "same", prompts=1, rollouts=1)
    catalog = Catalog([tmp_path / "b" / "same"], tmp_path / "a")
    assert catalog.default() == "same" and catalog.paths()["same"] == tmp_path / "b" / "same"
    assert catalog.paths()["same (2)"] == tmp_path / "a" / "same"


def test_a_rollout_that_was_never_scored_reads_unavailable(tmp_path):
    """Another trainer's files may hold rollouts without a reward."""
    run = make_run(tmp_path / "plain", prompts=1, rollouts=4)
    trajectories = run.trajectories(0)
    trajectories[0].reward = float("nan")
    trajectories[0].turn_records[-1].reward = float("nan")
    other = Run.create(tmp_path / "other", run.info["config"], run.info["model"])
    other.add_trajectories(0, trajectories)
    data = payload(other, trajectory=trajectories[0].id)
    assert data["trajectory"]["return"] is None and data["turns"][-2]["reward"] is None
    assert data["batch"]["advantage"] is None and data["batch"]["advantage_max"] >= 0
    assert [member["return"] is None for member in data["place"]["members"]] == [True, False, False, False]


def test_a_training_run_is_drawn_with_the_options_its_policy_brings(tmp_path):
    run = Run.create(
        tmp_path / "run", {"command": "train", "model": "tiny", "env": "webshop", "env_options": {"max_turns": 4}}
    )
    options = env_options(run)
    assert options["departments"] == ["fashion"] and options["observation"] == "compact" and options["max_turns"] == 4
    unknown = Run.create(tmp_path / "unknown", {"env": "chess", "env_options": {"clock": 5}})
    assert env_options(unknown) == {"clock": 5} and env_options(Run.create(tmp_path / "silent", {})) == {}
