"""Short training runs that several files read; nobody changes them."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def grpo(tmp_path_factory):
    """Four steps without interruption."""
    from actfocus_core.train import train
    from tests.core.training_runs import config

    return train(config(steps=4, store_evaluation=True), tmp_path_factory.mktemp("grpo") / "run")


@pytest.fixture(scope="session")
def ppo(tmp_path_factory):
    """Three steps, every second group left out."""
    from actfocus_core.train import train
    from tests.core.training_runs import config

    return train(
        config(steps=3, algorithm="ppo", eval_every=0, keep_fraction=0.5), tmp_path_factory.mktemp("ppo") / "run"
    )
