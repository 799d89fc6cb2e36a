"""``open_paths``: open run folders, and import rollouts of other programs once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.formats import data_files, recognise
from actfocus_core.interop.importing import import_run, run_name, stamp
from actfocus_core.interop.omissions import Omissions
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
    """The runs of these paths, each a run, a folder of runs, or rollouts written by another program.

    Rollouts are imported into ``runs_dir`` as a new run, and not again until their files change; another ``tokenizer`` or
    span rule gives another run. ``on_progress(name)`` returns the progress callback of one import. Raises ActFocusError
    for any other path, and as ``import_run`` does.
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
            f"{path}: no such run, file or folder of rollouts; `actfocus rollout --out {path}` creates a run"
        )
    run_folders = sorted(file.parent for file in path.glob("*/run.json") if not file.parent.name.startswith("."))
    if (path / "run.json").is_file() or run_folders:
        yield from map(Run.open, [path] if (path / "run.json").is_file() else run_folders)
        return
    files = [file.path for file in data_files(path, recognise(path), Omissions())]
    run = imported_before(runs_dir, stamp(files), tokenizer, spans)
    if run is None:
        out = free_path(runs_dir, run_name(path))
        run = import_run(
            path,
            out,
            tokenizer=tokenizer,
            spans=spans or "auto",
            on_progress=on_progress(path.name) if on_progress else None,
        )
    yield run


def imported_before(runs_dir: Path, stamp: str, tokenizer: str | None = None, spans: str | None = None) -> Run | None:
    """The newest run imported from files with this stamp, with this tokenizer and span rule if given; None if there is none."""
    for file in sorted(runs_dir.glob("*/run.json"), key=modified_time, reverse=True):
        try:
            run = Run.open(file.parent)
        except ActFocusError:
            # An unreadable run folder does not prevent the search.
            continue
        config = run.metadata.config
        if config.stamp == stamp and tokenizer in (None, config.tokenizer) and spans in (None, config.spans):
            return run
    return None
