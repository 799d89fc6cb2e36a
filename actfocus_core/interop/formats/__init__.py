"""The formats that can be imported, and the detection of the format of a file or folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.formats import (
    areal,
    art,
    atif,
    atropos,
    chat,
    completions,
    inspect_ai,
    miles,
    native,
    nemo_gym,
    nemo_rl,
    otel,
    prime_rl,
    prompt_response,
    ragen,
    rllm,
    skyrl,
    swe_agent,
    tau_bench,
    tinker,
    tokens,
    trace_stream,
    trackio,
    trl,
    verifiers,
    verl,
)
from actfocus_core.interop.formats.preparation import (
    NOT_NEEDED,
    READ_ALONG,
    Companions,
    Prepare,
    Read,
    no_companions,
    none_beside,
    nothing_more,
)
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import DataFile, read_records
from actfocus_core.interop.reading.content import (
    DATA,
    PICKLES,
    Content,
    NeverLoaded,
    data_suffix,
    is_empty,
    refuse_pickle,
    sniff,
)
from actfocus_core.interop.reading.folders import (
    UNREADABLE,
    data_file,
    visible_files,
    without_copies,
    without_repeated,
)
from actfocus_core.interop.reading.records import first_fields
from actfocus_core.interop.samples import LeftOut, Sample
from actfocus_core.trajectory import Trajectory

UNREADABLE_RECORDS = "records that cannot be read"
OTHER_FORMATS = "files of another format"
EMPTY = "empty files"
ALONE = "files that are merged into rollouts, of which there are none beside them"
NEVER_LOADED = "pickles and other dumps, which are never loaded"


@dataclass(frozen=True)
class Format:
    """One file format of rollouts."""

    name: str
    title: str
    contents: tuple[Content, ...]
    """What a file of this format contains"""
    matches: Callable[[dict[str, Any]], bool]
    """Whether a record with these fields has this format."""
    samples: Read
    needs_tokenizer: bool = True
    prepared: Prepare | None = None
    """For formats of which a record cannot be interpreted alone: reads what else it needs from the files of an import"""
    companions: Companions = no_companions
    beside: Callable[[dict[str, Any]], str | None] = none_beside
    """What a file with these fields in its first record is, if the program writes it beside the rollouts: READ_ALONG if it
    is one of ``companions``, NOT_NEEDED, or what it counts as in ``omissions``; None for any other file"""
    chooses_rewards: bool = False
    """Whether the user may name the reward columns"""
    finish: Callable[[Omissions], None] = nothing_more
    """As ``Prepared.finish``"""

    def read(
        self, file: DataFile, omissions: Omissions, on_bytes: Callable[[float], None] | None = None
    ) -> Iterator[Sample | Trajectory]:
        """Yield the rollouts of one file; what is left out or cannot be read is counted in ``omissions``.

        ``on_bytes(count)`` receives the number of bytes read since its last call. A record is read completely or not at
        all. Raises ActFocusError if the file is neither JSON nor Parquet.
        """
        for record in read_records(file.path, omissions, on_bytes):
            try:
                items = list(self.samples(record, file))
            except ActFocusError as error:
                omissions.refuse(UNREADABLE_RECORDS, error)
                continue
            for item in items:
                if isinstance(item, LeftOut):
                    omissions.add(item.what, record.where)
                else:
                    yield item

    def prepare(
        self, files: list[DataFile], reward_columns: Sequence[str] | None, omissions: Omissions
    ) -> tuple[Format, dict[str, Any]]:
        """The format configured for these files, and entries for the config of run.json.

        Raises ActFocusError for reward columns that do not exist, or if the format has no reward columns to choose from.
        """
        if reward_columns is not None and not self.chooses_rewards:
            raise ActFocusError(
                f"{files[0].path}: {self.title} defines the reward; --reward-columns is for "
                f"{', '.join(f.title for f in FORMATS.values() if f.chooses_rewards)}"
            )
        if self.prepared is None:
            return self, {}
        found = self.prepared(files, reward_columns, omissions)
        return replace(self, samples=found.samples, finish=found.finish), found.config

    def sources(self, files: Iterable[Path]) -> list[Path]:
        """The files and their companions, each once: all that an import of these files reads."""
        return list(dict.fromkeys(path for file in files for path in (file, *self.companions(file))))


JSON: tuple[Content, ...] = ("json",)
PARQUET: tuple[Content, ...] = ("parquet",)
ANY = (*JSON, *PARQUET)
INSPECT: tuple[Content, ...] = (*JSON, "inspect")
FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        # The first match is used, so the more specific formats come first.
        Format("jsonl", "ActFocus JSONL", JSON, native.matches, native.trajectories, needs_tokenizer=False),
        Format("parquet", "ActFocus Parquet", PARQUET, native.matches, native.trajectories, needs_tokenizer=False),
        Format("prime-rl", "prime-rl token export", JSON, prime_rl.matches, prime_rl.samples),
        Format(
            "verifiers",
            "verifiers traces or results",
            JSON,
            verifiers.matches,
            verifiers.samples,
            prepared=trace_stream.prepared,
            companions=trace_stream.companions,
            beside=trace_stream.beside,
        ),
        Format("ragen", "RAGEN evaluation", JSON, ragen.matches, ragen.samples),
        Format("areal", "AReaL rollout dump", JSON, areal.matches, areal.samples),
        Format("verl", "verl rollout_data_dir", JSON, verl.matches, verl.samples),
        Format("skyrl", "SkyRL evaluation dump", JSON, skyrl.matches, skyrl.samples),
        Format(
            "trl", "TRL completions", PARQUET, trl.matches, trl.samples, prepared=trl.prepared, chooses_rewards=True
        ),
        Format(
            "miles",
            "miles dashboard_columns",
            PARQUET,
            miles.matches,
            miles.samples,
            prepared=miles.prepared,
            companions=miles.companions,
            beside=miles.beside,
        ),
        Format("nemo-rl", "NeMo-RL train_data_step", JSON, nemo_rl.matches, nemo_rl.samples),
        Format("tokens", "token ids with a mask", ANY, tokens.matches, tokens.samples),
        Format("nemo-gym", "NeMo-Gym rollouts", JSON, nemo_gym.matches, nemo_gym.samples),
        Format("atropos", "Atropos groups", JSON, atropos.matches, atropos.samples),
        Format("tau-bench", "tau-bench trajectories or tau2-bench results", JSON, tau_bench.matches, tau_bench.samples),
        Format("swe-agent", "SWE-agent or mini-swe-agent trajectory", JSON, swe_agent.matches, swe_agent.samples),
        Format("trackio", "trackio traces", ANY, trackio.matches, trackio.samples),
        Format(
            "tinker",
            "tinker-cookbook captured calls or trajectories",
            JSON,
            tinker.matches,
            tinker.samples,
            prepared=tinker.prepared,
            companions=tinker.companions,
            beside=tinker.beside,
        ),
        Format("rllm", "rLLM episodes", JSON, rllm.matches, rllm.samples),
        Format("art", "OpenPipe ART trajectories", ANY, art.matches, art.samples),
        Format(
            "atif",
            "Harbor trajectories (ATIF)",
            JSON,
            atif.matches,
            atif.samples,
            companions=atif.companions,
            beside=atif.beside,
        ),
        Format(
            "inspect",
            "Inspect logs",
            INSPECT,
            inspect_ai.matches,
            inspect_ai.samples,
            prepared=inspect_ai.prepared,
            chooses_rewards=True,
        ),
        Format("otel", "OpenTelemetry spans", JSON, otel.matches, otel.samples, prepared=otel.prepared),
        Format(
            "completions",
            "logged calls of a chat completions or Responses API",
            JSON,
            completions.matches,
            completions.samples,
            prepared=completions.prepared,
        ),
        Format("prompt-response", "prompt and response", ANY, prompt_response.matches, prompt_response.samples),
        Format("chat", "chat JSONL", ANY, chat.matches, chat.samples),
    )
}


def get_format(name: str) -> Format:
    """A format by its name. Raises ActFocusError for an unknown one."""
    if name not in FORMATS:
        raise ActFocusError(f"unknown format {name!r}; choose one of auto, {', '.join(FORMATS)}")
    return FORMATS[name]


def recognise(path: str | Path) -> Format:
    """The format of a file, or of the first file in a folder that has a known format.

    Reads the first readable record of each file. Raises ActFocusError if no file has a known format, with the reason of
    the first file: its error, or the fields of its first record.
    """
    path = Path(path)
    if not _is_folder(path):
        return _format_of(path)
    errors: list[tuple[Path, ActFocusError]] = []
    for file in visible_files(path, Omissions()):
        try:
            return _format_of(file)
        except ActFocusError as error:
            errors.append((file, error))
    # What is named as rollouts are comes before what happens to lie beside them.
    usual = [error for file, error in errors if data_suffix(file) in (*DATA, *PICKLES)]
    raise next(iter([*usual, *(error for _, error in errors)]), _no_file(path, "rollouts"))


def data_files(path: Path, format: Format, omissions: Omissions | None = None) -> list[DataFile]:
    """The file itself, or the files of a folder that have this format, in natural order.

    What is not read of a folder is counted in ``omissions``. Raises ActFocusError for a file that cannot be read or
    contains nothing, and for a folder without a file of this format.
    """
    omissions = Omissions() if omissions is None else omissions
    if not _is_folder(path):
        content = sniff(path)
        if content == "empty":
            raise is_empty(path)
        if content not in format.contents:
            readable = " or ".join(map(_title, format.contents))
            raise ActFocusError(f"{path}: contains {_title(content)}; {format.title} is read from {readable}")
        return [data_file(path, path)]
    beside: list[Path] = []
    found = [file for file in visible_files(path, omissions) if _is_read(file, format, omissions, beside)]
    files = [data_file(path, file) for file in without_copies(found, omissions)]
    along = format.sources(found)
    for file in without_copies(beside, omissions):
        if file not in along:
            omissions.add(ALONE, str(file))
    if not files:
        for kind, error in ((UNREADABLE, ActFocusError), (NEVER_LOADED, NeverLoaded)):
            if kind in omissions.examples:
                raise error(omissions.examples[kind])
        raise _no_file(path, format.title)
    return without_repeated(path, files, omissions)


def _is_folder(path: Path) -> bool:
    """Raises ActFocusError if there is neither a file nor a folder."""
    if not path.exists():
        raise ActFocusError(f"{path}: no such file or folder")
    if not path.is_dir() and not path.is_file():
        raise ActFocusError(f"{path}: is neither a file nor a folder")
    return path.is_dir()


def _format_of(file: Path) -> Format:
    """The first format that a file matches. Raises ActFocusError if it cannot be read or its format is unknown."""
    content = sniff(file)
    fields = first_fields(file, content)
    for format in FORMATS.values():
        if content in format.contents and format.matches(fields):
            return format
    for format in FORMATS.values():
        if format.beside(fields) is not None:
            raise ActFocusError(
                f"{file}: is written beside {format.title} and contains no rollouts; import the folder above it"
            )
    shown = ", ".join(sorted(fields)[:8]) or "none"
    raise ActFocusError(
        f"{file}: not a known format (its fields: {shown}); the formats are "
        f'{", ".join(FORMATS)}; name one, or write {{"messages": [...], "reward": ...}} lines'
    )


def _is_read(file: Path, format: Format, omissions: Omissions, beside: list[Path]) -> bool:
    """Whether a file of a folder has this format; otherwise it is counted, or added to ``beside`` if it is to be read
    along."""
    try:
        refuse_pickle(file)
    except ActFocusError as error:
        omissions.add(NEVER_LOADED, str(error))
        return False
    try:
        content = sniff(file)
        # What is written beside rollouts is JSON, or what they are.
        examined = format.contents if format.beside is none_beside else (*format.contents, *JSON)
        fields = first_fields(file, content) if content in examined else {}
        if content in format.contents and format.matches(fields):
            return True
        what = format.beside(fields)
        if what == READ_ALONG:
            beside.append(file)
        elif what != NOT_NEEDED:
            omissions.add(EMPTY if content == "empty" else OTHER_FORMATS if what is None else what, str(file))
    except ActFocusError as error:
        if data_suffix(file) in DATA:
            omissions.refuse(UNREADABLE, error)
        else:
            omissions.add(OTHER_FORMATS, str(error))
    return False


def _no_file(path: Path, title: str) -> ActFocusError:
    return ActFocusError(f"{path}: contains no file of {title}; it must contain JSON or Parquet files")


def _title(content: Content) -> str:
    return {"json": "JSON", "parquet": "Parquet", "inspect": "an Inspect archive", "empty": "nothing"}[content]
