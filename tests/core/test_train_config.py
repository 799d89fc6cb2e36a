"""Training configs: the paper's values, and what is refused before anything is written."""

import subprocess
import sys
from typing import get_args

import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.train import TrainConfig, preset, train
from actfocus_core.train.algorithms import ALGORITHMS
from tests.core.training_runs import SMALL, config


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


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lr": 0}, "lr=0"),
        ({"lr": float("nan")}, "lr"),
        ({"steps": 0}, "steps=0"),
        ({"algorithm": "dpo"}, "algorithm='dpo'"),
        ({"filter_share": 1.5}, "keep_fraction=1.5"),
        ({"keep_fraction": 0}, "keep_fraction=0"),
        ({"colour": 1}, "colour"),
        ({"eval_temperatures": (1.0, 1.0)}, "must be distinct"),
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


@pytest.mark.parametrize(
    ("env", "algorithm", "wanted"),
    [
        ("sokoban", "grpo", {"keep_fraction": 0.25, "prompts": 8, "rollouts": 16, "kl_coef": 0}),
        ("frozen_lake", "grpo", {"keep_fraction": 1, "entropy_coef": 0.001}),
        ("webshop", "grpo", {"kl_coef": 0.001, "kl_kind": "k1", "prompts": 16, "rollouts": 8, "steps": 100}),
        ("webshop", "ppo", {"kl_coef": 0, "lr": 1e-6, "critic_lr": 1e-5}),
    ],
)
def test_the_papers_settings(env, algorithm, wanted):
    made = TrainConfig.of(**preset("paper", env, algorithm, "Qwen/Qwen2.5-3B-Instruct"))
    assert {name: getattr(made, name) for name in wanted} == wanted and made.gradient_checkpointing
    with pytest.raises(ActFocusError, match="unknown preset"):
        preset("slow", env)


def test_a_field_is_read_and_stored_under_its_earlier_name():
    """Runs of before, and commands that name it, are read; run.json has one name."""
    for values in ({"filter_share": 0.5}, {"keep_fraction": 0.5}, {**preset("paper", "sokoban"), "filter_share": 0.5}):
        made = TrainConfig.of(**values)
        assert made.keep_fraction == 0.5
        assert made.as_stored()["filter_share"] == 0.5 and "keep_fraction" not in made.as_stored()
        assert TrainConfig.of(**made.as_stored()) == made


def test_every_algorithm_of_the_config_is_in_the_table():
    assert set(ALGORITHMS) == set(get_args(TrainConfig.model_fields["algorithm"].annotation))
