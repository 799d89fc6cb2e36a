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
from verl.trainer.ppo.core_algos import (
    compute_gae_advantage_return,
    get_policy_loss_fn,
)
from verl.utils import tensordict_utils as tu
from verl.workers.config import HFModelConfig

from actfocus_core.credit.weights import token_weights
from actfocus_core.errors import ActFocusError
from actfocus_core.interop.converter import Converter
from actfocus_core.losses import policy_loss
from actfocus_core.plugins import verl as plugin
from actfocus_core.plugins.batch import read_rows
from actfocus_core.plugins.mirror import RunMirror
from actfocus_core.plugins.signatures import check_methods
from actfocus_core.policy.split_model import SplitModel
from actfocus_core.signals import score
from actfocus_core.spans import span_rule
from actfocus_core.train import read_status, request
from tests.plugins.verl_batches import Config, P, responses_of, rows_of


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
            uniforms = np.random.default_rng(len(prompt_ids)).random((1, sampling_params["max_tokens"]))
            (reply,) = sampler.reply([prompt_ids], sampling_params["max_tokens"], uniforms)
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
        Converter(tiny.tokenizer, span_rule("think_answer")),
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
    mine, theirs = read_batch(data, Converter(tiny.tokenizer, span_rule("think_answer"), "tiny"), 7)
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
    trainer.global_steps, trainer.total_training_steps, trainer._mirror = (
        3,
        9,
        RunMirror(tmp_path / "run", {"command": "verl"}, {}),
    )
    with trainer._mirror.session():
        trainer._mirror.begin(2, 9)
        trainer.on_step_end()
        assert trainer.total_training_steps == 9 and not done
        request(tmp_path / "run", "stop")
        trainer.on_step_end()
    assert trainer.total_training_steps == 3 and done == saved and read_status(tmp_path / "run")["state"] == "stopped"


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
