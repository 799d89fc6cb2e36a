"""What a training run holds when it has ended."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from actfocus_core.errors import ActFocusError
from actfocus_core.policy import load_policy
from actfocus_core.rollout import EVALUATION_SEED, TRAINING_SEED
from actfocus_core.runs import Run
from actfocus_core.train import read_status, resume, train
from actfocus_core.train.checkpoint import checkpoints
from actfocus_core.train.evaluate import summary
from actfocus_core.train.metrics import explain
from actfocus_core.train.update import policy_step
from tests.core.training_runs import config, results


def test_a_row_a_step_and_every_name_is_explained(grpo, ppo):
    assert [row["step"] for row in results(grpo.path)] == [0, 1, 2, 3, 4]
    assert [row["step"] for row in results(ppo.path)] == [1, 2, 3]
    for row in [*grpo.metrics()[0], *ppo.metrics()[0]]:
        assert all(explain(name) for name in row)
    with pytest.raises(ActFocusError, match="unknown metric"):
        explain("loss/luck")
    evaluated = [row["step"] for row in results(grpo.path) if "eval/t1/success" in row]
    measured = [row["step"] for row in results(grpo.path) if "mass/gradient_action" in row]
    assert evaluated == [0, 2, 4] and measured == [2, 4]
    last = results(grpo.path)[-1]
    assert last["eval/t0.5/success_low"] <= last["eval/t0.5/success"] <= last["eval/t0.5/success_high"]
    assert last["mass/action"] > 3 * last["mass/action_tokens"]
    assert last["mass/reasoning"] + last["mass/action"] + last["mass/format"] == pytest.approx(1)


def test_the_rollouts_of_every_step_are_kept_with_their_signals(grpo, ppo):
    assert grpo.steps() == [1, 2, 3, 4]
    third = grpo.trajectories(3)
    assert [t.seed for t in third] == [TRAINING_SEED + 4] * 3 + [TRAINING_SEED + 5] * 3
    assert all(np.isfinite(t.signals["ref_energy"][t.response_mask]).all() for t in third)
    assert results(grpo.path)[3]["success/rate"] == pytest.approx(np.mean([t.success for t in third]))
    # Under PPO one group of two was kept: it has values, and was scored; the other was not.
    scored = [np.isfinite(t.signals["value"]).any() if "value" in t.signals else False for t in ppo.trajectories(2)]
    assert sorted(scored) == [False] * 3 + [True] * 3 and ppo.references() == []
    assert results(ppo.path)[1]["groups/kept"] == 1


def test_evaluation_is_kept_as_runs_of_its_own(grpo):
    run = Run.open(grpo.path / "evaluation" / "t1")
    assert run.steps() == [0, 2, 4] and {t.seed for t in run.trajectories(2)} == {EVALUATION_SEED, EVALUATION_SEED + 1}
    assert summary(run.trajectories(4))["success"] == results(grpo.path)[-1]["eval/t1/success"]


def test_the_trained_policy_is_an_ordinary_folder(grpo, tiny):
    trained = load_policy(str(grpo.path / "policy"), device="cpu")
    assert trained.env_options["frozen_lake"]["observation"] == "compact"
    assert trained.fingerprint != tiny.fingerprint
    assert json.loads((grpo.path / "policy" / "actfocus.json").read_text())["trained"]["steps"] == 4
    assert read_status(grpo.path)["state"] == "finished"
    assert checkpoints(grpo.path / "checkpoints") == [3, 4]
    assert (
        not list(grpo.path.rglob("*.p*kl")) and not list(grpo.path.rglob("*.pt")) and not list(grpo.path.rglob("*.bin"))
    )


def test_the_policy_moves_under_ppo_and_the_critic_learns(ppo, tiny):
    assert load_policy(str(ppo.path / "policy"), device="cpu").fingerprint != tiny.fingerprint
    rows = results(ppo.path)
    assert rows[0]["critic/value_mean"] == 0 and rows[1]["critic/value_mean"] != 0
    assert all(row["grad/norm"] > 0 and row["grad/critic_norm"] > 0 for row in rows)


@pytest.mark.slow
def test_uniform_without_kl_never_runs_the_reference(tmp_path):
    run = train(config(steps=1, scheme="uniform", eval_every=0, mass_every=0), tmp_path / "run")
    assert "kl/reference" not in results(run.path)[0] and run.references() == []
    with_kl = train(config(steps=1, scheme="uniform", eval_every=0, mass_every=0, kl_coef=0.01), tmp_path / "kl")
    assert results(with_kl.path)[0]["kl/reference"] == pytest.approx(0, abs=1e-6) and with_kl.references() == ["tiny"]


def test_adapters_train_few_parameters_and_leave_an_ordinary_folder(tmp_path, tiny):
    values = dict(steps=2, lora_rank=4, eval_every=0, mass_every=2, lr=1e-3)
    run = train(config(**values), tmp_path / "run")
    stored = load_file(run.path / "checkpoints/step-00002/policy.safetensors")
    assert stored and all("lora_" in name for name in stored)
    trained = load_policy(str(run.path / "policy"), device="cpu")
    before = tiny.model.state_dict()
    changed = {name for name, p in trained.model.state_dict().items() if not torch.equal(p, before[name])}
    assert changed and all("proj" in name for name in changed)
    train(config(**{**values, "steps": 1}), tmp_path / "cut")
    resume(tmp_path / "cut", steps=2)
    assert results(tmp_path / "cut") == results(run.path)


def test_tensorboard_gets_the_rows(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(config(steps=2, eval_every=0, track=("tensorboard",)), tmp_path / "run")
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert [(e.step, pytest.approx(e.value)) for e in events.Scalars("reward/return")] == [
        (row["step"], row["reward/return"]) for row in results(run.path)
    ]


def test_the_bf16_copy_that_samples_follows_the_policy(tmp_path):
    """The copy rounds, log-probs are recomputed, and updates reach it."""
    from actfocus_core.train.session import Session

    policy = load_policy("tiny", "cpu", "float32")
    made = config(scheme="uniform", precision="bfloat16", algorithm="ppo", prompts=1, rollouts=2, micro_tokens=64)
    session = Session(made, policy, Run.create(tmp_path / "run", {}))
    learner, rollouts = session.learner, session.collect(1)
    prepared = learner.prepare(rollouts)
    assert 1e-9 < prepared.metrics["kl/rollout"] < 1e-2 and learner.reference.model.dtype == torch.bfloat16
    batch, response = prepared.training_batch, prepared.batch.response
    new, sampled = (
        np.concatenate(batch.columns["old_logprobs"])[response],
        np.concatenate([t.logprobs for t in rollouts])[response],
    )
    assert 0 < np.abs(new - sampled).max() < 0.5
    ((rows, normaliser),) = learner.minibatches(prepared, 1, 0)
    batch.columns["advantages"] = [np.where(t.response_mask, np.float32(1), 0) for t in rollouts]
    with learner.updating():
        assert policy_step(learner.model, learner.adam, batch, rows, normaliser, made, 1)["grad/norm"] > 0
    assert policy.model.dtype == torch.float32
    for mine, theirs in zip(learner.rollout_policy.model.parameters(), policy.model.parameters()):
        assert torch.equal(mine, theirs.bfloat16())
