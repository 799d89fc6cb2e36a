"""A stored update taken again: it arrives where the run arrived, and elsewhere under another scheme."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from actfocus_core.cli import app
from actfocus_core.counterfactual import replay as replaying
from actfocus_core.counterfactual import store as whatif
from actfocus_core.counterfactual.history import policy_before, replayable
from actfocus_core.counterfactual.replay import FRESH, replay
from actfocus_core.counterfactual.walkthrough import walkthrough
from actfocus_core.credit import Batch, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.policy import load_policy
from actfocus_core.runs import Run
from actfocus_core.signals import score
from actfocus_core.train import TrainConfig, train
from actfocus_core.train.groups import filter_groups
from actfocus_core.train.update import Adam
from actfocus_core.trajectory import TokenKind

SMALL = {
    "prompts": 2,
    "rollouts": 3,
    "minibatch": 3,
    "eval_every": 0,
    "lr": 3e-4,
    "critic_lr": 1e-3,
    "mass_every": 0,
    "scheme": "actfocus",
    "scheme_params": {"beta": 0.7},
    "device": "cpu",
    "micro_tokens": 1000,
    "seed": 5,
    "env_options": {"max_turns": 3},
}


@pytest.fixture(scope="module")
def grpo(tmp_path_factory):
    """Two steps of two passes, with entropy and KL terms."""
    config = TrainConfig.of(**SMALL, steps=2, kl_coef=0.01, epochs=2)
    return train(config, tmp_path_factory.mktemp("replay") / "grpo")


@pytest.fixture(scope="module")
def ppo(tmp_path_factory):
    """Two steps, every second group left out."""
    config = TrainConfig.of(**SMALL, steps=2, algorithm="ppo", keep_fraction=0.5)
    return train(config, tmp_path_factory.mktemp("replay") / "ppo")


@pytest.fixture(scope="module")
def second(grpo):
    """The second step, under three schemes."""
    return replay(grpo, 2, ("own", "uniform", "role_only"))


def test_the_runs_own_scheme_arrives_at_the_next_checkpoint(grpo, ppo, second):
    assert replayable(grpo) == [1, 2] and replayable(ppo) == [1, 2]
    for run, step in ((grpo, 1), (ppo, 1), (ppo, 2)):
        (update,) = replay(run, step).result["updates"]
        assert update["own"] and update["reproduced"] <= 1e-6
    assert second.result["updates"][0]["reproduced"] <= 1e-6 and second.result["badges"] == []
    # The run's scheme with other parameters is another scheme.
    (other,) = replay(grpo, 2, params={"actfocus": {"beta": 0.1}}).result["updates"]
    assert not other["own"] and other["reproduced"] is None and other["params"] == {"beta": 0.1}


def test_the_log_probs_are_those_of_the_checkpoints(grpo, second, tiny):
    """Teacher-forced by hand on the stored weights."""
    model = load_policy("tiny", "cpu", "float32").model
    t = second.trajectories[1]
    ids = torch.tensor(t.token_ids.astype(np.int64))[None]
    for step, name in ((1, "logprob_before"), (2, "logprob_after:actfocus")):
        model.load_state_dict(load_file(grpo.path / f"checkpoints/step-0000{step}/policy.safetensors"), strict=False)
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        wanted = logits.gather(1, ids[0, 1:, None])[:, 0].numpy()
        mask = t.response_mask[1:]
        np.testing.assert_allclose(t.signals[name][1:][mask], wanted[mask], atol=2e-5)
    assert np.isnan(t.signals["logprob_before"][~t.response_mask]).all()


@pytest.mark.slow
def test_schemes_start_from_one_place_in_any_order(grpo, second):
    turned = replay(grpo, 2, ("role_only", "own"))
    rows = {row["scheme"]: row for row in second.result["updates"]}
    for row in turned.result["updates"]:
        assert (
            row["update_norm"] == rows[row["scheme"]]["update_norm"] and row["change"] == rows[row["scheme"]]["change"]
        )
    cosines = np.array(second.result["cosine_update"])
    np.testing.assert_allclose(cosines, cosines.T)
    np.testing.assert_allclose(np.diag(cosines), 1)
    assert turned.result["cosine_gradient"][0][1] == pytest.approx(second.result["cosine_gradient"][0][2])
    # Role only is ActFocus without energy, nearer to it than uniform is.
    gradients = second.result["cosine_gradient"][0]
    assert gradients[1] < gradients[2] < 1


def test_cosines_and_lengths_from_the_checkpoints(grpo):
    """The change of the parameters, read off the files."""
    first, second = (load_file(grpo.path / f"checkpoints/step-0000{s}/policy.safetensors") for s in (1, 2))
    change = torch.cat([(second[name] - first[name]).flatten() for name in first]).double()
    (update,) = replay(grpo, 2).result["updates"]
    assert update["update_norm"] == pytest.approx(float(change.norm()), rel=1e-6)
    metrics = grpo.metrics()[0][1]
    assert np.mean(update["gradient_norms"]) == pytest.approx(metrics["grad/norm"], rel=1e-5)
    assert update["metrics"]["loss/policy"] == pytest.approx(metrics["loss/policy"], rel=1e-4, abs=1e-7)


def test_matched_gradients_have_the_first_schemes_length(grpo, second):
    matched = replay(grpo, 2, ("own", "uniform"), match="norm")
    first, other = matched.result["updates"]
    assert first["reproduced"] <= 1e-6
    at_rate = second.result["updates"][1]
    assert other["gradient_norms"][0] == at_rate["gradient_norms"][0]  # as it was before scaling
    assert other["gradient_norm"] != pytest.approx(at_rate["gradient_norm"], rel=1e-2)
    assert other["update_norm"] != at_rate["update_norm"]
    assert matched.id != second.id
    with pytest.raises(ActFocusError, match="match 'lr'"):
        replay(grpo, 2, match="lr")


@pytest.mark.parametrize("match", ["rate", "norm"])
def test_updates_side_by_side_are_those_taken_one_after_another(ppo, monkeypatch, match):
    found = []
    for workers in (1, 2):
        monkeypatch.setattr(replaying, "worker_count", lambda learner, workers=workers: workers)
        found.append(replay(ppo, 2, ("uniform", "own", "role_only"), match=match))
    one, two = found
    assert one.result["updates"] == two.result["updates"] and two.result["updates"][1]["own"]
    assert one.result["cosine_update"] == two.result["cosine_update"]
    # Each worker packs its own groups, so the sums are rounded otherwise.
    for a, b in zip(one.trajectories, two.trajectories):
        for name in ("logprob_before", "logprob_after:role_only"):
            np.testing.assert_allclose(a.signals[name], b.signals[name], atol=2e-5)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_group_that_is_looked_at_is_answered_first(grpo, second, monkeypatch, workers):
    monkeypatch.setattr(replaying, "worker_count", lambda learner: workers)
    firsts, look = [], second.trajectories[-1].id
    whole = replay(grpo, 2, ("own", "uniform", "role_only"), look=look, on_first=firsts.append)
    (first,) = firsts
    group = [t for t in whole.trajectories if t.group == second.trajectories[-1].group]
    assert (
        first.id == whole.id
        and first.result["so_far"] == len(group) == 3 < len(whole.trajectories)
        and "so_far" not in whole.result
    )
    for part, t in zip(first.trajectories, group, strict=True):
        assert part.id == t.id and part.signals.keys() == t.signals.keys()
        for name, values in t.signals.items():
            np.testing.assert_array_equal(part.signals[name], values)
    for part, row, alone in zip(
        first.result["updates"], whole.result["updates"], second.result["updates"], strict=True
    ):
        assert {**part, "change": row["change"]} == row
        assert row["update_norm"] == alone["update_norm"]
        tokens = [((t.kinds == TokenKind.ACTION) & (t.signals[f"advantage:{row['scheme']}"] > 0)).sum() for t in group]
        assert part["change"]["action"]["up"]["tokens"] == sum(tokens)
    assert first.result["cosine_update"] == whole.result["cosine_update"] == second.result["cosine_update"]
    whatif.store(grpo, first, whatif_folder := grpo.path.parent / f"first-{workers}")
    assert whatif.load(grpo, first.id, whatif_folder).result["so_far"] == 3
    # Of a trajectory that is not there, the first group.
    replay(grpo, 2, look="nobody", on_first=firsts.append)
    assert firsts[-1].trajectories[0].group == second.trajectories[0].group


def test_nobody_waits_for_an_update_that_failed(grpo, monkeypatch):
    """The second mini-batch of the run's own scheme fails while the other update waits for its norm."""
    step, clone, clones, steps = Adam.step, replaying.clone_learner, [], []

    def cloned(learner, state):
        clones.append(clone(learner, state))
        return clones[-1]

    def fails(self, number, what):
        if self is not clones[0].adam:
            steps.append(number)
            if len(steps) == 2:
                raise ActFocusError("the gradient is not a finite number")
        return step(self, number, what)

    monkeypatch.setattr(replaying, "worker_count", lambda learner: 2)
    monkeypatch.setattr(replaying, "clone_learner", cloned)
    monkeypatch.setattr(Adam, "step", fails)
    with pytest.raises(ActFocusError, match="not a finite number"):
        replay(grpo, 2, ("own", "uniform"), match="norm")


def test_steps_without_a_checkpoint_are_done_again(ppo, tmp_path):
    run = Run.open(shutil.copytree(ppo.path, tmp_path / "copy"))
    shutil.rmtree(run.path / "checkpoints/step-00001")
    assert replayable(run) == [1]
    with pytest.raises(
        ActFocusError, match=r"checkpoint of step 1 is not stored.*available: steps 1; --rebuild"
    ) as error:
        replay(run, 2)
    assert "\n" not in str(error.value)
    (update,) = replay(run, 2, rebuild=True).result["updates"]
    assert update["reproduced"] <= 1e-6
    assert policy_before(run, 2, rebuild=True).fingerprint != run.info["model"]["fingerprint"]


def test_a_foreign_annotation_does_not_bend_the_replay(grpo, tmp_path):
    """Signals of another reference lie beside the run's own, and before it in the alphabet."""
    copied = Run.open(shutil.copytree(grpo.path, tmp_path / "copy"))
    trajectories = copied.trajectories(2)
    for t in trajectories:
        t.signals["ref_energy"] = -t.signals["ref_energy"]
    copied.annotate(2, "a-stranger", trajectories)
    assert replay(copied, 2).result["updates"][0]["reproduced"] <= 1e-6


@pytest.mark.slow
def test_a_rollout_run_is_replayed_only_as_what_it_is(run, grpo, tmp_path):
    copied = Run.open(shutil.copytree(run.path, tmp_path / "lake"))
    with pytest.raises(ActFocusError, match="was not trained.*--fresh"):
        replay(copied, 0)
    copied.info |= {
        "config": {"command": "rollout", "policy": "tiny", "env": "frozen_lake", "env_options": {}},
        "model": {"name": "tiny", "fingerprint": load_policy("tiny", "cpu").fingerprint},
    }
    returns = copied.index().groupby("group")["return"]
    groups = returns.std().nlargest(2).sort_index().index.tolist()
    what = replay(copied, 0, ("uniform",), fresh=True, groups=groups)
    assert what.result["badges"] == [FRESH] and not what.result["updates"][0]["own"]
    assert list(dict.fromkeys(t.group for t in what.trajectories)) == groups
    assert what.result["updates"][0]["update_norm"] > 0
    with pytest.raises(ActFocusError, match="no group 'nowhere'"):
        replay(copied, 0, fresh=True, groups=["nowhere"])
    copied.info["model"]["fingerprint"] = "0" * 16
    with pytest.raises(ActFocusError, match="no longer the model this run began with"):
        replay(copied, 0, fresh=True)
    with pytest.raises(ActFocusError, match="was trained.*leave --fresh away"):
        replay(grpo, 1, fresh=True)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"step": 9}, "step 3 are not stored; available: steps 1 to 2"),
        ({"step": 0}, "step 0 are not stored"),
        ({"schemes": ("magic",)}, "unknown scheme"),
        ({"schemes": ()}, "no scheme"),
        ({"schemes": ("vineppo",)}, "needs policy_v"),
        ({"params": {"actfocus": {"alpha": 2}}}, "alpha=2"),
        ({"evaluation": -1}, "evaluation=-1"),
        ({"settings": {"lr": 1}}, "fresh replay"),
    ],
)
def test_what_cannot_be_replayed_says_so_in_a_line(grpo, asked, says):
    with pytest.raises(ActFocusError, match=says) as error:
        replay(grpo, **{"step": 2, **asked})
    assert "\n" not in str(error.value) and not (grpo.path / "whatif").exists()


@pytest.mark.slow
def test_the_evaluation_set_before_and_after(grpo):
    what = replay(grpo, 2, evaluation=2)
    before, rows = what.result["before"], what.result["updates"]
    for row in rows:
        found = row["evaluation"]
        assert found["gain"] == pytest.approx(found["success"] - before["success"])
        assert found["gain_low"] <= found["gain"] <= found["gain_high"] and found["trajectories"] == 8
    # Playing changes nothing in the update.
    assert rows[0]["reproduced"] <= 1e-6


def test_the_walkthrough_shows_the_numbers_of_the_loss(grpo, second):
    """Credit from the stored batch, and the loss summed over a mini-batch, against what the replay says."""
    kept = filter_groups(score(grpo.trajectories(2), load_policy("tiny", "cpu")), 1.0)
    batch = Batch.of(kept)
    credit = get_scheme("actfocus").compute(batch, beta=0.7)
    energy = batch.signals["energy"][batch.kinds == TokenKind.ACTION].astype(np.float64)
    shares = 0.0
    for i, t in enumerate(kept):
        steps = walkthrough(second, t.id, "actfocus")
        mask, mine = t.response_mask, batch.index == i
        weights = np.array(steps["weights"]["values"], float)
        np.testing.assert_allclose(weights[mask], credit.weight[mine][mask], atol=1e-5)
        np.testing.assert_allclose(
            np.array(steps["advantages"]["values"], float)[mask], credit.advantage[mine][mask], atol=1e-6
        )
        action = t.kinds == TokenKind.ACTION
        z = np.array(steps["z"]["values"], float)[action]
        np.testing.assert_allclose(z, (batch.signals["energy"][mine][action] - energy.mean()) / energy.std(), atol=1e-4)
        np.testing.assert_allclose(weights[action], 1 + 0.7 / (1 + np.exp(-z)), atol=1e-5)
        shares += np.nansum(np.array(steps["mass"]["values"], float))
        new = np.array(steps["logprobs"]["after"], float) - np.array(steps["logprobs"]["before"], float)
        np.testing.assert_allclose(new[mask], np.array(steps["logprobs"]["change"], float)[mask], atol=1e-6)
        assert np.isnan(weights[~mask]).all() and steps["rewards"]["return"] == t.ret
        assert len(steps["rewards"]["group"]) == 3 and len(steps["rollout"]["texts"]) == len(t)
    assert shares == pytest.approx(1)
    # Z is the weight of a mini-batch: over the batch every token counts once.
    divisors = second.result["updates"][0]["divisors"]
    total = {
        z: sum(credit.weight[batch.index == i].sum() for i, t in enumerate(kept) if divisors[t.id] == z)
        for z in set(divisors.values())
    }
    assert all(z == pytest.approx(weight, rel=1e-5) for z, weight in total.items()) and len(total) == 2
    json.dumps(walkthrough(second, kept[0].id, "uniform"), allow_nan=False)
    assert walkthrough(second, kept[0].id, "uniform")["z"] is None
    for wrong in (("nobody", "actfocus"), (kept[0].id, "empg")):
        with pytest.raises(ActFocusError):
            walkthrough(second, *wrong)


def test_a_what_if_is_stored_and_found_by_its_id(grpo, second, tmp_path):
    run = Run.open(shutil.copytree(grpo.path, tmp_path / "copy"))
    facts = {f: f.read_bytes() for f in run.path.rglob("*.parquet")}
    file = whatif.store(run, second)
    assert file.name == f"{second.id}.json" and [row["id"] for row in whatif.listing(run)] == [second.id]
    again = whatif.load(run, second.id)
    assert again.result == whatif.plain(second.result) and again.id == second.id
    for a, b in zip(again.trajectories, second.trajectories):
        assert a.signals.keys() == b.signals.keys() and a.turn_records == b.turn_records
        np.testing.assert_array_equal(a.signals["logprob_after:uniform"], b.signals["logprob_after:uniform"])
    assert walkthrough(again, again.trajectories[0].id, "actfocus") == walkthrough(
        second, again.trajectories[0].id, "actfocus"
    )
    whatif.store(run, second)
    assert len(whatif.listing(run)) == 1 and all(f.read_bytes() == content for f, content in facts.items())
    for wrong in ("replay-000000000000", "../run", "replay"):
        with pytest.raises(ActFocusError, match="has no what-if"):
            whatif.load(run, wrong)
    whole = file.read_text()
    for damage, says in (
        (lambda kept: kept.clear(), "not a what-if"),
        (lambda kept: kept["request"].pop("step"), "request.step: Field required"),
        (lambda kept: kept["result"].pop("updates"), "result.updates: Field required"),
        (
            lambda kept: kept["result"]["updates"][0]["change"].pop("action"),
            r"result.updates.0.change.action: Field required",
        ),
        (lambda kept: kept["result"]["cosine_update"].pop(), "cosine_update must have 3 rows of 3 numbers"),
    ):
        damage(kept := json.loads(whole))
        file.write_text(json.dumps(kept))
        with pytest.raises(ActFocusError, match=says):
            whatif.listing(run)


def test_a_folder_that_cannot_be_written_keeps_nothing_half(grpo, second, tmp_path):
    run = Run.open(shutil.copytree(grpo.path, tmp_path / "copy"))
    (run.path / "whatif").write_text("in the way")
    with pytest.raises(ActFocusError, match="cannot be written") as error:
        whatif.store(run, second)
    assert "\n" not in str(error.value) and (run.path / "whatif").read_text() == "in the way"


def test_the_command(grpo, tmp_path):
    run = Run.open(shutil.copytree(grpo.path, tmp_path / "copy"))
    call = CliRunner().invoke(
        app, ["replay", str(run.path), "--schemes", "uniform,actfocus", "--match", "norm", "--json"]
    )
    printed = json.loads(call.stdout)
    assert [row["scheme"] for row in printed["result"]["updates"]] == ["uniform", "actfocus"]
    assert printed["request"]["step"] == 2 and printed["result"]["updates"][1]["own"]
    listed = json.loads(CliRunner().invoke(app, ["whatif", str(run.path), "--json"]).stdout)["whatif"]
    assert [row["id"] for row in listed] == [printed["id"]]
    shown = CliRunner().invoke(app, ["whatif", str(run.path), printed["id"]]).stdout
    assert "actfocus (own)" in shown and printed["id"] in shown
    table = CliRunner().invoke(app, ["whatif", str(run.path)]).stdout
    assert "step 2, schemes uniform actfocus, match norm" in table
    wrong = CliRunner().invoke(app, ["replay", str(run.path), "--schemes", "magic"])
    assert isinstance(wrong.exception, ActFocusError) and len(whatif.listing(run)) == 1
