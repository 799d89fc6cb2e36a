"""``import_run``: stream another program's rollouts into a run folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.formats import Format, data_files, get_format, recognise
from actfocus_core.interop.items import AUTO, ForeignFormat, Interpretation, Item, OwnFormat, foreign_format
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import DataFile
from actfocus_core.interop.samples import Sample, Text, Tokens
from actfocus_core.runs import Run, RunWriter, atomic_run, slug
from actfocus_core.spans import DEFAULT, span_rule
from actfocus_core.trajectory import Trajectory

CHUNK_SAMPLES, CHUNK_CHARACTERS = 64, 1 << 20
"""Limits of a chunk that is tokenised at once: rollouts, and characters after which no further rollout is added."""


@dataclass
class Source:
    """Files of rollouts whose format is known, and how their content becomes trajectories."""

    path: Path
    format: Format
    files: list[DataFile]
    importer: ForeignFormat | OwnFormat
    omissions: Omissions
    config: dict[str, Any]
    """What the config of run.json says of the format."""

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        format: str = AUTO,
        tokenizer: str | None = None,
        spans: str = AUTO,
        environment_spans: str = AUTO,
        success_at: float = 1.0,
        reward_columns: Sequence[str] | None = None,
        strict: bool = False,
    ) -> Source:
        """Recognise the format and load the tokenizer; see ``import_run``."""
        path = Path(path)
        rule = None if spans == AUTO else span_rule(spans)
        omissions = Omissions(strict)
        file_format = recognise(path) if format == AUTO else get_format(format)
        files = data_files(path, file_format, omissions)
        if file_format.needs_tokenizer and tokenizer is None:
            raise ActFocusError(
                f"{path}: {file_format.title} needs the tokenizer of the model that generated it; pass "
                "--tokenizer, for instance Qwen/Qwen2.5-0.5B-Instruct, or a model folder"
            )
        file_format, config = file_format.prepare(files, reward_columns, omissions)
        importer: ForeignFormat | OwnFormat = OwnFormat(rule or DEFAULT)
        if file_format.needs_tokenizer and tokenizer is not None:
            importer = foreign_format(Interpretation(tokenizer, rule, environment_spans, success_at), omissions)
        return cls(path, file_format, files, importer, omissions, config)

    def chunks(self, on_progress: Callable[[int, int], None] | None = None) -> Iterator[Iterator[Trajectory]]:
        """The trajectories, by the chunks in which they are read. The first one decides on the span rule."""
        for chunk in _chunks(self.files, self.format, self.omissions, on_progress):
            yield self.importer.trajectories(chunk)

    def nothing_read(self) -> ActFocusError:
        """The error where there is no rollout: the first that was met, or what was left out."""
        if self.omissions.error is not None:
            return self.omissions.error
        left_out = "".join(f"; left out: {number} {kind}" for kind, number in self.omissions.counts.items())
        return ActFocusError(f"{self.path}: holds no rollout; {self.format.title} has one or more per line{left_out}")

    def found(self) -> dict[str, Any]:
        """What was found and chosen in what was read so far, for the config of run.json."""
        omissions = self.omissions
        left_out = {"left_out": dict(omissions.counts), "left_out_examples": omissions.examples}
        return self.importer.config() | (left_out if omissions.counts else {})


def import_run(
    path: str | Path,
    out: str | Path,
    *,
    format: str = AUTO,
    tokenizer: str | None = None,
    spans: str = AUTO,
    environment_spans: str = AUTO,
    success_at: float = 1.0,
    max_tokens: int | None = None,
    reward_columns: Sequence[str] | None = None,
    strict: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Read a file or folder of rollouts into a new run, with memory use independent of its size.

    ``format``: a key of FORMATS, or auto. ``tokenizer``: the tokenizer of the model that generated the rollouts, as tiny,
    a folder, or a hub id; ActFocus's own formats need none. ``spans``: a span rule (``actfocus_core.spans``), or auto for
    the one that fits the replies of the first rollouts. ``environment_spans``: what counts as written by the environment inside
    a reply (``environment_text``). ``success_at``: the smallest reward that counts as success if the file does not state
    success. ``max_tokens``: a longer rollout is an error. ``reward_columns``: the TRL columns whose sum is the reward, for
    files that do not show which they are. ``strict``: an unreadable line, record or file is an error; otherwise it is left
    out and counted. ``on_progress(done, total)`` counts bytes.

    The run folder is created atomically. Its config says what was found and chosen (``actfocus_core.runs.info.Import``) and its
    provenance what is recorded, derived and guessed. Raises ActFocusError with file and line if the input is invalid, or
    nothing of it can be read. ``preview`` (head.py) shows what an import would make of the first rollouts.
    """
    source = Source.open(
        path,
        format=format,
        tokenizer=tokenizer,
        spans=spans,
        environment_spans=environment_spans,
        success_at=success_at,
        reward_columns=reward_columns,
        strict=strict,
    )
    config = {
        "command": "import",
        "format": source.format.name,
        "source": str(source.path),
        "stamp": stamp(source.format.sources(file.path for file in source.files)),
        "tokenizer": tokenizer,
        "spans": spans,
        "success_at": success_at,
        "approximate": False,
        **source.config,
    }
    with atomic_run(Path(out), config, {"name": tokenizer or ""}) as run:
        count = 0
        with RunWriter(run) as writer:
            for trajectory in chain.from_iterable(source.chunks(on_progress)):
                check_length(trajectory, max_tokens, source.path)
                _add(writer, trajectory, source.path)
                count += 1
        source.format.finish(source.omissions)
        if not count:
            raise source.nothing_read()
        run.info["config"] |= source.found()
        if provenance := source.importer.provenance():
            run.info["provenance"] = provenance
    return run


def check_length(trajectory: Trajectory, max_tokens: int | None, path: Path) -> None:
    """Raise ActFocusError for a rollout of more than ``max_tokens`` tokens."""
    if max_tokens and len(trajectory) > max_tokens:
        raise ActFocusError(
            f"{path}: the rollout {trajectory.id} has {len(trajectory)} tokens; the maximum is {max_tokens}"
        )


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
    files: list[DataFile], format: Format, omissions: Omissions, on_progress: Callable[[int, int], None] | None
) -> Iterator[list[Item]]:
    total = sum(file.path.stat().st_size for file in files)
    done: float = 0

    def count(read: float) -> None:
        nonlocal done
        done += read
        if on_progress:
            on_progress(round(done), total)

    chunk: list[Item] = []
    characters = 0
    for file in files:
        for item in format.read(file, omissions, count):
            chunk.append((file, item))
            characters += _size(item)
            if len(chunk) >= CHUNK_SAMPLES or characters > CHUNK_CHARACTERS:
                yield chunk
                chunk, characters = [], 0
    if chunk:
        yield chunk


def _size(item: Sample | Trajectory) -> int:
    """Tokens, or characters where there are no token ids."""
    if isinstance(item, Trajectory):
        return len(item)
    content = item.content
    if isinstance(content, Tokens):
        return len(content.ids)
    if isinstance(content, Text):
        return len(content.prompt) + len(content.completion)
    return sum(len(message.content) for message in content)
