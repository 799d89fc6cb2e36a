"""The multi-turn loop against a plain teacher-forced pass, and against the environment."""

import numpy as np
import pytest
import torch

from actfocus_core.dialogue import split_actions
from actfocus_core.envs import make_env
from actfocus_core.errors import ActFocusError
from actfocus_core.policy.sampler import CachedSampler
from actfocus_core.rollout import collect
from actfocus_core.trajectory import TokenKind

SHORT = {"observation": "compact", "response_tokens": 24}


def _teacher_forced(policy, trajectory) -> np.ndarray:
    """log pi of every token but the first, by one plain pass over the whole stream."""
    ids = torch.tensor(trajectory.token_ids.astype(np.int64))[None]
    with torch.no_grad():
        logp = policy.model(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
    return logp.gather(1, ids[0, 1:, None])[:, 0].numpy()


def _assert_recorded(policy, trajectories):
    for t in trajectories:
        mask = t.response_mask[1:]
        np.testing.assert_allclose(t.logprobs[1:][mask], _teacher_forced(policy, t)[mask], atol=1e-4)
        assert np.isnan(t.logprobs[~t.response_mask]).all()


def test_recorded_logprobs_equal_a_teacher_forced_pass_random_model(policy):
    trajectories = collect(policy, prompts=4, rollouts=3, env_options=SHORT)
    assert len({len(t) for t in trajectories}) > 3 and all(len(t.turn_records) == 5 for t in trajectories)
    _assert_recorded(policy, trajectories)


def test_recorded_logprobs_equal_a_teacher_forced_pass_embedded_policy(tiny, rollouts):
    assert len({len(t) for t in rollouts}) > 5 and len({len(t.turn_records) for t in rollouts}) > 1
    _assert_recorded(tiny, rollouts)


@pytest.mark.parametrize("family", ["qwen2", "gemma2", "mistral"])
def test_any_causal_lm_is_sampled_exactly(family, policy):
    """Other families: biases, soft caps, sliding windows shorter than the dialogue."""
    import transformers

    from actfocus_core.policy import Policy

    common = dict(
        vocab_size=len(policy.tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        initializer_range=0.2,
    )
    config = {
        "qwen2": lambda: transformers.Qwen2Config(**common),
        "gemma2": lambda: transformers.Gemma2Config(**common, head_dim=16, sliding_window=32),
        "mistral": lambda: transformers.MistralConfig(**common, sliding_window=48),
    }[family]()
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    other = Policy(family, model, policy.tokenizer)
    _assert_recorded(other, collect(other, prompts=2, rollouts=2, env_options=SHORT))


def test_the_executed_actions_are_those_of_the_action_tokens(rollouts):
    assert any(turn.actions for t in rollouts for turn in t.turn_records)
    for t in rollouts:
        env = make_env("frozen_lake", observation="compact", slippery=False)
        env.reset(t.seed, t.rollout)
        for k, turn in enumerate(t.turn_records):
            said = "".join(x for x, kind, i in zip(t.texts, t.kinds, t.turns) if i == k and kind == TokenKind.ACTION)
            result = env.step(split_actions(said))
            assert result.info["actions"] == turn.actions
            assert (result.info["valid"], result.reward) == (turn.valid, turn.reward)
        assert (env.success, env.terminated) == (t.success, t.terminated)


def test_the_stream_is_the_dialogue_of_the_template(tiny, rollouts):
    for t in rollouts[:4]:
        messages = [{"role": "system", "content": t.text(TokenKind.SYSTEM)}]
        for turn in t.turn_records:
            messages += [{"role": "user", "content": turn.observation}, {"role": "assistant", "content": turn.response}]
        rendered = tiny.tokenizer.apply_chat_template(messages, tokenize=False)
        assert rendered.startswith(t.text())


def test_a_rollout_does_not_depend_on_its_batch(policy):
    whole = collect(policy, prompts=3, rollouts=2, env_options=SHORT, seed=5)
    parts = collect(policy, prompts=3, rollouts=2, env_options=SHORT, seed=5, batch_size=2)
    assert [t.token_ids.tolist() for t in whole] == [t.token_ids.tolist() for t in parts]
    other = collect(policy, prompts=3, rollouts=2, env_options=SHORT, seed=6)
    assert whole[0].token_ids.tolist() != other[0].token_ids.tolist()


def test_a_group_starts_from_one_state_and_disagrees(rollouts):
    groups = {t.group: [m for m in rollouts if m.group == t.group] for t in rollouts}
    assert all(len({m.turn_records[0].state_key for m in g}) == 1 for g in groups.values())
    assert any(len({m.text() for m in g}) > 1 for g in groups.values())


def test_samples_follow_the_distribution(policy):
    """Inverse-CDF sampling: the share of each token approaches its probability."""
    logits = torch.tensor([[2.0, 0.0, 1.0, -1e9]]).expand(4000, -1)
    uniforms = torch.from_numpy(np.random.default_rng(0).random(4000, np.float32))
    ids, logprobs, _ = CachedSampler(policy)._draw(logits, uniforms)
    share = np.bincount(ids.numpy(), minlength=4) / 4000
    expected = logits[0].softmax(-1).numpy()
    np.testing.assert_allclose(share, expected, atol=0.03)
    np.testing.assert_allclose(logprobs.exp().numpy(), expected[ids.numpy()], rtol=1e-5)
    assert CachedSampler(policy)._draw(logits[:1], torch.tensor([0.9999999]))[0].item() != 3


def test_temperature_zero_is_greedy_and_records_the_models_own_logprob(policy):
    one, two = (collect(policy, prompts=1, rollouts=2, temperature=0, env_options=SHORT, seed=s) for s in (0, 1))
    assert one[0].token_ids.tolist() == two[1].token_ids.tolist()
    _assert_recorded(policy, one)


def test_an_episode_ends_where_the_context_is_full(policy):
    full = collect(policy, prompts=1, rollouts=1, env_options={**SHORT, "max_turns": 100, "response_tokens": 60})
    assert len(full[0]) <= policy.context and full[0].truncated and not full[0].terminated
    _assert_recorded(policy, full)


@pytest.mark.parametrize(
    "bad",
    [
        {"prompts": 0},
        {"rollouts": 0},
        {"temperature": -1.0},
        {"temperature": np.nan},
        {"env": "atari"},
        {"env_options": {"size": 1}},
        {"env_options": {"colour": 1}},
    ],
)
def test_options_out_of_range_are_refused(policy, bad):
    with pytest.raises(ActFocusError):
        collect(policy, **bad)
