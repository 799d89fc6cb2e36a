"""``import_run``: what another program wrote becomes a run folder, streamed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.formats import Format, data_files, get_format, recognise
from actfocus_core.interop.layout import Layout
from actfocus_core.interop.samples import Message, Sample, Tokens
from actfocus_core.runs import Run, RunWriter, appearing_run, slug
from actfocus_core.spans import span_rule
from actfocus_core.trajectory import Trajectory

CHUNK_SAMPLES, CHUNK_CHARACTERS = 64, 1 << 20
"""What is tokenised at once: at most so many rollouts, and no more after so much text."""


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
    """Read a file or a folder of rollouts into a new run, in memory that does not grow with it.

    ``format``: of FORMATS, or auto. ``tokenizer``: that of the model which wrote them: tiny, a
    folder, or a hub id; ActFocus's own formats need none. ``spans``: a span rule (``spans``).
    ``success_at``: the reward that counts as success where the file does not say.
    ``max_tokens``: a rollout of more is an error. ``reward_columns``: TRL's columns that are summed to the reward,
    where its files do not show which they are.
    ``on_progress(done, total)`` counts bytes. The run appears whole or not at all; its config
    says ``approximate`` where any rollout was tokenised again, ``left_out`` what was no rollout to train on, and
    ``reward_columns_by`` how TRL's reward columns were found. Raises ActFocusError, with file
    and line, for what cannot be read.
    """
    path, out = Path(path), Path(out)
    rule = span_rule(spans)
    chosen = recognise(path) if format == "auto" else get_format(format)
    files = data_files(path, chosen)
    if chosen.needs_tokenizer and tokenizer is None:
        raise ActFocusError(
            f"{path}: {chosen.title} needs the tokenizer of the model that wrote it; give "
            "--tokenizer, for instance Qwen/Qwen2.5-0.5B-Instruct, or a model folder"
        )
    config = {
        "command": "import",
        "format": chosen.name,
        "source": str(path),
        "stamp": stamp(files),
        "tokenizer": tokenizer,
        "spans": spans,
        "success_at": success_at,
        "approximate": False,
    }
    chosen, said = chosen.prepare(files, reward_columns)
    config |= said
    left_out: Counter[str] = Counter()
    with appearing_run(out, config, {"name": tokenizer or ""}) as run:
        layout = None
        if chosen.needs_tokenizer:
            from actfocus_core.policy import load_tokenizer

            assert tokenizer is not None  # asked for above
            layout = Layout(load_tokenizer(tokenizer), rule, tokenizer, success_at)
        count = 0
        with RunWriter(run) as writer:
            for chunk in _chunks(files, chosen, left_out, on_progress):
                own = [one for one in chunk if isinstance(one, Sample)]
                run.info["config"]["approximate"] |= any(not isinstance(s.content, Tokens) for s in own)
                for trajectory in layout.trajectories(own) if layout else _whole(chunk):
                    if max_tokens and len(trajectory) > max_tokens:
                        raise ActFocusError(
                            f"{path}: the rollout {trajectory.id} has {len(trajectory)} tokens; at most "
                            f"{max_tokens} are taken"
                        )
                    _add(writer, trajectory, path)
                count += len(chunk)
        if not count:
            raise ActFocusError(
                f"{path}: holds no rollout; {chosen.title} has one or more a line"
                + "".join(f"; left out: {number} {what}" for what, number in left_out.items())
            )
        if left_out:
            run.info["config"]["left_out"] = dict(left_out)
    return run


def run_name(path: Path) -> str:
    """What a run of this file or folder is called, before its number."""
    name = slug(path.resolve().name.split(".")[0])
    return f"rollouts-{name}" if name.isdigit() else name


def stamp(files: list[Path]) -> str:
    """Sixteen hex digits of the files' places, sizes and times: equal while nothing was written."""
    told = [(str(file.resolve()), (about := file.stat()).st_size, about.st_mtime_ns) for file in files]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


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
        for one in format.read(file, count, lambda what: left_out.update([what])):
            chunk.append(one)
            characters += _size(one)
            if len(chunk) >= CHUNK_SAMPLES or characters > CHUNK_CHARACTERS:
                yield chunk
                chunk, characters = [], 0
    if chunk:
        yield chunk


def _whole(chunk: list[Sample | Trajectory]) -> list[Trajectory]:
    """What a format of whole trajectories gave."""
    return [one for one in chunk if isinstance(one, Trajectory)]


def _size(one: Sample | Trajectory) -> int:
    if isinstance(one, Trajectory):
        return len(one)
    if isinstance(one.content, Tokens):
        return len(one.content.ids)
    return sum(len(piece.content if isinstance(piece, Message) else piece.text) for piece in one.content)
