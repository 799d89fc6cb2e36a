"""The verl plug-in called with verl's own batch types and losses: `make test-verl` gives it an environment of its own."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl is not installed: `make test-verl` runs these in an environment of its own")

import torch
from tensordict import TensorDict
from verl import DataProto
from verl.trainer.ppo.core_algos import (
    compute_gae_advantage_return,
    compute_grpo_outcome_advantage,
    get_policy_loss_fn,
)
from verl.utils import tensordict_utils as tu
from verl.workers.config import HFModelConfig

from actfocus_core.analysis.validate import diagnose
from actfocus_core.credit.weights import token_weights
from actfocus_core.envs import make_env
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.layout import Layout
from actfocus_core.losses import policy_loss
from actfocus_core.plugins import verl as plugin
from actfocus_core.plugins.batch import read_rows, weigh
from actfocus_core.plugins.mirror import RunMirror
from actfocus_core.plugins.signatures import check_methods
from actfocus_core.policy.split_model import SplitModel
from actfocus_core.runs import Run
from actfocus_core.signals import score
from actfocus_core.spans import span_rule
from actfocus_core.train import read_status, request
from actfocus_core.train.metrics import METRICS

P = {"alpha": 0.2, "beta": 1.5, "signal": "energy", "format_weight": None, "spans": "think_answer"}


class Config(dict):
    """What a policy loss reads of verl's actor config."""

    clip_ratio, clip_ratio_low, clip_ratio_high = 0.2, 0.2, 0.28

    def __init__(self, **info):
        super().__init__(clip_ratio_c=3.0)
        self.global_batch_info = info


def responses_of(rollouts):
    """Rollouts cut where the first response begins: [(prompt ids, response ids, mask, trajectory, start)]."""
    starts = [int(np.argmax(t.response_mask)) for t in rollouts]
    return [
        (t.token_ids[:s].tolist(), t.token_ids[s:].tolist(), t.response_mask[s:].astype(int).tolist(), t, s)
        for t, s in zip(rollouts, starts)
    ]


def rows_of(parts, policy):
    """The trajectories again, from three fields of verl's batch."""
    prompts, responses, sampled = zip(*[part[:3] for part in parts])
    return read_rows(
        prompts,
        responses,
        sampled,
        Layout(policy.tokenizer, span_rule("think_answer")),
        [0.0] * len(parts),
        [part[3].group for part in parts],
        1,
    )


def padded(columns) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.as_tensor(np.asarray(c)) for c in columns], batch_first=True)


@pytest.fixture(scope="module")
def batch(rollouts, tiny):
    """A verl batch of the rollouts: rewards at the last response token, verl's GRPO advantages, and our weights."""
    parts = responses_of(rollouts)
    read = rows_of(parts, tiny)
    for new, (*_, t, _) in zip(read, parts):
        new.signals["ref_energy"] = t.signals["ref_energy"]
    mask = padded([m for _, _, m, *_ in parts])
    rewards = torch.zeros(mask.shape)
    for row, (_, response, _, t, _) in enumerate(parts):
        rewards[row, len(response) - 1] = t.ret
    old = padded([np.nan_to_num(t.logprobs[s:]) for *_, t, s in parts])
    data = DataProto.from_dict(
        {"response_mask": mask, "token_level_rewards": rewards, "old_log_probs": old},
        {"uid": np.array([t.group for t in rollouts], dtype=object)},
    )
    data.batch["advantages"], _ = compute_grpo_outcome_advantage(rewards, mask, data.non_tensor_batch["uid"])
    data.batch[plugin.WEIGHTS] = padded([w[s:] for w, (*_, s) in zip(weigh(read, P), parts)])
    return data


def test_kinds_on_verl_s_ids_are_those_of_the_rollout(rollouts, tiny):
    parts = responses_of(rollouts)
    for read, (*_, t, _) in zip(rows_of(parts, tiny), parts):
        written = t.response_mask
        np.testing.assert_array_equal(read.response_mask, written)
        np.testing.assert_array_equal(read.kinds[written], t.kinds[written])


def on_ranks(monkeypatch, function, parts: list) -> list:
    """``function`` of every part, each in a thread of its own that meets the others in ``all_reduce``."""
    meet, shelf, mine = threading.Barrier(len(parts)), [None] * len(parts), threading.local()

    def all_reduce(tensor, group=None):
        shelf[mine.rank] = tensor.clone()
        meet.wait()
        tensor.copy_(torch.stack(shelf).sum(0))
        meet.wait()

    def rank(number):
        mine.rank = number
        return function(parts[number])

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(rank, range(len(parts))))


@pytest.mark.parametrize("estimator", ["grpo", "gae"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("cuts", [[], [5, 6], [3], [1, 2, 3, 20]], ids=str)
def test_the_registered_loss_is_ours_under_any_split(batch, rollouts, monkeypatch, estimator, nested, cuts):
    mask, old = batch.batch["response_mask"], batch.batch["old_log_probs"]
    advantages = batch.batch["advantages"]
    if estimator == "gae":
        torch.manual_seed(1)
        advantages, _ = compute_gae_advantage_return(
            batch.batch["token_level_rewards"], torch.randn(mask.shape), mask, 1.0, 0.95
        )
    torch.manual_seed(0)
    new = (old + 0.3 * torch.randn(mask.shape)).requires_grad_(True)
    kinds = np.concatenate([t.kinds for t in rollouts])
    weights = token_weights(kinds, np.concatenate([t.signals["ref_energy"] for t in rollouts]), P["alpha"], P["beta"])
    flat = torch.from_numpy(weights[kinds >= 3])
    ours = policy_loss(new[mask == 1], old[mask == 1], advantages[mask == 1], flat, torch.ones(len(flat)))
    (gradient,) = torch.autograd.grad(ours.loss, new)
    lengths = [len(t) - int(np.argmax(t.response_mask)) for t in rollouts]

    def scaled_on(rows: slice) -> torch.Tensor:
        fields = {
            "response_mask": mask[rows],
            "advantages": advantages[rows],
            plugin.WEIGHTS: batch.batch[plugin.WEIGHTS][rows],
        }
        if nested:
            fields = {
                name: torch.nested.nested_tensor([row[:n] for row, n in zip(field, lengths[rows])], layout=torch.jagged)
                for name, field in fields.items()
            }
        found = plugin.weighted(TensorDict(fields, batch_size=len(mask[rows])))["advantages"]
        return (
            torch.nn.functional.pad(found := found.to_padded_tensor(0.0), (0, mask.shape[1] - found.shape[1]))
            if nested
            else found
        )

    edges = [0, *cuts, len(mask)]
    ranks = [slice(a, b) for a, b in zip(edges, edges[1:])]
    scaled = torch.cat(on_ranks(monkeypatch, scaled_on, ranks))
    loss = get_policy_loss_fn("actfocus")
    # Every rank in micro-batches of four rows; data parallelism takes the mean over the ranks.
    micro = [slice(a, min(a + 4, r.stop)) for r in ranks for a in range(r.start, r.stop, 4)]
    losses = [
        loss(
            old_log_prob=old[p],
            log_prob=new[p],
            advantages=scaled[p],
            response_mask=mask[p].bool(),
            loss_agg_mode="token-mean",
            config=Config(dp_size=len(ranks), batch_num_tokens=int(mask.sum())),
        )[0]
        for p in micro
    ]
    total = sum(losses) / len(ranks)
    assert total.item() == pytest.approx(ours.loss.item(), abs=1e-6)
    torch.testing.assert_close(torch.autograd.grad(total, new)[0], gradient, atol=1e-7, rtol=1e-4)


def test_with_uniform_weights_it_is_verl_s_own_loss(batch):
    mask, old, advantages = (batch.batch[n] for n in ("response_mask", "old_log_probs", "advantages"))
    torch.manual_seed(0)
    new = old + 0.1 * torch.randn(mask.shape)  # within reach of verl's second clip
    data = TensorDict(
        {"response_mask": mask, "advantages": advantages, plugin.WEIGHTS: mask.float()}, batch_size=len(mask)
    )
    arguments = dict(old_log_prob=old, log_prob=new, response_mask=mask.bool(), loss_agg_mode="token-mean")
    config = Config(dp_size=1, batch_num_tokens=int(mask.sum()))
    ours, _ = get_policy_loss_fn("actfocus")(advantages=plugin.weighted(data)["advantages"], config=config, **arguments)
    theirs, _ = get_policy_loss_fn("vanilla")(advantages=advantages, config=config, **arguments)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-7)


def test_energies_are_those_of_the_reference(rollouts, tiny):
    t, split = rollouts[0], SplitModel(tiny.model)
    with torch.no_grad():
        logits = split.logits(split.hidden(torch.from_numpy(t.token_ids.astype(np.int64))[None])[0])
    found = plugin.energies(logits)[:-1].numpy()
    where = t.response_mask[1:]
    np.testing.assert_allclose(found[where], t.signals["ref_energy"][1:][where], atol=1e-4)


@pytest.mark.parametrize("text", ["[]", "{", '{"alpha": 2}', '{"gamma": 1}', '{"signal": "luck"}', '{"spans": "none"}'])
def test_parameters_that_are_wrong_or_did_not_arrive_are_refused(monkeypatch, text):
    monkeypatch.setenv("ACTFOCUS_PARAMS", text)
    with pytest.raises(ActFocusError):
        plugin.parameters()
    monkeypatch.delenv("ACTFOCUS_PARAMS")
    with pytest.raises(ActFocusError, match="runtime_env.env_vars"):
        plugin.parameters()
    monkeypatch.setenv("ACTFOCUS_PARAMS", '{"alpha": 0.3}')
    assert plugin.parameters() == {
        "alpha": 0.3,
        "beta": 0.5,
        "signal": "energy",
        "format_weight": None,
        "spans": "think_answer",
    }


def test_another_aggregation_is_refused():
    with pytest.raises(ActFocusError, match="token-mean"):
        plugin.clipped_surrogate(None, None, None, None, loss_agg_mode="seq-mean-token-sum", config=Config())


def test_the_engine_s_energies_lie_where_verl_reads_them(rollouts, tiny):
    """Nested and padded logits alike, read back by verl's own function for log-probs."""
    pytest.importorskip("transfer_queue", reason="verl's trainer is not whole here: it needs TransferQueue")
    from verl.workers.utils.padding import response_from_nested

    from actfocus_core.plugins.verl_ray import ActFocusEngine

    engine = object.__new__(ActFocusEngine)
    engine.ulysses_sequence_parallel_size = 1
    some, split = rollouts[:3], SplitModel(tiny.model)
    ids = [torch.from_numpy(t.token_ids.astype(np.int64)) for t in some]
    with torch.no_grad():
        logits = [split.logits(split.hidden(row[None])[0]) for row in ids]
    starts = [int(np.argmax(t.response_mask)) for t in some]
    mask = torch.nested.nested_tensor(
        [torch.from_numpy(t.response_mask[s:]) for t, s in zip(some, starts)], layout=torch.jagged
    )
    for remove in (True, False):
        micro = TensorDict({"input_ids": torch.nested.nested_tensor(ids, layout=torch.jagged)}, batch_size=3)
        tu.assign_non_tensor(micro, use_remove_padding=remove)
        made = torch.cat(logits)[None] if remove else torch.nn.utils.rnn.pad_sequence(logits, batch_first=True)
        found = response_from_nested(engine.energy(SimpleNamespace(logits=made), micro), mask)
        for row, t, s in zip(found.unbind(), some, starts):
            where = t.response_mask[s:]
            np.testing.assert_allclose(row.numpy()[where], t.signals["ref_energy"][s:][where], atol=1e-4)


def test_the_exported_settings_are_verl_s():
    """Hydra knows every name, and the model's config takes the engine's."""
    import os
    import shlex

    import verl.trainer
    from hydra import compose, initialize_config_dir
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    from actfocus_core.interop.recipes import Setting, verl_text

    command = verl_text(Setting(0.1, 0.5, env="sokoban", model="m")).split("\n", 2)[2]
    words = shlex.split(command.replace("\\\n", " ").replace("${GPUS:-8}", "8"))
    overrides = words[words.index("verl.trainer.main_ppo") + 1 :]
    with initialize_config_dir(os.path.join(os.path.dirname(verl.trainer.__file__), "config"), version_base=None):
        config = compose("ppo_trainer", overrides)
    validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    actor = config.actor_rollout_ref
    assert (config.data.train_batch_size * actor.rollout.n, actor.actor.ppo_mini_batch_size * actor.rollout.n) == (
        128,
        32,
    )
    assert (
        actor.model.model_type == "actfocus" and config.trainer.use_v1 and config.trainer.v1.trainer_mode == "actfocus"
    )
    assert (actor.actor.policy_loss.loss_mode, actor.actor.loss_agg_mode) == ("actfocus", "token-mean")
    assert need_reference_policy(config) and actor.actor.kl_loss_coef == 0
    assert "model_type" in {field.name for field in fields(HFModelConfig)}


def test_an_agent_loop_plays_our_environment(tiny, tmp_path):
    """Against a server that samples with the embedded policy: the episode's stream, mask, log-probs and return."""
    pytest.importorskip("transfer_queue", reason="verl's trainer is not whole here: it needs TransferQueue")
    import asyncio

    from datasets import Dataset

    from actfocus_core.plugins.verl.loop import EPISODE
    from actfocus_core.plugins.verl_ray import EnvironmentLoop, prompts
    from actfocus_core.policy.sampler import CachedSampler

    class Server:
        """Answers as verl's does, reading the whole stream anew."""

        async def generate(self, request_id, prompt_ids, sampling_params, priority):
            sampler = CachedSampler(tiny)
            sampler.begin(1)
            dice = np.random.default_rng(len(prompt_ids)).random((1, sampling_params["max_tokens"]))
            (reply,) = sampler.reply([prompt_ids], sampling_params["max_tokens"], dice)
            self.asked = getattr(self, "asked", 6) + 1
            return SimpleNamespace(
                token_ids=reply.ids,
                log_probs=reply.logprobs.tolist(),
                extra_fields={"min_global_steps": self.asked, "max_global_steps": self.asked},
            )

    prompts("frozen_lake", 2, str(tmp_path / "prompts.parquet"), **tiny.env_options["frozen_lake"])
    row = Dataset.from_parquet(str(tmp_path / "prompts.parquet"), cache_dir=str(tmp_path))[1]
    assert row["agent_name"] == "actfocus" and row["extra_info"]["seed"] == 10_001
    loop = object.__new__(EnvironmentLoop)
    loop.tokenizer, loop.server_manager = tiny.tokenizer, Server()
    loop.rollout_config = SimpleNamespace(prompt_length=512, response_length=512)
    made = asyncio.run(loop.run({"temperature": 1.0}, session_id=3, **row))
    assert len(made.response_ids) == len(made.response_mask) == len(made.response_logprobs)
    (read,) = read_rows(
        [made.prompt_ids],
        [made.response_ids],
        [made.response_mask],
        Layout(tiny.tokenizer, span_rule("think_answer")),
        [made.reward_score],
        ["board"],
        1,
    )
    assert len(read.turn_records) == made.num_turns // 2 >= 1 and any(turn.actions for turn in read.turn_records)
    score([read], tiny)
    where = read.response_mask
    own = np.concatenate([np.zeros(len(made.prompt_ids)), made.response_logprobs])
    np.testing.assert_allclose(read.signals["ref_logprob"][where], own[where], atol=1e-4)
    # verl counts how old the weights are that played: those of the first request and of the last.
    asked = loop.server_manager.asked
    assert (made.extra_fields["min_global_steps"], made.extra_fields["max_global_steps"]) == (7, asked)
    record = json.loads(made.extra_fields[EPISODE])
    assert (record["env"], record["seed"], record["rollout"]) == ("frozen_lake", 10_001, 3)
    assert [turn["response"] for turn in record["turns"]] == [turn.response for turn in read.turn_records]


def test_a_row_becomes_the_episode_it_was_with_its_scores(rollouts, tiny):
    """Fields of verl's batch over the response, nested; the second row comes from an agent loop of somebody else."""
    pytest.importorskip("transfer_queue", reason="verl's trainer is not whole here: it needs TransferQueue")
    from tensordict.tensorclass import NonTensorStack

    from actfocus_core.plugins.verl.batch import read_batch
    from actfocus_core.plugins.verl.loop import EPISODE, record_of

    parts = responses_of(rollouts[:2])
    jagged = {
        name: torch.nested.as_nested_tensor([torch.as_tensor(np.asarray(row)) for row in rows], layout=torch.jagged)
        for name, rows in {
            "prompts": [p for p, *_ in parts],
            "responses": [r for _, r, *_ in parts],
            "response_mask": [m for *_, m, _, _ in parts],
            "rm_scores": [np.eye(len(r))[-1] * t.ret for _, r, _, t, _ in parts],
            "old_log_probs": [np.nan_to_num(t.logprobs[s:]) for *_, t, s in parts],
            "entropy": [np.nan_to_num(t.signals["entropy"][s:]) for *_, t, s in parts],
            "ref_log_prob": [np.nan_to_num(t.signals["ref_logprob"][s:]) for *_, t, s in parts],
            plugin.ENERGY: [np.nan_to_num(t.signals["ref_energy"][s:]) for *_, t, s in parts],
        }.items()
    }
    first, second = rollouts[:2]
    told = [{EPISODE: record_of(first)}, {}]
    data = TensorDict({**jagged, "uid": NonTensorStack("a", "b"), "extra_fields": NonTensorStack(*told)}, batch_size=2)
    mine, theirs = read_batch(data, Layout(tiny.tokenizer, span_rule("think_answer"), "tiny"), 7)
    assert mine.turn_records == first.turn_records
    for name in ("env", "seed", "rollout", "reward", "penalty", "success", "terminated", "truncated"):
        assert getattr(mine, name) == getattr(first, name), name
    assert mine.id == f"00007-{first.seed}-{first.rollout:02d}" and (theirs.env, theirs.group) == ("", "00007-b")
    assert theirs.ret == pytest.approx(second.ret)
    for read, t in ((mine, first), (theirs, second)):
        where = t.response_mask
        np.testing.assert_array_equal(read.kinds[where], t.kinds[where])
        np.testing.assert_array_equal(read.logprobs, t.logprobs)
        for name in ("entropy", "ref_logprob", "ref_energy"):
            np.testing.assert_array_equal(read.signals[name], np.where(where, t.signals[name], np.float32(np.nan)))


@pytest.mark.parametrize("save_freq, saved", [(2, [3]), (-1, [])])
def test_a_stop_in_the_studio_ends_verl_s_training(monkeypatch, tmp_path, save_freq, saved):
    pytest.importorskip("transfer_queue", reason="verl's trainer is not whole here: it needs TransferQueue")
    from actfocus_core.plugins.verl import ray

    done = []
    monkeypatch.setattr(ray.PPOTrainerSync, "on_step_end", lambda self: None)
    monkeypatch.setattr(ray.PPOTrainerSync, "_save_checkpoint", lambda self: done.append(self.global_steps))
    trainer = object.__new__(ray.ActFocusTrainer)
    trainer.config = SimpleNamespace(trainer=SimpleNamespace(save_freq=save_freq))
    trainer.global_steps, trainer.total_training_steps, trainer._folder = (
        3,
        9,
        RunMirror(tmp_path / "run", {"command": "verl"}, {}),
    )
    with trainer._folder.watched():
        trainer._folder.begin(2, 9)
        trainer.on_step_end()
        assert trainer.total_training_steps == 9 and not done
        request(tmp_path / "run", "stop")
        trainer.on_step_end()
    assert trainer.total_training_steps == 3 and done == saved and read_status(tmp_path / "run")["state"] == "stopped"


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


def test_a_verl_whose_insides_moved_is_refused(monkeypatch):
    pytest.importorskip("transfer_queue", reason="verl's trainer is not whole here: it needs TransferQueue")
    from actfocus_core.plugins.verl import engine, ray

    for module, owner, name in (
        (ray, ray.PPOTrainerSync, "_compute_advantage"),
        (engine, engine.FSDPEngineWithLMHead, "prepare_model_outputs"),
    ):
        check_methods(plugin.verl, plugin.TESTED, module.USED)
        monkeypatch.setattr(owner, name, lambda self, batch: batch)
        with pytest.raises(ActFocusError, match=rf"{name}\(.*pip install 'verl==0.9"):
            check_methods(plugin.verl, plugin.TESTED, module.USED)


@pytest.mark.parametrize("first", ["verl", "verl.loop", "verl_ray"])
@pytest.mark.parametrize("named", ["", "actfocus_core.plugins.verl_ray"])
def test_whatever_a_process_imports_first_verl_finds_all_of_the_plug_in(first, named):
    """verl imports what VERL_USE_EXTERNAL_MODULES names while it is imported itself, by the plug-in too."""
    pytest.importorskip("transfer_queue", reason="verl's trainer is not whole here: it needs TransferQueue")
    import os
    import subprocess
    import sys
    from pathlib import Path

    script = f"""
import actfocus_core.plugins.{first}
from actfocus_core.plugins import verl_ray
from actfocus_core.plugins.verl import ray
from verl.trainer.ppo.core_algos import get_policy_loss_fn
assert all(getattr(verl_ray, name) is getattr(ray, name) for name in ray.__all__)
assert get_policy_loss_fn("actfocus").__module__ == "actfocus_core.plugins.verl.losses"
"""
    told = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "VERL_USE_EXTERNAL_MODULES": named, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert told.returncode == 0, told.stdout[-6000:]


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
