"""``import_run``: stream another program's rollouts into a run folder."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.chat_renderer import ChatRenderer
from actfocus_core.interop.formats import Format, data_files, get_format, recognise
from actfocus_core.interop.samples import Message, Sample, Tokens
from actfocus_core.runs import Run, RunWriter, atomic_run, slug
from actfocus_core.spans import span_rule
from actfocus_core.trajectory import Trajectory

CHUNK_SAMPLES, CHUNK_CHARACTERS = 64, 1 << 20
"""Limits of a chunk that is tokenised at once: rollouts, and characters after which no further rollout is added."""


def import_run(
    path: str | Path,
    out: str | Path,
    *,
    format: str = "auto",
    tokenizer: str | None = None,
    spans: str = "think_answer",
    success_at: float = 1.0,
    max_tokens: int | None = None,
    reward_columns: Sequence[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Read a file or folder of rollouts into a new run, with memory use independent of its size.

    ``format``: a key of FORMATS, or auto. ``tokenizer``: the tokenizer of the model that generated the rollouts, as tiny,
    a folder, or a hub id; ActFocus's own formats need none. ``spans``: a span rule (``actfocus_core.spans``).
    ``success_at``: the smallest reward that counts as success if the file does not state success. ``max_tokens``: a longer
    rollout is an error. ``reward_columns``: the TRL columns whose sum is the reward, for files that do not show which
    they are. ``on_progress(done, total)`` counts bytes.

    The run folder is created atomically. Its config records ``approximate`` (whether any rollout was tokenised again),
    ``left_out`` (numbers of skipped items by kind) and ``reward_columns_by`` (how TRL's reward columns were found).
    Raises ActFocusError with file and line if the input is invalid.
    """
    path, out = Path(path), Path(out)
    rule = span_rule(spans)
    file_format = recognise(path) if format == "auto" else get_format(format)
    files = data_files(path, file_format)
    if file_format.needs_tokenizer and tokenizer is None:
        raise ActFocusError(
            f"{path}: {file_format.title} needs the tokenizer of the model that generated it; pass "
            "--tokenizer, for instance Qwen/Qwen2.5-0.5B-Instruct, or a model folder"
        )
    config = {
        "command": "import",
        "format": file_format.name,
        "source": str(path),
        "stamp": stamp(files),
        "tokenizer": tokenizer,
        "spans": spans,
        "success_at": success_at,
        "approximate": False,
    }
    file_format, format_config = file_format.prepare(files, reward_columns)
    config |= format_config
    left_out: Counter[str] = Counter()
    with atomic_run(out, config, {"name": tokenizer or ""}) as run:
        renderer = None
        if file_format.needs_tokenizer:
            from actfocus_core.policy import load_tokenizer

            assert tokenizer is not None  # checked above
            renderer = ChatRenderer(load_tokenizer(tokenizer), rule, tokenizer, success_at)
        count = 0
        with RunWriter(run) as writer:
            for chunk in _chunks(files, file_format, left_out, on_progress):
                samples = [item for item in chunk if isinstance(item, Sample)]
                run.info["config"]["approximate"] |= any(not isinstance(s.content, Tokens) for s in samples)
                for trajectory in renderer.trajectories(samples) if renderer else _trajectories(chunk):
                    if max_tokens and len(trajectory) > max_tokens:
                        raise ActFocusError(
                            f"{path}: the rollout {trajectory.id} has {len(trajectory)} tokens; the maximum is {max_tokens}"
                        )
                    _add(writer, trajectory, path)
                count += len(chunk)
        if not count:
            raise ActFocusError(
                f"{path}: holds no rollout; {file_format.title} has one or more per line"
                + "".join(f"; left out: {number} {kind}" for kind, number in left_out.items())
            )
        if left_out:
            run.info["config"]["left_out"] = dict(left_out)
    return run


def run_name(path: Path) -> str:
    """The name of a run imported from this file or folder, without its number."""
    name = slug(path.resolve().name.split(".")[0])
    return f"rollouts-{name}" if name.isdigit() else name


def stamp(files: list[Path]) -> str:
    """Sixteen hex digits of the files' paths, sizes and modification times: equal until a file is written."""
    states = [(str(file.resolve()), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]


def _add(writer: RunWriter, trajectory: Trajectory, path: Path) -> None:
    try:
        writer.add(trajectory)
    except ActFocusError as error:
        raise ActFocusError(f"{path}: {error}") from None


def _chunks(
    files: list[Path], format: Format, left_out: Counter[str], on_progress: Callable[[int, int], None] | None
) -> Iterator[list[Sample | Trajectory]]:
    total = sum(file.stat().st_size for file in files)
    done: float = 0

    def count(read: float) -> None:
        nonlocal done
        done += read
        if on_progress:
            on_progress(round(done), total)

    chunk: list[Sample | Trajectory] = []
    characters = 0
    for file in files:
        for item in format.read(file, count, lambda kind: left_out.update([kind])):
            chunk.append(item)
            characters += _size(item)
            if len(chunk) >= CHUNK_SAMPLES or characters > CHUNK_CHARACTERS:
                yield chunk
                chunk, characters = [], 0
    if chunk:
        yield chunk


def _trajectories(chunk: list[Sample | Trajectory]) -> list[Trajectory]:
    """The items of a format that stores whole trajectories."""
    return [item for item in chunk if isinstance(item, Trajectory)]


def _size(item: Sample | Trajectory) -> int:
    """Tokens, or characters where there are no token ids."""
    if isinstance(item, Trajectory):
        return len(item)
    if isinstance(item.content, Tokens):
        return len(item.content.ids)
    return sum(len(piece.content if isinstance(piece, Message) else piece.text) for piece in item.content)
