"""``open_paths``: open run folders, and import rollouts of other programs once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.formats import data_files, recognise
from actfocus_core.interop.importing import import_run, run_name, stamp
from actfocus_core.interop.items import AUTO
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
    environment_spans: str | None = None,
    strict: bool = False,
    on_progress: Callable[[str], Progress] | None = None,
) -> list[Run]:
    """The runs of these paths, each a run, a folder of runs, or rollouts written by another program.

    Rollouts are imported into ``runs_dir`` as a new run, and not again until their files change; another ``tokenizer``,
    span rule or rule of environment text gives another run, as does ``strict`` where something was left out.
    ``on_progress(name)`` returns the progress callback of one import. Raises ActFocusError for any other path, and as
    ``import_run`` does.
    """
    how = {"tokenizer": tokenizer, "spans": spans, "environment_spans": environment_spans}
    return [run for path in paths for run in _opened(Path(path), Path(runs_dir), how, strict, on_progress)]


def needs_choice(path: Path, runs_dir: Path) -> bool:
    """Whether a path holds rollouts that were not imported before and that need a tokenizer.

    False for what ``open_paths`` opens without one, and for what it refuses.
    """
    try:
        if not path.exists() or (path / "run.json").is_file() or any(path.glob("*/run.json")):
            return False
        format = recognise(path)
        files = format.sources(file.path for file in data_files(path, format, Omissions()))
        return format.needs_tokenizer and imported_before(runs_dir, stamp(files), {}) is None
    except ActFocusError:
        return False


def _opened(
    path: Path,
    runs_dir: Path,
    how: dict[str, str | None],
    strict: bool,
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
    format = recognise(path)
    files = format.sources(file.path for file in data_files(path, format, Omissions()))
    run = imported_before(runs_dir, stamp(files), how, complete=strict)
    if run is None:
        out = free_path(runs_dir, run_name(path))
        run = import_run(
            path,
            out,
            tokenizer=how["tokenizer"],
            spans=how["spans"] or AUTO,
            environment_spans=how["environment_spans"] or AUTO,
            strict=strict,
            on_progress=on_progress(path.name) if on_progress else None,
        )
    yield run


def imported_before(runs_dir: Path, stamp: str, how: dict[str, str | None], complete: bool = False) -> Run | None:
    """The newest run imported from files with this stamp, with what ``how`` gives of its tokenizer, span rule and rule of
    environment text; None if there is none. ``complete``: only a run from which nothing was left out."""
    for file in sorted(runs_dir.glob("*/run.json"), key=modified_time, reverse=True):
        try:
            run = Run.open(file.parent)
        except ActFocusError:
            # An unreadable run folder does not prevent the search.
            continue
        config = run.metadata.config
        same = all(value in (None, getattr(config, name, None)) for name, value in how.items())
        if config.stamp == stamp and same and not (complete and getattr(config, "left_out", None)):
            return run
    return None
