"""The arithmetic of memory against what autograd holds, and the refusal of what cannot fit."""

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from actfocus_core.errors import ActFocusError
from actfocus_core.policy import split_model
from actfocus_core.policy.split_model import SplitModel
from actfocus_core.runs import Run
from actfocus_core.train import TrainConfig, preset, resume, train
from actfocus_core.train.learner import recompute_activations
from actfocus_core.train.presets import ROWS, SIZES
from actfocus_core.train.sizing.memory import GB, QWEN, Shape, check_memory, estimate

SMALL = dict(vocab_size=64, max_position_embeddings=512)
SHAPES = [
    dict(hidden_size=32, intermediate_size=96, num_attention_heads=2, num_key_value_heads=1),
    dict(hidden_size=64, intermediate_size=160, num_attention_heads=4, num_key_value_heads=2),
]
GPU = 80 * GB


def _model(layers: int, **shape):
    torch.manual_seed(0)
    return Qwen2ForCausalLM(Qwen2Config(num_hidden_layers=layers, **shape, **SMALL))


def _held(model, tokens: int, bf16: bool) -> int:
    """Bytes that autograd keeps for the backward pass of 2 x tokens, the parameters left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages, alive = {}, []

    def pack(t):
        if t.untyped_storage().data_ptr() not in own:
            storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            alive.append(t)
        return t

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        SplitModel(model).hidden(torch.zeros(2, tokens, dtype=torch.long))
    return sum(storages.values())


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_activations_of_a_block_are_those_that_autograd_holds(shape, bf16, monkeypatch):
    """Of the model's own forward; the one for small models holds no more."""

    def a_layer(tokens):
        return _held(_model(3, **shape), tokens, bf16) - _held(_model(2, **shape), tokens, bf16)

    # The difference of two lengths takes away what does not grow with the tokens: copies of the weights.
    quick = (a_layer(96) - a_layer(32)) / (2 * 64)
    monkeypatch.setattr(split_model, "fast_model", lambda model: None)
    measured = (a_layer(96) - a_layer(32)) / (2 * 64)
    three, two = (Shape.of(_model(n, **shape).config).activations(bf16, False) for n in (3, 2))
    assert quick <= three - two == measured


def test_checkpointing_keeps_the_input_of_a_block_alone():
    def held(layers):
        model = _model(layers, **SHAPES[0])
        recompute_activations(model)
        return _held(model.train(), 64, bf16=False)

    a_layer = (held(4) - held(2)) / 2 / 128
    shape = Shape.of(_model(2, **SHAPES[0]).config)
    assert shape.activations(False, True) < shape.activations(False, False)
    # One copy of the residual stream a block, and what does not grow with the tokens.
    assert a_layer == pytest.approx(4 * shape.width, rel=0.1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_counted_as_a_model_has_them(shape, tied):
    model = _model(3, **shape, tie_word_embeddings=tied)
    assert Shape.of(model.config).parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("size", "billions"), [("0.5B", 0.494032768), ("1.5B", 1.543714304), ("3B", 3.085938688)])
def test_the_papers_models_have_their_published_sizes(size, billions):
    shape = QWEN[size]
    assert shape.parameters == round(billions * 1e9)
    config = Qwen2Config(
        hidden_size=shape.width,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=True,
    )
    assert Shape.of(config) == shape
    with torch.device("meta"):
        assert sum(p.numel() for p in Qwen2ForCausalLM(config).parameters()) == shape.parameters


def test_the_parts_are_those_of_the_arithmetic():
    config = TrainConfig.of(**preset("sokoban-0.5B"))
    memory = estimate(config, QWEN["0.5B"], bf16=True)
    parameters = 494_032_768
    assert memory.held == {
        "weights": 4 * parameters,
        "Adam": 8 * parameters,
        "reference": 2 * parameters,
        "rollout policy": 2 * parameters,
    }
    # 128 episodes of 3,600 tokens, keys and values of 24 layers with 2 heads of 64 numbers of 2 bytes.
    assert memory.sampling == {"keys and values": 128 * 3600 * 2 * 24 * 2 * 64 * 2}
    assert memory.updating["gradients"] == 4 * parameters
    assert memory.total == pytest.approx(
        1.1 * (16 * parameters + max(sum(memory.sampling.values()), sum(memory.updating.values())))
    )


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_every_row_of_the_paper_is_a_preset_that_fits_a_gpu(row, algorithm):
    config = TrainConfig.of(**preset(row, algorithm=algorithm))
    env, model = ROWS[row]
    assert (config.env, config.model) == (env, model) and row.rpartition("-")[2] in SIZES
    # A second model of 3B, the critic, with its Adam does not fit 80 GB.
    gpu = 141 * GB if (algorithm, row[-2:]) == ("ppo", "3B") else GPU
    check_memory(config, QWEN[row.rpartition("-")[2]], bf16=True, available=gpu)


@pytest.mark.parametrize(
    ("change", "less"),
    [
        ({"micro_tokens": 1024}, "activations"),
        ({"gradient_checkpointing": True}, "activations"),
        ({"lora_rank": 16}, "Adam"),
        ({"rollout_batch": 16}, "keys and values"),
    ],
)
def test_what_is_proposed_needs_less(change, less):
    config = TrainConfig.of(**{**preset("paper", "sokoban", model="Qwen/Qwen2.5-0.5B-Instruct")})
    before, after = (estimate(c, QWEN["0.5B"], bf16=True) for c in (config, config.model_copy(update=change)))
    parts = [{**m.held, **m.sampling, **m.updating} for m in (before, after)]
    assert parts[1][less] < parts[0][less]


def test_what_cannot_fit_is_refused_with_what_would():
    config = TrainConfig.of(**preset("sokoban-3B", algorithm="ppo"))
    with pytest.raises(ActFocusError, match=r"training needs [\d.]+ GB \(.*Adam 24.7.*24.0 GB are free") as caught:
        check_memory(config, QWEN["3B"], bf16=True, available=24 * GB)
    assert "\n" not in str(caught.value) and "smaller model" in str(caught.value)
    with pytest.raises(ActFocusError, match="--set lora_rank=32 needs ") as caught:
        check_memory(config.model_copy(update={"algorithm": "grpo"}), QWEN["3B"], bf16=True, available=40 * GB)
    # What the line proposes is what fits.
    proposed = dict(
        pair.split("=") for pair in str(caught.value).rpartition("free; ")[2].split(" needs")[0].split() if "=" in pair
    )
    changed = TrainConfig.of(**{**config.model_dump(), "algorithm": "grpo", **proposed})
    check_memory(changed, QWEN["3B"], bf16=True, available=40 * GB)


def test_training_is_refused_before_weights_are_read(model_folder, tmp_path, monkeypatch):
    psutil = pytest.importorskip("psutil")
    free = psutil.virtual_memory()._replace(available=1_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(ActFocusError, match="0.0 GB are free"):
        train(TrainConfig(model=str(model_folder), device="cpu"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_resumed_where_it_cannot_fit(model_folder, tmp_path, monkeypatch):
    psutil = pytest.importorskip("psutil")
    config = TrainConfig(model=str(model_folder), device="cpu")
    run = Run.create(
        tmp_path / "run", {"command": "train", **config.model_dump(mode="json")}, {"name": "x", "fingerprint": "y"}
    )
    before = sorted(p.name for p in run.path.rglob("*"))
    free = psutil.virtual_memory()._replace(available=1_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(ActFocusError, match="0.0 GB are free"):
        resume(run.path)
    assert sorted(p.name for p in run.path.rglob("*")) == before


def test_a_vllm_sampler_takes_its_share():
    config = TrainConfig.of(**{**preset("sokoban-0.5B"), "sampler": "vllm"})
    memory = estimate(config, QWEN["0.5B"], bf16=True, device_memory=GPU)
    assert memory.sampling == {"vLLM": 0.4 * GPU} and "rollout policy" not in memory.held
    assert np.isfinite(memory.total)
