"""Fixtures shared by all tests: a real causal LM with random weights, and rollouts of it."""

from __future__ import annotations

import pandas.errors
import pytest
from hypothesis import HealthCheck, settings

# Nothing is asserted about seconds: a busy machine is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure(config):
    """Gradio's use of pandas 3 is warned of; older versions of pandas have no such warning."""
    if hasattr(pandas.errors, "Pandas4Warning"):
        config.addinivalue_line("filterwarnings", "ignore::pandas.errors.Pandas4Warning")


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WORDS = [
    "<think> I am at (1,2), the goal is at (3,0). </think>",
    "<answer>Left || Down || Right || Up</answer>",
    "Turn 1. 10 left. P (1,2) G (3,0) O none",
]


def make_tokenizer(
    template: str = CHATML, special: tuple[str, ...] = ("<|im_start|>", "<|im_end|>"), end: str = "<|im_end|>"
):
    """A small byte-level BPE tokenizer, of the kind Qwen, Llama-3 and SmolLM use."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|pad|>", *special],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(WORDS * 3, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, pad_token="<|pad|>")
    fast.chat_template = template
    return fast


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A Hugging Face folder: a two-layer Llama with random weights and grouped key-value heads."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("random-llama")
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
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


@pytest.fixture(scope="session")
def policy(model_folder):
    """The random Llama as a policy."""
    from actfocus_core.policy import load_policy

    return load_policy(str(model_folder), device="cpu")


@pytest.fixture(scope="session")
def tiny():
    """The embedded policy."""
    from actfocus_core.policy import load_policy

    return load_policy("tiny", device="cpu")


@pytest.fixture(scope="session")
def rollouts(tiny):
    """Multi-turn rollouts of the embedded policy, scored by itself. Not to be changed."""
    from actfocus_core.rollout import collect
    from actfocus_core.signals import score

    return score(collect(tiny, "frozen_lake", prompts=6, rollouts=4), tiny, top_k=3)


@pytest.fixture(scope="session")
def run(rollouts, tmp_path_factory):
    """A run folder with these rollouts and their annotation."""
    from actfocus_core.runs import Run

    made = Run.create(tmp_path_factory.mktemp("runs") / "lake", {"env": "frozen_lake", "env_options": {}})
    made.add_trajectories(0, rollouts)
    made.annotate(0, "tiny", rollouts)
    return made
