"""The TRL trainer, run for real where TRL can be imported: `make test-trl` gives it an environment of its own."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("trl", reason="TRL is not installed: `make test-trl` runs these in an environment of its own")
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch
import trl
from safetensors.torch import load_file
from transformers import TrainerCallback
from trl import GRPOTrainer

from actfocus_core.analysis.validate import diagnose
from actfocus_core.credit.weights import token_weights
from actfocus_core.errors import ActFocusError
from actfocus_core.losses import policy_loss
from actfocus_core.plugins import trl as plugin
from actfocus_core.policy import load_policy
from actfocus_core.runs import Run
from actfocus_core.signals import score
from actfocus_core.train import read_status, request
from actfocus_core.train.metrics import METRICS
from tests.plugins.trl_run import OPTIONS, PROMPTS, ROLLOUTS, config, trainer


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trainer after two steps, and the run folder it wrote."""
    path = tmp_path_factory.mktemp("trl") / "run"
    made = trainer(config(), run=str(path))
    made.train()
    return made, Run.open(path)


def batch_of(made):
    """A generation batch as TRL trains on it, and the gradient of its micro-batches together."""
    made.current_gradient_accumulation_steps = made.args.gradient_accumulation_steps
    made.model.train()
    output = made._generate_and_score_completions(next(iter(made.get_train_dataloader())))
    halves = [{k: v if v.ndim == 0 else v[part] for k, v in output.items()} for part in (slice(0, 3), slice(3, None))]
    made.model.zero_grad()
    losses = [made.compute_loss(made.model, half) for half in halves]
    sum(losses).backward()
    return (
        output,
        sum(loss.item() for loss in losses),
        {name: p.grad.clone() for name, p in made.model.named_parameters() if p.requires_grad},
    )


def test_it_trains_the_embedded_policy_and_the_studio_can_follow(trained, tiny):
    made, run = trained
    assert run.steps() == [1, 2] and read_status(run.path)["state"] == "finished"
    rows, _ = run.metrics()
    assert [row["step"] for row in rows] == [1, 2] and set(rows[0]) <= set(METRICS)
    assert rows[0]["mass/action"] > rows[0]["mass/action_tokens"] > 0 and rows[0]["grad/norm"] > 0
    # The policy is the reference at first, and then is not any more.
    assert abs(rows[0]["kl/reference"]) < 1e-6 < rows[1]["kl/reference"] and rows[0]["tokens/per_second"] > 0
    assert all(
        {"loss/policy", "grad/lr", "clip/low", "clip/high", "entropy/action", "seconds/elapsed"} <= row.keys()
        for row in rows
    )
    assert diagnose(run, tokenizer=tiny.tokenizer).healthy
    first = run.trajectories(1)
    assert len(first) == PROMPTS * ROLLOUTS and {t.env for t in first} == {"frozen_lake"}
    assert rows[0]["reward/return"] == pytest.approx(np.mean([t.ret for t in first]))
    # What was stored is what the untrained policy samples, and its own energies.
    again = run.trajectories(1)
    for t in again:
        t.signals = {}
    score(again, tiny)
    for t, new in zip(first, again):
        np.testing.assert_allclose(t.signals["ref_energy"], new.signals["ref_energy"], atol=1e-4)
        np.testing.assert_allclose(t.logprobs, new.signals["ref_logprob"], atol=1e-4)
    moved = [not torch.equal(p, q) for p, q in zip(made.model.parameters(), tiny.model.parameters())]
    assert any(moved)


class AsksToStop(TrainerCallback):
    def __init__(self, path):
        self.path = path

    def on_step_begin(self, args, state, control, **_):
        request(self.path, "stop")


def test_a_stop_in_the_studio_is_gone_on_from_as_if_it_had_not_been(tmp_path):
    def settings(name):
        return config(steps=3, output_dir=str(tmp_path / name), save_strategy="steps", save_steps=2, logging_steps=50)

    whole = trainer(settings("whole"), run=str(tmp_path / "whole-run"))
    whole.train()
    path = tmp_path / "run"
    trainer(settings("cut"), run=str(path), callbacks=[AsksToStop(path)]).train()
    assert read_status(path)["state"] == "stopped" and Run.open(path).steps() == [1]
    again = trainer(settings("cut"), run=str(path))
    again.train(resume_from_checkpoint=True)
    status, run = read_status(path), Run.open(path)
    assert (status["state"], status["step"], run.steps()) == ("finished", 3, [1, 2, 3])
    rows, expected = run.metrics()[0], Run.open(tmp_path / "whole-run").metrics()[0]
    assert [row["step"] for row in rows] == [row["step"] for row in expected] == [1, 2, 3]
    for row, other in zip(rows, expected):
        for name in ("loss/policy", "grad/norm", "reward/return", "mass/action"):
            assert row[name] == pytest.approx(other[name], rel=1e-4, abs=1e-6), name
    for p, q in zip(again.model.parameters(), whole.model.parameters()):
        torch.testing.assert_close(p, q, atol=1e-6, rtol=1e-5)


def test_what_broke_the_training_off_stands_in_the_folder(tmp_path):
    def broken(**_):
        raise RuntimeError("no reward today")

    with pytest.raises(RuntimeError, match="no reward today"):
        trainer(config(), reward_funcs=broken, run=str(tmp_path / "run")).train()
    status = read_status(tmp_path / "run")
    assert (status["state"], status["message"]) == ("failed", "no reward today")


@pytest.mark.parametrize(
    "params",
    [
        {"alpha": 0.1, "beta": 0.5},
        {"alpha": 0.0, "beta": 2.0, "format_weight": 0.5},
        {"alpha": 0.3, "beta": 1.0, "signal": "nll"},
    ],
)
def test_loss_and_gradient_are_the_method_s(params):
    made = trainer(config(), scheme_params=params)
    output, loss, gradients = batch_of(made)
    played = made._played
    returns = torch.tensor([t.ret for t in played]).view(PROMPTS, ROLLOUTS)
    advantages = ((returns - returns.mean(1, keepdim=True)) / (returns.std(1, keepdim=True) + 1e-4)).flatten()
    assert advantages.abs().max() > 0.5  # else there is nothing to see
    signal = [-t.logprobs if params.get("signal") == "nll" else t.signals["ref_energy"] for t in played]
    kinds = np.concatenate([t.kinds for t in played])
    weights = token_weights(kinds, np.concatenate(signal), params["alpha"], params["beta"], params.get("format_weight"))
    model, logprobs, old = made.model, [], []
    for t in played:
        ids = torch.from_numpy(t.token_ids.astype(np.int64))
        own = model(input_ids=ids[None, :-1]).logits[0].log_softmax(-1).gather(1, ids[1:, None])[:, 0]
        logprobs.append(torch.cat([own.new_zeros(1), own]))
        old.append(torch.from_numpy(np.nan_to_num(t.logprobs)))
    mask = torch.from_numpy(np.concatenate([t.response_mask for t in played]))
    lengths = torch.tensor([len(t) for t in played])
    ours = policy_loss(
        torch.cat(logprobs), torch.cat(old), advantages.repeat_interleave(lengths), torch.from_numpy(weights), mask
    )
    model.zero_grad()
    ours.loss.backward()
    assert loss == pytest.approx(float(ours.loss), abs=2e-6)
    for name, p in model.named_parameters():
        torch.testing.assert_close(gradients[name], p.grad, atol=2e-6, rtol=1e-4)


def reward_length(completions, **_):
    return [float(len(c[0]["content"])) for c in completions]


def test_alpha_one_and_beta_zero_is_trl_s_own_step():
    def one_step(kind, **more):
        torch.manual_seed(0)
        policy = load_policy("tiny", "cpu")
        made = kind(
            policy.model.requires_grad_(True),
            reward_length,
            config(steps=1, max_completion_length=24),
            train_dataset=plugin.boards("frozen_lake", 4, **OPTIONS),
            processing_class=policy.tokenizer,
            **more,
        )
        made.train()
        return list(made.model.parameters())

    theirs, ours = (
        one_step(GRPOTrainer),
        one_step(plugin.ActFocusGRPOTrainer, scheme_params={"alpha": 1.0, "beta": 0.0}),
    )
    start = list(load_policy("tiny", "cpu").model.parameters())
    assert all(torch.equal(p, q) for p, q in zip(theirs, ours))
    assert any(not torch.equal(p, q) for p, q in zip(start, ours))


def test_spans_of_what_trl_sampled_are_found_on_its_ids():
    made = trainer(config())
    output, _, _ = batch_of(made)
    mask = output["completion_mask"] * output["tool_mask"]
    for t, read in zip(made._played, made._read(output, mask)):
        np.testing.assert_array_equal(t.token_ids, read.token_ids)
        written = t.response_mask
        np.testing.assert_array_equal(written, read.response_mask)
        np.testing.assert_array_equal(t.kinds[written], read.kinds[written])
        np.testing.assert_array_equal(t.turns[written], read.turns[written])
        assert read.ret == pytest.approx(t.ret)
        assert [r.response for r in t.turn_records] == [r.response for r in read.turn_records]


def test_with_adapters_the_reference_is_the_model_without_them(tiny):
    from peft import LoraConfig

    made = trainer(config(), peft_config=LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    batch_of(made)
    energies = [t.signals["ref_energy"] for t in made._played]
    for t in made._played:
        t.signals = {}
    # The adapters are random, so the policy that played is another one than the reference.
    score(made._played, tiny)
    for t, energy in zip(made._played, energies):
        np.testing.assert_allclose(energy, t.signals["ref_energy"], atol=1e-4)
    shift = np.concatenate([(t.logprobs - t.signals["ref_logprob"])[t.response_mask] for t in made._played])
    assert np.abs(shift).max() > 0.1


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_processes_are_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def start(rank: int, processes: int):
        own = (
            {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(processes),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "OMP_NUM_THREADS": "1",
            }
            if processes > 1
            else {}
        )
        command = [
            sys.executable,
            "-m",
            "tests.plugins.trl_run",
            str(tmp_path / f"{processes}.safetensors"),
            str(tmp_path / f"run-{processes}"),
        ]
        return subprocess.Popen(
            command, env={**os.environ, **own}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    for processes in (1, 2):
        for process in [start(rank, processes) for rank in range(processes)]:
            said, _ = process.communicate(timeout=700)
            assert process.returncode == 0, said
    one, two = (load_file(tmp_path / f"{n}.safetensors") for n in (1, 2))
    before = load_policy("tiny", "cpu").model.state_dict()
    assert max(float((one[n] - before[n]).abs().max()) for n in before) > 1e-3
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-4, rtol=0)
    first, second = (Run.open(tmp_path / f"run-{n}") for n in (1, 2))
    assert list(first.index()["id"]) == list(second.index()["id"])
    for a, b in zip(first.trajectories(1), second.trajectories(1)):
        np.testing.assert_array_equal(a.token_ids, b.token_ids)
    for name in ("loss/policy", "grad/norm", "reward/return", "mass/action"):
        assert first.metrics()[0][1][name] == pytest.approx(second.metrics()[0][1][name], rel=1e-3), name


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.delattr(GRPOTrainer, "_generate_and_score_completions"),
        lambda m: m.setattr(GRPOTrainer, "_compute_loss", lambda self, inputs: None),
        lambda m: m.setattr(trl, "__version__", "1.17.0"),
    ],
)
def test_another_trl_is_refused(monkeypatch, change):
    change(monkeypatch)
    with pytest.raises(ActFocusError, match="pip install 'trl==1.16"):
        plugin.ActFocusGRPOTrainer("tiny", env="frozen_lake")


@pytest.mark.parametrize(
    "args, more",
    [
        (dict(loss_type="grpo"), {}),
        (dict(steps_per_generation=1), {}),
        (dict(top_k=5), {}),
        ({}, dict(scheme_params={"alpha": 2})),
        ({}, dict(scheme_params={"gamma": 1})),
        ({}, dict(scheme_params={"signal": "luck"})),
        ({}, dict(env=None, scheme_params={"signal": "nll"})),
        ({}, dict(env="chess")),
    ],
)
def test_settings_under_which_it_would_be_another_method_are_refused(args, more):
    with pytest.raises(ActFocusError):
        trainer(config(per_device_train_batch_size=8, **args), **more)
