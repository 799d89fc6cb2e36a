"""What a person points at becomes runs: run folders as they are, rollouts imported once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.formats import data_files, recognise
from actfocus_core.interop.importing import import_run, run_name, stamp
from actfocus_core.paths import modified_time
from actfocus_core.runs import Run, free_path

Progress = Callable[[int, int], None]


def open_paths(
    paths: Iterable[str | Path],
    runs_dir: str | Path,
    *,
    tokenizer: str | None = None,
    spans: str | None = None,
    on_progress: Callable[[str], Progress] | None = None,
) -> list[Run]:
    """The runs of these paths: a run, a folder of runs, or rollouts that another program wrote.

    Rollouts are imported into ``runs_dir`` under a name of their own, and not again while their files
    stay as they were; another ``tokenizer`` or span rule makes another run. ``on_progress(name)`` gives the
    callback of one import. Raises ActFocusError for what is neither, as ``import_run`` does.
    """
    return [run for path in paths for run in _opened(Path(path), Path(runs_dir), tokenizer, spans, on_progress)]


def _opened(
    path: Path,
    runs_dir: Path,
    tokenizer: str | None,
    spans: str | None,
    on_progress: Callable[[str], Progress] | None,
) -> Iterator[Run]:
    if not path.exists():
        raise ActFocusError(
            f"{path}: no such run, nor a file or folder of rollouts; `actfocus rollout --out {path}` makes a run"
        )
    inside = sorted(file.parent for file in path.glob("*/run.json") if not file.parent.name.startswith("."))
    if (path / "run.json").is_file() or inside:
        yield from map(Run.open, [path] if (path / "run.json").is_file() else inside)
        return
    files = data_files(path, recognise(path))
    kept = imported_before(runs_dir, stamp(files), tokenizer, spans)
    if kept is None:
        out = free_path(runs_dir, run_name(path))
        kept = import_run(
            path,
            out,
            tokenizer=tokenizer,
            spans=spans or "think_answer",
            on_progress=on_progress(path.name) if on_progress else None,
        )
    yield kept


def imported_before(runs_dir: Path, stamp: str, tokenizer: str | None = None, spans: str | None = None) -> Run | None:
    """The newest run that was imported from files of this stamp, with this tokenizer and rule or any."""
    for file in sorted(runs_dir.glob("*/run.json"), key=modified_time, reverse=True):
        try:
            run = Run.open(file.parent)
        except ActFocusError:
            # Another folder's trouble is not this file's.
            continue
        config = run.metadata.config
        if config.stamp == stamp and tokenizer in (None, config.tokenizer) and spans in (None, config.spans):
            return run
    return None
