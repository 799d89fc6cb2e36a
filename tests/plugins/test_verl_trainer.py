"""verl's own trainer, workers and Ray processes with the plug-in, whole: some minutes each (`make test-verl`)."""

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl is not installed: `make test-verl` runs these in an environment of its own")

import torch

from actfocus_core.analysis.validate import diagnose
from actfocus_core.credit.weights import token_weights
from actfocus_core.envs import make_env
from actfocus_core.losses import policy_loss
from actfocus_core.plugins import verl as plugin
from actfocus_core.runs import Run
from actfocus_core.signals import score
from actfocus_core.train import read_status
from actfocus_core.train.metrics import METRICS
from tests.plugins.verl_batches import P, responses_of


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_ranks_of_verl_s_worker_have_the_library_s_gradient(tiny, tmp_path):
    """verl's actor and reference, sharded by FSDP over two processes: energies, loss and norm of the gradient of an update."""
    pytest.importorskip("transfer_queue", reason="verl's trainer is not whole here: it needs TransferQueue")
    import os
    import socket
    import subprocess
    import sys
    from pathlib import Path

    from safetensors.torch import load_file

    from actfocus_core.rollout import collect
    from tests.plugins.verl_job import MODULES

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {
        **os.environ,
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": "1",
        "VERL_PLATFORM": "cpu",
        "VERL_ENGINE_DEVICE": "cuda",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "VERL_USE_EXTERNAL_MODULES": MODULES,
    }
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.plugins.verl_rank", str(tmp_path)],
            env={**shared, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    for process in ranks:
        said, _ = process.communicate(timeout=800)
        assert process.returncode == 0, said[-6000:]
    told = [load_file(tmp_path / f"{rank}.safetensors") for rank in range(2)]

    played = score(collect(tiny, "frozen_lake", prompts=3, rollouts=4), tiny)
    energies = [part[f"energy/{i}"].numpy() for part in told for i in range(6)]
    for t, energy in zip(played, energies, strict=True):
        where = t.response_mask[1:]
        np.testing.assert_allclose(energy[:-1][where], t.signals["ref_energy"][1:][where], atol=1e-4)
    halves = [sum(int(t.response_mask.sum()) for t in part) for part in (played[:6], played[6:])]
    assert halves[0] != halves[1]  # else any mean of means would do
    advantages = torch.from_numpy(np.sin(np.arange(12, dtype=np.float32)))
    loss, norm = of_an_update(tiny, played, advantages)
    for part in told:
        assert part["loss"].item() == pytest.approx(loss, abs=1e-5)
        assert part["grad_norm"].item() == pytest.approx(norm, rel=5e-4)


def of_an_update(policy, played, advantages: torch.Tensor) -> tuple[float, float]:
    """The library's loss and the norm of its gradient, of one update on all of these; advantages [n]."""
    kinds = np.concatenate([t.kinds for t in played])
    weights = token_weights(kinds, np.concatenate([t.signals["ref_energy"] for t in played]), P["alpha"], P["beta"])
    model, logprobs = policy.model.requires_grad_(True), []
    for t in played:
        ids = torch.from_numpy(t.token_ids.astype(np.int64))
        own = model(input_ids=ids[None, :-1]).logits[0].log_softmax(-1).gather(1, ids[1:, None])[:, 0]
        logprobs.append(torch.cat([own.new_zeros(1), own]))
    every = advantages.float().repeat_interleave(torch.tensor([len(t) for t in played]))
    old = torch.from_numpy(np.concatenate([np.nan_to_num(t.logprobs) for t in played]))
    ours = policy_loss(torch.cat(logprobs), old, every, torch.from_numpy(weights), torch.from_numpy(kinds >= 3))
    gradients = torch.autograd.grad(ours.loss, list(model.parameters()))
    model.requires_grad_(False)
    return ours.loss.item(), float(torch.cat([g.flatten() for g in gradients]).norm())


def run_of_verl(policy, folder, *overrides: str) -> Run:
    """The run folder of two steps by verl's own trainer on a Ray cluster of this machine: two ranks of FSDP, two servers."""
    pytest.importorskip("transfer_queue", reason="verl's trainer is not whole here: it needs TransferQueue")
    from actfocus_core.interop.recipes import Setting
    from actfocus_core.paths import assets
    from tests.plugins.verl_job import train

    done = train(
        Setting(
            P["alpha"],
            P["beta"],
            env="frozen_lake",
            env_options=policy.env_options["frozen_lake"],
            model=str(assets() / "tiny-policy"),
        ),
        folder,
        folder / "run",
        *overrides,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return Run.open(folder / "run")


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    return run_of_verl(tiny, tmp_path_factory.mktemp("verl"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_verl_trains_the_embedded_policy_and_the_studio_can_follow(trained, tiny):
    assert trained.steps() == [1, 2] and read_status(trained.path)["state"] == "finished"
    config = trained.info["config"]
    assert (config["env"], config["env_options"], config["steps"]) == (
        "frozen_lake",
        {**config["env_options"], **tiny.env_options["frozen_lake"]},
        2,
    )
    first, second = trained.metrics()[0]
    assert (first["step"], second["step"]) == (1, 2) and set(first) <= set(METRICS)
    for name in (
        "loss/policy",
        "grad/norm",
        "grad/lr",
        "kl/reference",
        "kl/update",
        "clip/low",
        "success/rate",
        "reward/return",
        "mass/action",
        "entropy/action",
        "ratio/rollout_max",
        "tokens/per_second",
        "seconds/rollout",
        "seconds/update",
    ):
        assert name in first, name
    assert diagnose(trained, tokenizer=tiny.tokenizer).healthy
    played = trained.trajectories(1)
    assert len(played) == 12 and len({t.group for t in played}) == 3 and {t.env for t in played} == {"frozen_lake"}
    assert first["reward/return"] == pytest.approx(np.mean([t.ret for t in played]))
    env = make_env("frozen_lake", **config["env_options"])
    for t in played:
        # The episode again, from its own record: the same boards, rewards and end.
        env.reset(t.seed, t.rollout)
        rewards = 0.0
        for turn in t.turn_records:
            assert env.state_key() == turn.state_key and env.observation() == turn.observation
            result = env.step(turn.actions)
            rewards += result.reward
        assert (rewards, env.success, env.terminated) == (pytest.approx(t.reward), t.success, t.terminated)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_verl_s_ranks_computed_is_the_library_s(trained, tiny):
    """Energies, log-probs, the loss and the gradient's norm of the first step, on its stored rollouts."""
    played, row = trained.trajectories(1), trained.metrics()[0][0]
    mine = trained.trajectories(1)
    for t in mine:
        t.signals = {}
    score(mine, tiny)
    for t, new in zip(played, mine):
        where = t.response_mask
        np.testing.assert_allclose(t.signals["ref_energy"][where], new.signals["ref_energy"][where], atol=1e-4)
        np.testing.assert_allclose(t.logprobs[where], new.signals["ref_logprob"][where], atol=1e-4)
    returns = torch.tensor([t.ret for t in played], dtype=torch.float64)
    advantages = torch.zeros_like(returns)
    for group in {t.group for t in played}:
        rows = torch.tensor([t.group == group for t in played])
        advantages[rows] = (returns[rows] - returns[rows].mean()) / (returns[rows].std() + 1e-6)
    assert advantages.abs().max() > 0.5  # else there is nothing to see
    loss, norm = of_an_update(tiny, mine, advantages)
    assert row["loss/policy"] == pytest.approx(loss, abs=1e-5) and row["grad/norm"] == pytest.approx(norm, rel=1e-3)
    # The second step was played with the weights that the first had moved.
    later = trained.trajectories(2)
    for t in later:
        t.signals = {}
    score(later, tiny)
    shift = np.concatenate([(t.logprobs - t.signals["ref_logprob"])[t.response_mask] for t in later])
    assert np.abs(shift).max() > 1e-2 and trained.metrics()[0][1]["ratio/rollout_max"] < 1e-3


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_verl_s_ppo_trains_with_its_critic(tiny, tmp_path):
    from tests.plugins.verl_job import CRITIC

    run = run_of_verl(tiny, tmp_path, *CRITIC.split())
    assert read_status(run.path)["state"] == "finished" and run.info["config"]["algorithm"] == "ppo"
    rows = run.metrics()[0]
    assert len(rows) == 2 and diagnose(run, tokenizer=tiny.tokenizer).healthy
    for row in rows:
        assert {"loss/value", "critic/value_mean", "critic/explained", "seconds/values"} <= row.keys() <= set(METRICS)
        assert row["grad/norm"] > 1e-3 and row["grad/critic_norm"] > 1e-3 and row["ratio/rollout_max"] < 1e-3
    # Both were updated: the second step was played, and valued, by others than the first.
    assert rows[1]["kl/reference"] > 1e-6 > abs(rows[0]["kl/reference"])
    assert abs(rows[1]["critic/value_mean"] - rows[0]["critic/value_mean"]) > 1e-3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_ray_workers_have_one_gradient(batch, rollouts, tiny, tmp_path):
    """Two Ray processes with half of a mini-batch each: their mean gradient is the library's of the whole."""
    ray = pytest.importorskip("ray")
    from tests.plugins.verl_worker import Worker, gradient_of

    parts = responses_of(rollouts)
    rows = [(p + r, len(p)) for p, r, *_ in parts]
    data = {n: batch.batch[n] for n in ("response_mask", "advantages", "old_log_probs", plugin.WEIGHTS)}
    alone = gradient_of(tiny, rows, data, 1, int(data["response_mask"].sum()))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        workers = [ray.remote(num_cpus=1)(Worker).remote(rank, 2, str(tmp_path / "meet")) for rank in range(2)]
        cut = 7
        shares = [
            (rows[:cut], {n: v[:cut] for n, v in data.items()}),
            (rows[cut:], {n: v[cut:] for n, v in data.items()}),
        ]
        two = ray.get(
            [w.gradient.remote(*share, int(data["response_mask"].sum())) for w, share in zip(workers, shares)]
        )
    finally:
        ray.shutdown()
    assert max(float(g.abs().max()) for g in alone.values()) > 1e-3
    for name, gradient in alone.items():
        torch.testing.assert_close(torch.tensor(two[0][name]), gradient, atol=1e-6, rtol=1e-4)
        np.testing.assert_array_equal(two[0][name], two[1][name])
