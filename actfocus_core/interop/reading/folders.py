"""``DataFile``: a file of rollouts, and what the names of its folders tell about it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading.compression import COMPRESSIONS

LINKS = "links and special files in folders, which are not followed"
UNREADABLE = "files that cannot be read"
REPEATED = "files that repeat rollouts of the folder 'all'"
COPIES = "compressed copies of files beside them"
OUTER = 4
"""Number of folders above a file or folder that can name the step, since a single step's folder can be opened"""
_SETTINGS = re.compile(
    r"(metadata|config|\w+_config|args|params|trainer_state|tokenizer|special_tokens_map|added_tokens|vocab"
    r"|run|wandb-metadata|wandb-summary|.*\.index)\.json"
)
_OTHER_FILES = re.compile(
    r".*\.(md|rst|txt|log|out|err|html|css|js|py|sh|yaml|yml|toml|ini|cfg|lock|jinja|pdf|png|jpe?g|gif|svg|webp|mp4"
    r"|safetensors|gguf|model|wandb|tmp)|.*tfevents.*"
)
_SPLITS = {"train": "train", **dict.fromkeys(("eval", "evals", "val", "validation", "test"), "eval")}
_STEP_FOLDER = re.compile(r"(?:global_)?step[_=-]?([0-9]{1,9})(?:_(evals?))?")
_STEP_FILE = re.compile(r"(?:^|[_-])step[_=-]?([0-9]{1,9})(?![0-9])")
_COMPLETIONS = re.compile(r"completions_([0-9]{1,9})")


@dataclass(frozen=True)
class DataFile:
    """A file of rollouts."""

    path: Path
    step: int | None = None
    """The training step that its name or a folder's name tells, as ``step_12``; None if none does"""
    split: str = ""
    """``train`` or ``eval`` if a name tells, else empty"""
    scope: str = ""
    """Its folder relative to the root, without folders of steps; the shards of a folder have the same"""


def data_file(root: Path, path: Path) -> DataFile:
    """What the names tell about a file below the folder ``root``, or about the file ``root`` itself."""
    inner = path.relative_to(root).parts[:-1]
    outer = Path(os.path.abspath(root if path != root else root.parent)).parts[-OUTER:]
    stem = path.name.split(".")[0]
    # The names of folders above the root are of any kind: only those below a step's folder tell the split.
    steps = [number for number, name in enumerate(outer) if _STEP_FOLDER.fullmatch(name)]
    names = [*(outer[steps[0] :] if steps else ()), *inner]
    return DataFile(
        path,
        _step(stem, [*outer, *inner]),
        _split(re.split(r"[_-]", stem)[0]) or next(filter(None, map(_split, reversed(names))), ""),
        "/".join(name for name in inner if not _STEP_FOLDER.fullmatch(name)),
    )


def _step(stem: str, folders: list[str]) -> int | None:
    named = _STEP_FILE.search(stem)
    above = (match for name in reversed(folders) if (match := _STEP_FOLDER.fullmatch(name)))
    found = named or next(above, None) or _COMPLETIONS.fullmatch(stem)
    return int(found[1]) if found else None


def _split(name: str) -> str:
    match = _STEP_FOLDER.fullmatch(name)
    return _SPLITS.get((match[2] or "") if match else name.lower(), "")


def visible_files(root: Path, omissions: Omissions) -> list[Path]:
    """The regular files below a folder in natural order, without hidden files and those that never hold rollouts.

    Links are not followed, FIFOs and devices not opened; they are counted in ``omissions``, as are unreadable folders.
    """
    return sorted(_visible(root, omissions), key=lambda path: _natural(str(path.relative_to(root))))


def _visible(root: Path, omissions: Omissions) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        omissions.refuse(UNREADABLE, ActFocusError(f"{error.filename}: cannot be opened ({error.strerror})"))

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (*folders, *names):
            path = Path(folder, name)
            if name.startswith(".") or _SETTINGS.fullmatch(name.lower()) or _OTHER_FILES.fullmatch(name.lower()):
                continue
            try:
                mode = path.lstat().st_mode
            except OSError as error:
                refuse(error)
                continue
            if stat.S_ISREG(mode):
                yield path
            elif not stat.S_ISDIR(mode):
                omissions.add(LINKS, str(path))


def without_repeated(root: Path, files: Iterable[DataFile], omissions: Omissions) -> list[DataFile]:
    """The files without those of a folder ``effective`` beside which a folder ``all`` has a file of the same name.

    prime-rl writes all rollouts of a step, and again those that it trained on. They are counted in ``omissions``.
    """
    files = list(files)
    paths = {file.path.relative_to(root).parts for file in files if file.path != root}
    kept = []
    for file in files:
        parts = file.path.relative_to(root).parts
        others = [(*parts[:n], "all", *parts[n + 1 :]) for n, part in enumerate(parts[:-1]) if part == "effective"]
        if paths.isdisjoint(others):
            kept.append(file)
        else:
            omissions.add(REPEATED, str(file.path))
    return kept


def without_copies(files: Iterable[Path], omissions: Omissions) -> list[Path]:
    """The files without compressed ones beside which the same file is uncompressed, which are counted in ``omissions``.

    Programs compress a finished file before they delete it, so that both are there for a while, or after a crash.
    """
    files = list(files)
    plain, kept = set(files), []
    for file in files:
        if file.suffix in COMPRESSIONS and file.with_suffix("") in plain:
            omissions.add(COPIES, str(file))
        else:
            kept.append(file)
    return kept


def _natural(path: str) -> list[tuple[int, str]]:
    """Sort key of natural order: 2.jsonl before 10.jsonl."""
    return [(int(part), "") if n % 2 else (-1, part) for n, part in enumerate(re.split(r"([0-9]+)", path))]
