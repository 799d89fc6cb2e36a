"""Training runs end to end: what they write, how they end, and that they go on exactly."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from actfocus_core.errors import ActFocusError
from actfocus_core.policy import load_policy
from actfocus_core.rollout import EVALUATION_SEED, TRAINING_SEED
from actfocus_core.runs import Run
from actfocus_core.train import TrainConfig, preset, read_status, request, resume, train
from actfocus_core.train.checkpoint import appearing_folder, checkpoints
from actfocus_core.train.control import requested, the_only_trainer
from actfocus_core.train.evaluate import summary
from actfocus_core.train.metrics import explain
from actfocus_core.train.update import policy_step

SMALL = {
    "prompts": 2,
    "rollouts": 3,
    "minibatch": 3,
    "eval_prompts": 2,
    "eval_rollouts": 2,
    "eval_every": 2,
    "lr": 3e-4,
    "critic_lr": 1e-3,
    "mass_every": 2,
    "scheme": "actfocus",
    "device": "cpu",
    "micro_tokens": 1000,
    "seed": 5,
}


def config(**changes) -> TrainConfig:
    return TrainConfig.of(**{**SMALL, **changes})


def results(path) -> list[dict]:
    """The rows of a run without what depends on the machine's speed."""
    return [
        {k: v for k, v in row.items() if not k.startswith("seconds/") and k != "tokens/per_second"}
        for row in Run.open(path).metrics()[0]
    ]


@pytest.fixture(scope="module")
def grpo(tmp_path_factory):
    """Four steps without interruption."""
    return train(config(steps=4, store_evaluation=True), tmp_path_factory.mktemp("grpo") / "run")


@pytest.fixture(scope="module")
def ppo(tmp_path_factory):
    return train(
        config(steps=3, algorithm="ppo", eval_every=0, filter_share=0.5), tmp_path_factory.mktemp("ppo") / "run"
    )


# --- what a run holds ------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("changes", "extra"), [({"lora_rank": 4}, "lora"), ({"track": ("tensorboard",)}, "tensorboard")]
)
def test_a_missing_extra_is_named_and_leaves_no_folder(changes, extra, tmp_path):
    """Where it is installed, a child process that cannot import it."""
    hide = "import sys; sys.modules.update({'peft': None, 'torch.utils.tensorboard': None})\n"
    code = hide + (
        f"from actfocus_core.train import *\ntrain(TrainConfig.of(**{ {**SMALL, **changes}!r}), {str(tmp_path / 'run')!r})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"pip install 'actfocus[{extra}]'" in result.stderr and list(tmp_path.iterdir()) == []


def test_tensorboard_gets_the_rows(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(config(steps=2, eval_every=0, track=("tensorboard",)), tmp_path / "run")
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert [(e.step, pytest.approx(e.value)) for e in events.Scalars("reward/return")] == [
        (row["step"], row["reward/return"]) for row in results(run.path)
    ]


def test_a_player_in_half_precision_follows_the_policy(tmp_path):
    """The copy that samples rounds, log-probs are made again, and updates reach it."""
    from actfocus_core.train.session import Session

    policy = load_policy("tiny", "cpu", "float32")
    made = config(scheme="uniform", precision="bfloat16", algorithm="ppo", prompts=1, rollouts=2, micro_tokens=64)
    s = Session(made, policy, Run.create(tmp_path / "run", {}))
    rollouts = s.collect(1)
    batch, credit = s.credit(rollouts)
    tokens = s.batch(rollouts, batch, credit, credit.advantage)
    assert 1e-9 < s.notes["kl/rollout"] < 1e-2 and s.reference.model.dtype == torch.bfloat16
    new, sampled = (
        np.concatenate(tokens.columns["old_logprobs"])[batch.response],
        np.concatenate([t.logprobs for t in rollouts])[batch.response],
    )
    assert 0 < np.abs(new - sampled).max() < 0.5
    ((rows, z),) = s.minibatches(tokens, credit, 1, 0)
    tokens.columns["advantages"] = [np.where(t.response_mask, np.float32(1), 0) for t in rollouts]
    with s.updating():
        assert policy_step(s.model, s.adam, tokens, rows, z, made, 1)["grad/norm"] > 0
    assert policy.model.dtype == torch.float32
    for mine, theirs in zip(s.player.model.parameters(), policy.model.parameters()):
        assert torch.equal(mine, theirs.bfloat16())


# --- going on --------------------------------------------------------------------------------


@pytest.mark.slow
def test_stopped_and_resumed_is_never_stopped(grpo, tmp_path):
    """A request after step 2, a checkpoint only every third step."""
    path = tmp_path / "run"

    def watch(phase, done, total):
        if phase == "train" and done == 2:
            request(path, "stop")

    train(config(steps=4, store_evaluation=True, checkpoint_every=3), path, watch)
    assert read_status(path)["state"] == "stopped" and len(results(path)) == 3
    assert load_policy(str(path / "policy"), device="cpu")
    resume(path)
    assert results(path) == results(grpo.path)
    assert (
        load_policy(str(path / "policy"), device="cpu").fingerprint
        == load_policy(str(grpo.path / "policy"), device="cpu").fingerprint
    )
    with pytest.raises(ActFocusError, match="is finished; give more steps"):
        resume(path)
    resume(path, steps=5)
    assert [row["step"] for row in results(path)] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("algorithm", ["grpo", pytest.param("ppo", marks=pytest.mark.slow)])
def test_killed_at_any_moment_and_resumed_is_never_killed(algorithm, grpo, ppo, tmp_path):
    """SIGKILL in the update of step 2, then while step 3 is logged, with checkpoints two steps apart."""
    whole, path = {"grpo": grpo, "ppo": ppo}[algorithm], tmp_path / "run"
    stored = {**whole.info["config"], "checkpoint_every": 2}
    stored.pop("command")
    begin = f"from actfocus_core.train import *; train(TrainConfig.of(**{stored!r}), {str(path)!r})"
    go_on = f"from actfocus_core.train import *; resume({str(path)!r})"

    def killed(code: str, when) -> None:
        process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": threads()})
        try:
            while process.poll() is None and not when():
                time.sleep(0.002)
        finally:
            process.kill()
        assert process.wait() == -signal.SIGKILL

    def updating(step: int) -> bool:
        status = read_status(path)
        return status.get("step") == step - 1 and status.get("phase") == "update"

    def logged(step: int) -> bool:
        return path.exists() and any(row["step"] == step for row in Run.open(path).metrics()[0])

    killed(begin, lambda: updating(2))
    assert read_status(path)["state"] == "killed" and checkpoints(path / "checkpoints") == []
    killed(go_on, lambda: logged(3))
    assert checkpoints(path / "checkpoints") == [2]
    # The worst a kill can leave: half a line, half a checkpoint.
    with open(path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "reward/ret')
    (path / "checkpoints" / ".step-00004.part").mkdir()
    subprocess.run([sys.executable, "-c", go_on], check=True, env={**os.environ, "OMP_NUM_THREADS": threads()})
    assert results(path) == results(whole.path)
    assert (
        load_policy(str(path / "policy"), device="cpu").fingerprint
        == load_policy(str(whole.path / "policy"), device="cpu").fingerprint
    )
    assert not list((path / "checkpoints").glob(".*"))


def threads() -> str:
    """As many as this process has: another number would round differently."""
    return str(torch.get_num_threads())


def test_one_process_at_a_time(grpo):
    with the_only_trainer(grpo.path), pytest.raises(ActFocusError, match="being trained by another process"):
        resume(grpo.path, steps=9)
    assert len(results(grpo.path)) == 5


def test_a_pause_waits_and_goes_on(tmp_path):
    path, seen = tmp_path / "run", []

    def watch(phase, done, total):
        if phase == "train" and done == 1:
            request(path, "pause")
            threading.Thread(target=wake).start()

    def wake():
        while read_status(path).get("state") != "paused":
            time.sleep(0.01)
        seen.append(len(results(path)))
        request(path, "go")

    train(config(steps=2, eval_every=0, mass_every=0), path, watch)
    assert seen == [1] and len(results(path)) == 2 and read_status(path)["state"] == "finished"


def test_sigint_ends_the_run_after_its_step(tmp_path):
    sent = []

    def watch(phase, done, total):
        # Once: the second one would not wait.
        if phase == "rollout" and not sent:
            sent.append(os.kill(os.getpid(), signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    run = train(config(steps=9, prompts=1, rollouts=2, eval_every=0, mass_every=0), tmp_path / "run", watch)
    assert signal.getsignal(signal.SIGINT) is before
    assert len(results(run.path)) == 1 and read_status(run.path)["state"] == "stopped"
    assert checkpoints(run.path / "checkpoints") == [1]


def test_a_time_budget_ends_a_run_in_time(tmp_path):
    run = train(config(steps=1000, time_budget=4.0, mass_every=0, eval_every=500), tmp_path / "run")
    rows = run.metrics()[0]
    assert 2 <= len(rows) < 100 and "eval/t1/success" in rows[-1] and read_status(run.path)["state"] == "finished"


# --- ending badly ----------------------------------------------------------------------------


def test_a_loss_that_is_not_a_number_stops_with_the_last_checkpoint(tmp_path):
    """One good step; then a rate at which the second pass over the batch overflows."""
    train(config(steps=1, eval_every=0), tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    info = json.loads(file.read_text())
    info["config"] |= {"lr": 1e30, "epochs": 2, "kl_coef": 0.1}
    file.write_text(json.dumps(info))
    with pytest.raises(ActFocusError, match=r"step 2: the gradient of the policy .* step 1 is kept") as error:
        resume(tmp_path / "run", steps=5)
    assert "\n" not in str(error.value) and checkpoints(tmp_path / "run/checkpoints") == [1]
    status = read_status(tmp_path / "run")
    assert status["state"] == "failed" and "gradient" in status["message"]


def test_a_full_disk_stops_with_the_last_checkpoint(tmp_path):
    """A limit on the size of a file stands in for the disk: the same error at the same place."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def watch(phase, done, total):
        if phase == "train" and done == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))

    try:
        with pytest.raises(ActFocusError, match="cannot be written.*step 1 is kept"):
            train(config(steps=3, eval_every=0, mass_every=0), tmp_path / "run", watch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoints(tmp_path / "run/checkpoints") == [1] and not list((tmp_path / "run/checkpoints").glob(".*"))
    assert resume(tmp_path / "run") and [row["step"] for row in results(tmp_path / "run")] == [1, 2, 3]


def test_a_folder_that_vanished_is_said_and_does_not_come_back(tmp_path):
    def watch(phase, done, total):
        if phase == "train" and done == 1:
            shutil.rmtree(tmp_path / "run")

    with pytest.raises(ActFocusError, match="cannot be written"):
        train(config(steps=3, eval_every=0, mass_every=0), tmp_path / "run", watch)
    assert not (tmp_path / "run").exists()


def test_a_collapsed_format_is_said_and_stops_if_asked(model_folder, tmp_path):
    """A model with random weights never answers in the format."""
    values = dict(
        model=str(model_folder),
        env_options={"response_tokens": 8, "max_turns": 2},
        steps=3,
        eval_every=0,
        scheme="uniform",
        entropy_coef=0.0,
    )
    run = train(config(**values, stop_on_format_collapse=True), tmp_path / "stops")
    (row,) = results(run.path)
    assert row["format/well_formed"] < 0.1 and row["format/collapsed"] == 1 and row["loss/skipped"] == 1
    status = read_status(run.path)
    assert status["state"] == "stopped" and "the format collapses: 0% of the turns" in status["message"]
    assert len(results(train(config(**values), tmp_path / "goes-on").path)) == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lr": 0}, "lr=0"),
        ({"lr": float("nan")}, "lr"),
        ({"steps": 0}, "steps=0"),
        ({"algorithm": "dpo"}, "algorithm='dpo'"),
        ({"filter_share": 1.5}, "filter_share"),
        ({"colour": 1}, "colour"),
        ({"eval_temperatures": (1.0, 1.0)}, "each may stand there once"),
    ],
)
def test_a_wrong_config_names_its_field(changes, says):
    with pytest.raises(ActFocusError, match="training config") as error:
        config(**changes)
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scheme": "magic"}, "unknown scheme"),
        ({"env": "chess"}, "unknown environment"),
        ({"env_options": {"slip": 1}}, "slip"),
        ({"scheme_params": {"alpha": 2}}, "alpha=2"),
        ({"scheme_params": {"gamma": 2}}, "unknown parameter 'gamma'"),
        ({"scheme": "uniform", "scheme_params": {"alpha": 1}}, "unknown parameter"),
        ({"model": "nothing"}, "no such policy"),
    ],
)
def test_what_cannot_be_trained_leaves_no_folder(changes, says, tmp_path):
    with pytest.raises(ActFocusError, match=says):
        train(config(**changes), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_resumed_only_with_the_model_it_began_with(grpo, run, tmp_path):
    with pytest.raises(ActFocusError, match="not a training run"):
        resume(run.path)
    copied = shutil.copytree(grpo.path, tmp_path / "copy")
    info = json.loads((copied / "run.json").read_text())
    info["model"]["fingerprint"] = "0" * 16
    (copied / "run.json").write_text(json.dumps(info))
    with pytest.raises(ActFocusError, match="not the model this run began with"):
        resume(copied, steps=9)


# --- small parts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "algorithm", "wanted"),
    [
        ("sokoban", "grpo", {"filter_share": 0.25, "prompts": 8, "rollouts": 16, "kl_coef": 0}),
        ("frozen_lake", "grpo", {"filter_share": 1, "entropy_coef": 0.001}),
        ("webshop", "grpo", {"kl_coef": 0.001, "kl_kind": "k1", "prompts": 16, "rollouts": 8, "steps": 100}),
        ("webshop", "ppo", {"kl_coef": 0, "lr": 1e-6, "critic_lr": 1e-5}),
    ],
)
def test_the_papers_settings(env, algorithm, wanted):
    made = TrainConfig.of(**preset("paper", env, algorithm, "Qwen/Qwen2.5-3B-Instruct"))
    assert {name: getattr(made, name) for name in wanted} == wanted and made.gradient_checkpointing
    with pytest.raises(ActFocusError, match="unknown preset"):
        preset("slow", env)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(OSError), appearing_folder(tmp_path / "a") as part:
        (part / "x").write_text("1")
        raise OSError
    assert list(tmp_path.iterdir()) == []
    for text in ("1", "2"):
        with appearing_folder(tmp_path / "a") as part:
            (part / "x").write_text(text)
    assert (tmp_path / "a/x").read_text() == "2" and [p.name for p in tmp_path.iterdir()] == ["a"]


def test_requests(grpo, tmp_path):
    with pytest.raises(ActFocusError, match="request 'fly'"):
        request(grpo.path, "fly")
    with pytest.raises(ActFocusError, match="not a run folder"):
        request(tmp_path, "stop")
    assert requested(tmp_path) == "go" and read_status(tmp_path) == {}
    for nonsense in ("", "[]", '{"request": "fly"}', '{"request": []}', "\x00"):
        (tmp_path / "control.json").write_text(nonsense)
        assert requested(tmp_path) == "go"
