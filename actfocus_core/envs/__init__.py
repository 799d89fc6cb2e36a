"""The registry of environments."""

from __future__ import annotations

from typing import Any

from actfocus_core.envs.base import Env, EnvOptions, Step
from actfocus_core.envs.frozen_lake import FrozenLake
from actfocus_core.envs.sokoban import Sokoban
from actfocus_core.envs.sudoku import Sudoku
from actfocus_core.envs.webshop import WebShop
from actfocus_core.errors import ActFocusError

ENVS: dict[str, type[Env]] = {cls.name: cls for cls in (FrozenLake, Sokoban, Sudoku, WebShop)}

__all__ = ["ENVS", "Env", "EnvOptions", "Step", "make_env"]


def make_env(name: str, **options: Any) -> Env:
    """Create an environment by name, with checked options; ``preset="paper"`` selects a set of options.

    Raises ActFocusError for an unknown name, an unknown option or a value out of range.
    """
    if name not in ENVS:
        raise ActFocusError(f"unknown environment {name!r}; there are {', '.join(ENVS)}")
    return ENVS[name](**options)
