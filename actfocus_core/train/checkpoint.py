"""Checkpoints: tensors in safetensors, everything else in JSON, in a folder that is written atomically.

    checkpoints/step-00020/
      policy.safetensors       the trained parameters, by name
      policy-adam.safetensors  the optimiser's moments and step counts
      critic.safetensors, critic-adam.safetensors      (PPO)
      state.json               step, seconds trained

A checkpoint is synced to the disk before it gets its name, and an older one is deleted only after that
name is on the disk too. So a loss of power at any moment leaves a whole checkpoint.

No state of a random generator is stored, because there is none: the random numbers of a step, the order of its
mini-batches and its prompts are functions of the seed and the step alone. So a resumed run does exactly what the
uninterrupted one would have done.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch

from actfocus_core.errors import ActFocusError
from actfocus_core.files import open_regular, open_to_read, read_json, sync
from actfocus_core.paths import make_group_readable

SECONDS = ("elapsed", "slowest", "evaluation")
"""The fields of ``state.json`` besides the step: seconds of training, of the longest step, of the longest evaluation."""
_HEADER_MAX = 100 << 20
"""Largest header of a safetensors file in bytes, as in the safetensors library."""
_NAME = re.compile(r"step-(\d{5,})")
_T = TypeVar("_T")


def save_checkpoint(
    folder: Path, step: int, tensors: dict[str, dict[str, torch.Tensor]], state: dict[str, float], keep: int
) -> Path:
    """Write ``checkpoints/step-NNNNN`` under a run folder; once it is on the disk, delete all but the last ``keep``.

    ``tensors``: file name without ending -> name -> tensor. ``state``: the values of SECONDS. Only whole
    checkpoints count towards ``keep``. Raises OSError where it cannot be written; nothing is left of it.
    """
    path = _place(folder, step)
    with atomic_folder(path) as part:
        for name, named in tensors.items():
            save_tensors(named, part / f"{name}.safetensors")
        (part / "state.json").write_text(json.dumps({**state, "step": step}, indent=2) + "\n", encoding="utf-8")
    for old in _superseded(folder, step, list(tensors), keep):
        _remove(_place(folder, old))
    return path


def save_tensors(named: dict[str, torch.Tensor], file: Path) -> None:
    """One safetensors file. Raises OSError where it cannot be written."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: t.detach().contiguous().cpu() for name, t in named.items()}, file)
        make_group_readable(file)
    except SafetensorError as error:
        raise OSError(str(error)) from None


def checkpoints(folder: Path) -> list[int]:
    """The steps of the checkpoints in a folder, in order, whole or not. Links and files are ignored."""
    return sorted(
        int(m[1])
        for f in folder.glob("step-*")
        if (m := _NAME.fullmatch(f.name)) and f == _place(folder, int(m[1])) and f.is_dir() and not f.is_symlink()
    )


def whole_checkpoints(folder: Path, names: Sequence[str]) -> tuple[list[int], dict[int, str]]:
    """The steps of the whole checkpoints, in order, and for each of the others what is wrong with it.

    ``names``: the tensor files, as in ``load_checkpoint``. Of each the header is read and compared with the
    size of the file; the tensors themselves are not read.
    """
    found = {step: _defect(folder, step, names) for step in checkpoints(folder)}
    return [step for step, defect in found.items() if not defect], {
        step: defect for step, defect in found.items() if defect
    }


def start_from(whole: list[int], lacking: Collection[int]) -> int:
    """The step of the checkpoint to resume from, of ``whole`` in order; 0 where there is none.

    It is the newest one from which every step of ``lacking`` is repeated. Steps up to the oldest checkpoint cannot be
    repeated and are ignored.
    """
    if not whole:
        return 0
    first = min((step for step in lacking if step > whole[0]), default=whole[-1] + 1)
    return max(step for step in whole if step < first)


def load_checkpoint(
    folder: Path, step: int, names: Sequence[str]
) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, float]]:
    """The tensors of the named files, and the state. Raises ActFocusError where one is not whole."""
    from safetensors.torch import load_file

    path = _place(folder, step)
    try:
        return _read(path, step, names, load_file)
    except _NotWhole as error:
        raise ActFocusError(
            f"{path}: not a whole checkpoint ({error}); delete this folder to use the one before it"
        ) from None


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a hidden folder that replaces ``path`` if the block succeeds, and is deleted if it raises.

    The folder and all its files are synced to the disk before it is renamed, and the previous folder at ``path`` is
    deleted only after the new name is on the disk. In between it is called ``.NAME.before``, which ``control.clear``
    renames back if no new folder has the name.
    """
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    _make_parent(part)
    part.mkdir()
    try:
        yield part
        for folder, _, files in os.walk(part):
            for name in files:
                sync(Path(folder) / name)
            sync(folder)
        _put(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _place(folder: Path, step: int) -> Path:
    return folder / f"step-{step:05d}"


def _superseded(folder: Path, step: int, names: Sequence[str], keep: int) -> list[int]:
    """The checkpoints to delete once that of ``step`` is on the disk: older ones that are not whole or not among the last ``keep``.

    A newer one is never deleted. If it is not whole it does not count towards ``keep``.
    """
    there = checkpoints(folder)
    if len(there) <= keep:
        return []
    whole, gone = 0, []
    for other in reversed(there):
        if other < step and (whole >= keep or _defect(folder, other, names)):
            gone.append(other)
        elif other <= step or not _defect(folder, other, names):
            whole += 1
    return gone


class _NotWhole(Exception):
    """A file of a checkpoint cannot be used; the message says which and why."""


def _defect(folder: Path, step: int, names: Sequence[str]) -> str:
    """What is wrong with a checkpoint; empty for one that is whole."""
    try:
        _read(_place(folder, step), step, names, _check_tensors)
    except _NotWhole as error:
        return str(error)
    return ""


def _read(
    path: Path, step: int, names: Sequence[str], read: Callable[[Path], _T]
) -> tuple[dict[str, _T], dict[str, float]]:
    """File name -> what ``read`` returns for it, and the state. Raises _NotWhole."""
    if path.is_symlink():
        raise _NotWhole("it is a link, and links inside a run folder are not followed")
    with _of(path / "state.json") as file:
        state = _checked(read_json(file), step)
    found = {}
    for name in names:
        with _of(path / f"{name}.safetensors") as file:
            # The library would open a link or a FIFO too.
            os.close(open_regular(file))
            found[name] = read(file)
    return found, state


def _check_tensors(file: Path) -> None:
    """Raise OSError or ValueError for a safetensors file that does not have the size its header announces.

    Opening it with the library would map the whole file, which fails where the memory is spent.
    """
    with open_to_read(file) as stream:
        size, length = os.fstat(stream.fileno()).st_size, int.from_bytes(stream.read(8), "little")
        if not 0 < length <= min(size - 8, _HEADER_MAX):
            raise ValueError("it has no safetensors header")
        header = json.loads(stream.read(length))
    try:
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        announced = 8 + length + max(ends, default=0)
    except (AttributeError, TypeError, LookupError):
        raise ValueError("it has no safetensors header") from None
    if announced != size:
        raise ValueError(f"it has {size:,} bytes, its header announces {announced:,}")


@contextmanager
def _of(file: Path) -> Iterator[Path]:
    """Convert the errors of reading a file to _NotWhole."""
    from safetensors import SafetensorError

    try:
        yield file
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), type(error).__name__)
        raise _NotWhole(f"{file.name}: {reason}") from None


def _checked(state: object, step: int) -> dict[str, float]:
    """The state of the step. Raises ValueError if it is something else."""
    if not isinstance(state, dict) or state.get("step") != step:
        raise ValueError(f"it is not that of step {step}")
    for name in SECONDS:
        value = state.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise ValueError(f"{name!r} is not a number of seconds")
    return state


def _make_parent(part: Path) -> None:
    # One level only: do not recreate a deleted run folder.
    try:
        part.parent.mkdir()
    except FileExistsError:
        return
    sync(part.parent.parent)


def _put(part: Path, path: Path) -> None:
    """Rename a synced folder to ``path``; the previous one is deleted once the new name is on the disk."""
    before = path.with_name(f".{path.name}.before")
    if os.path.lexists(path):
        _delete(before)
        path.rename(before)
    try:
        part.rename(path)
    except OSError:
        if os.path.lexists(before):
            before.rename(path)
        raise
    sync(path.parent)
    _delete(before)


def _remove(folder: Path) -> None:
    """Delete a folder atomically: it is renamed first, so its own name never holds a part of it."""
    hidden = folder.with_name(f".{folder.name}.old")
    _delete(hidden)
    folder.rename(hidden)
    _delete(hidden)


def _delete(path: Path) -> None:
    """Delete a folder, a file or a link, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
