"""The verl plug-in called with verl's own batch types and losses: `make test-verl` gives it an environment of its own."""

from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl is not installed: `make test-verl` runs these in an environment of its own")

import torch  # noqa: E402
from tensordict import TensorDict  # noqa: E402
from verl import DataProto  # noqa: E402
from verl.trainer.ppo.core_algos import (  # noqa: E402
    compute_gae_advantage_return,
    compute_grpo_outcome_advantage,
    get_policy_loss_fn,
)
from verl.utils import tensordict_utils as tu  # noqa: E402
from verl.workers.config import HFModelConfig  # noqa: E402

from actfocus_core.credit.weights import token_weights  # noqa: E402
from actfocus_core.errors import ActFocusError  # noqa: E402
from actfocus_core.interop.layout import Layout  # noqa: E402
from actfocus_core.losses import policy_loss  # noqa: E402
from actfocus_core.plugins import verl as plugin  # noqa: E402
from actfocus_core.policy.logits import SplitModel  # noqa: E402
from actfocus_core.signals import score  # noqa: E402
from actfocus_core.spans import span_rule  # noqa: E402

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
    return [(t.token_ids[:s].tolist(), t.token_ids[s:].tolist(), t.response_mask[s:].astype(int).tolist(), t, s)
            for t, s in zip(rollouts, starts)]


def rows_of(parts, policy):
    """The trajectories again, from three fields of verl's batch."""
    prompts, responses, sampled = zip(*[part[:3] for part in parts])
    return plugin.read_rows(prompts, responses, sampled, Layout(policy.tokenizer, span_rule("think_answer")))


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
    data = DataProto.from_dict({"response_mask": mask, "token_level_rewards": rewards, "old_log_probs": old},
                               {"uid": np.array([t.group for t in rollouts], dtype=object)})
    data.batch["advantages"], _ = compute_grpo_outcome_advantage(rewards, mask, data.non_tensor_batch["uid"])
    data.batch[plugin.WEIGHTS] = padded([w[s:] for w, (*_, s) in zip(plugin.weigh(read, P), parts)])
    return data


def test_kinds_on_verl_s_ids_are_those_of_the_rollout(rollouts, tiny):
    parts = responses_of(rollouts)
    for read, (*_, t, _) in zip(rows_of(parts, tiny), parts):
        written = t.response_mask
        np.testing.assert_array_equal(read.response_mask, written)
        np.testing.assert_array_equal(read.kinds[written], t.kinds[written])


@pytest.mark.parametrize("estimator", ["grpo", "gae"])
@pytest.mark.parametrize("nested", [False, True])
def test_the_registered_loss_is_ours_under_any_split(batch, rollouts, estimator, nested):
    mask, old = batch.batch["response_mask"], batch.batch["old_log_probs"]
    advantages = batch.batch["advantages"]
    if estimator == "gae":
        torch.manual_seed(1)
        advantages, _ = compute_gae_advantage_return(batch.batch["token_level_rewards"], torch.randn(mask.shape), mask, 1.0, 0.95)
    torch.manual_seed(0)
    new = (old + 0.3 * torch.randn(mask.shape)).requires_grad_(True)
    kinds = np.concatenate([t.kinds for t in rollouts])
    weights = token_weights(kinds, np.concatenate([t.signals["ref_energy"] for t in rollouts]), P["alpha"], P["beta"])
    flat = torch.from_numpy(weights[kinds >= 3])
    ours = policy_loss(new[mask == 1], old[mask == 1], advantages[mask == 1], flat, torch.ones(len(flat)))
    gradient, = torch.autograd.grad(ours.loss, new)
    lengths = [len(t) - int(np.argmax(t.response_mask)) for t in rollouts]

    fields = {"response_mask": mask, "advantages": advantages, plugin.WEIGHTS: batch.batch[plugin.WEIGHTS]}
    if nested:
        fields = {name: torch.nested.nested_tensor([row[:n] for row, n in zip(field, lengths)], layout=torch.jagged)
                  for name, field in fields.items()}
    scaled = plugin.weighted(TensorDict(fields, batch_size=len(mask)))["advantages"]
    if nested:
        scaled = scaled.to_padded_tensor(0.0)
    loss = get_policy_loss_fn("actfocus")
    parts = [slice(0, 5), slice(5, 6), slice(6, None)]  # micro-batches of three ranks
    losses = [loss(old_log_prob=old[p], log_prob=new[p], advantages=scaled[p], response_mask=mask[p].bool(), loss_agg_mode="token-mean",
                   config=Config(dp_size=3, batch_num_tokens=int(mask.sum())))[0] for p in parts]
    total = sum(losses) / 3  # what data parallelism makes of their gradients
    assert total.item() == pytest.approx(ours.loss.item(), abs=1e-6)
    torch.testing.assert_close(torch.autograd.grad(total, new)[0], gradient, atol=1e-7, rtol=1e-4)


def test_with_uniform_weights_it_is_verl_s_own_loss(batch):
    mask, old, advantages = (batch.batch[n] for n in ("response_mask", "old_log_probs", "advantages"))
    torch.manual_seed(0)
    new = old + 0.1 * torch.randn(mask.shape)  # within reach of verl's second clip
    data = TensorDict({"response_mask": mask, "advantages": advantages, plugin.WEIGHTS: mask.float()}, batch_size=len(mask))
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


@pytest.mark.parametrize("text", ["[]", "{", '{"alpha": 2}', '{"gamma": 1}', '{"signal": "luck"}'])
def test_parameters_that_are_wrong_are_refused(monkeypatch, text):
    monkeypatch.setenv("ACTFOCUS_PARAMS", text)
    with pytest.raises(ActFocusError):
        plugin.parameters()


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
    mask = torch.nested.nested_tensor([torch.from_numpy(t.response_mask[s:]) for t, s in zip(some, starts)], layout=torch.jagged)
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
    from verl.trainer.ppo.utils import need_reference_policy

    from actfocus_core.interop.setting import Setting, verl_text

    command = verl_text(Setting(0.1, 0.5, env="sokoban", model="m")).split("\n", 2)[2]
    words = shlex.split(command.replace("\\\n", " "))
    overrides = words[words.index("verl.trainer.main_ppo") + 1:]
    with initialize_config_dir(os.path.join(os.path.dirname(verl.trainer.__file__), "config"), version_base=None):
        config = compose("ppo_trainer", overrides)
    actor = config.actor_rollout_ref
    assert actor.model.model_type == "actfocus" and config.trainer.use_v1 and config.trainer.v1.trainer_mode == "actfocus"
    assert (actor.actor.policy_loss.loss_mode, actor.actor.loss_agg_mode) == ("actfocus", "token-mean")
    assert need_reference_policy(config) and actor.actor.kl_loss_coef == 0
    assert "model_type" in {field.name for field in fields(HFModelConfig)}


def test_an_agent_loop_plays_our_environment(tiny, tmp_path):
    """Against a server that samples with the embedded policy: the episode's stream, mask, log-probs and return."""
    pytest.importorskip("transfer_queue", reason="verl's trainer is not whole here: it needs TransferQueue")
    import asyncio

    from datasets import Dataset

    from actfocus_core.plugins.verl_ray import EnvironmentLoop, prompts
    from actfocus_core.policy.sampler import CachedSampler

    class Server:
        """Answers as verl's does, reading the whole stream anew."""

        async def generate(self, request_id, prompt_ids, sampling_params, priority):
            sampler = CachedSampler(tiny)
            sampler.begin(1)
            dice = np.random.default_rng(len(prompt_ids)).random((1, sampling_params["max_tokens"]))
            reply, = sampler.reply([prompt_ids], sampling_params["max_tokens"], dice)
            return SimpleNamespace(token_ids=reply.ids, log_probs=reply.logprobs.tolist())

    prompts("frozen_lake", 2, str(tmp_path / "prompts.parquet"), **tiny.env_options["frozen_lake"])
    row = Dataset.from_parquet(str(tmp_path / "prompts.parquet"), cache_dir=str(tmp_path))[1]
    assert row["agent_name"] == "actfocus" and row["extra_info"]["seed"] == 10_001
    loop = object.__new__(EnvironmentLoop)
    loop.tokenizer, loop.server_manager = tiny.tokenizer, Server()
    loop.rollout_config = SimpleNamespace(prompt_length=512, response_length=512)
    made = asyncio.run(loop.run({"temperature": 1.0}, **row))
    assert len(made.response_ids) == len(made.response_mask) == len(made.response_logprobs)
    read, = plugin.read_rows([made.prompt_ids], [made.response_ids], [made.response_mask],
                             Layout(tiny.tokenizer, span_rule("think_answer")), [made.reward_score])
    assert len(read.turn_records) == made.num_turns // 2 >= 1 and any(turn.actions for turn in read.turn_records)
    score([read], tiny)
    where = read.response_mask
    own = np.concatenate([np.zeros(len(made.prompt_ids)), made.response_logprobs])
    np.testing.assert_allclose(read.signals["ref_logprob"][where], own[where], atol=1e-4)


def test_a_verl_whose_insides_moved_is_refused(monkeypatch):
    pytest.importorskip("transfer_queue", reason="verl's trainer is not whole here: it needs TransferQueue")
    from actfocus_core.plugins import verl_ray

    verl_ray.check_contract()
    monkeypatch.setattr(verl_ray.PPOTrainerSync, "_compute_advantage", lambda self, batch: batch)
    with pytest.raises(ActFocusError, match="_compute_advantage"):
        verl_ray.check_contract()


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
        shares = [(rows[:cut], {n: v[:cut] for n, v in data.items()}), (rows[cut:], {n: v[cut:] for n, v in data.items()})]
        two = ray.get([w.gradient.remote(*share, int(data["response_mask"].sum())) for w, share in zip(workers, shares)])
    finally:
        ray.shutdown()
    assert max(float(g.abs().max()) for g in alone.values()) > 1e-3
    for name, gradient in alone.items():
        torch.testing.assert_close(torch.as_tensor(two[0][name]), gradient, atol=1e-6, rtol=1e-4)
        np.testing.assert_array_equal(two[0][name], two[1][name])
