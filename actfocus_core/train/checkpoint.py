"""Checkpoints: tensors in safetensors, everything else in JSON; a folder that appears whole.

    checkpoints/step-00020/
      policy.safetensors       the trained parameters, by name
      policy-adam.safetensors  the optimiser's moments and step counts
      critic.safetensors, critic-adam.safetensors      (PPO)
      state.json               step, seconds trained, library versions

No generator state is stored, because none is kept: the dice of a step, the order of its
mini-batches and its boards are functions of the seed and the step alone. So a run that goes on
from a checkpoint does exactly what it would have done.
"""

from __future__ import annotations

import json
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import torch

from actfocus_core.errors import ActFocusError
from actfocus_core.paths import share

_NAME = re.compile(r"step-(\d{5,})")


def save_checkpoint(folder: Path, step: int, tensors: dict[str, dict[str, torch.Tensor]], state: dict, keep: int) -> Path:
    """Write ``checkpoints/step-NNNNN`` under a run folder, then delete all but the last ``keep``.

    ``tensors``: file name without ending -> name -> tensor. Written to a hidden folder that is
    renamed when it is whole. Raises OSError where it cannot be written; nothing is left of it.
    """
    path = folder / f"step-{step:05d}"
    with appearing_folder(path) as part:
        for name, named in tensors.items():
            save_tensors(named, part / f"{name}.safetensors")
        (part / "state.json").write_text(json.dumps({**state, "step": step}, indent=2) + "\n", encoding="utf-8")
    for old in checkpoints(folder)[:-keep]:
        _remove(folder / f"step-{old:05d}")
    return path


def save_tensors(named: dict[str, torch.Tensor], file: Path) -> None:
    """One safetensors file. Raises OSError where it cannot be written."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: t.detach().contiguous().cpu() for name, t in named.items()}, file)
        share(file)
    except SafetensorError as error:
        raise OSError(str(error)) from None


def checkpoints(folder: Path) -> list[int]:
    """The steps of the checkpoints in a folder, in order."""
    return sorted(int(m[1]) for f in folder.glob("step-*") if (m := _NAME.fullmatch(f.name)))


def load_checkpoint(folder: Path, step: int, names: list[str]) -> tuple[dict[str, dict[str, torch.Tensor]], dict]:
    """The tensors of the named files, and the state. Raises ActFocusError where one is not whole."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / f"step-{step:05d}"
    try:
        tensors = {name: load_file(path / f"{name}.safetensors") for name in names}
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        if not isinstance(state, dict) or state.get("step") != step:
            raise ValueError(f"state.json is not that of step {step}")
        return tensors, state
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise ActFocusError(f"{path}: not a whole checkpoint ({error}); delete this folder to go on from "
                            "the one before it") from None


@contextmanager
def appearing_folder(path: Path):
    """Yield a hidden folder that takes the place of ``path`` when the block ends well, and else vanishes."""
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    # One level at most: a run folder that vanished is not to come back as a husk.
    part.parent.mkdir(exist_ok=True)
    part.mkdir()
    try:
        yield part
        if path.exists():
            _remove(path)
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Delete a folder; under its own name it is there whole or not at all."""
    hidden = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(hidden, ignore_errors=True)
    folder.rename(hidden)
    shutil.rmtree(hidden)
