"""Imports, exports and checks requested by the drawer. Each runs in a separate process; errors are a single line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from actfocus_core.errors import ActFocusError
from actfocus_core.interop import recognise
from actfocus_core.interop.exporting import SUFFIXES
from actfocus_core.interop.importing import run_name
from actfocus_core.listing import Listing
from actfocus_core.policy.loading import NAMES, available_policies
from actfocus_core.runs import Run, free_path, slug
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.data.listings import Listings, asked
from actfocus_studio.data.message import Message
from actfocus_studio.data.models import cached_tokenizers
from actfocus_studio.data.schema import JobStatus
from actfocus_studio.data.view import Filter, View
from actfocus_studio.jobs.worker import Worker
from actfocus_studio.panels.import_export.preview import ImportSettings, PreviewProgress, Previews
from actfocus_studio.server.uploads import SEND, check, transfers

ExportFormat = Literal["parquet", "jsonl", "csv", "html", "advantages"]
ExportPart = Literal["trajectory", "group", "step", "run", "list"]
EXPORTS: dict[ExportFormat, str] = {
    "parquet": "Parquet",
    "jsonl": "JSONL",
    "csv": "CSV, one row per token",
    "html": "HTML page",
    "advantages": "Weighted advantages (JSONL)",
}
PARTS: dict[ExportPart, str] = {
    "trajectory": "this trajectory",
    "group": "this group",
    "step": "this step",
    "run": "the whole run",
    "list": "the list of the Rollouts tab",
}
IDS_MAX = 5000
"""Rollouts of a list that are exported: each is an argument of the command."""
SHOWN, MESSAGE_MAX = 120, 1000
"""Maximum length of an example's name, and of a finding's message, in characters."""
FILTER_OPTIONS: dict[Filter, list[str]] = {
    "all": [],
    "success": ["--success"],
    "failure": ["--failure"],
    "malformed": ["--malformed"],
}


class UploadedFile(Message):
    """The format of an uploaded file, and what is needed to read it."""

    name: str
    bytes: int
    rollouts: int | None
    """Lines or rows; each holds at most one rollout. Null: a file of this machine, which was not counted."""
    format: str
    needs_tokenizer: bool
    tokenizers: list[str]


class FindingExample(Message):
    name: str
    trajectory: str
    """The one to open; of a group, its first."""


class CheckFinding(Message):
    """A problem of a run, and how often it was found."""

    check: str
    severity: Literal["error", "warning", "info"]
    message: str
    count: int
    of: int
    examples: list[FindingExample]


class CheckReport(Message):
    """The report of ``actfocus doctor``."""

    run: str
    """The name under which the run is listed."""
    healthy: bool
    trajectories: int
    tokens: int
    findings: list[CheckFinding]


class ImportedRun(Message):
    """What an import made of a file."""

    run: str
    format: str
    approximate: bool
    trajectories: int
    groups: int
    tokens: int
    action_tokens: int
    spans: str
    """The span rule."""
    action_tokens_by_rule: dict[str, int]
    """In the first rollouts, by which a rule is chosen."""
    ticket: str
    """Of the file, which can be imported again in another way."""


class ExportedFile(Message):
    """A file that can be downloaded."""

    url: str
    name: str
    rollouts: int


class ExchangeProgress(Message):
    """The last import, export or check; once it is done, its result."""

    job: JobStatus
    report: CheckReport | None = None
    imported: ImportedRun | None = None
    file: ExportedFile | None = None


class ImportExport(Worker):
    """At most one running import, export or check, and the result of the last one."""

    def __init__(self, catalog: Catalog, listings: Listings, tokenizers: Sequence[str] = ()):
        super().__init__(
            "an import, export or check is already running, possibly started from another page; wait for it or cancel it"
        )
        self.catalog, self._listings, self._extra = catalog, listings, tuple(tokenizers)
        self._about = ("", "", "")
        """Id of the job, its kind (import, export or check), and the ticket of its file."""
        self.previews = Previews()
        self.waiting: list[str] = []
        """Tickets of the files that the command line named and that need a person's choice."""

    def wait_for(self, paths: Sequence[Path]) -> None:
        """Offer files or folders of this machine, which the page shows as if they had been dropped onto it."""
        self.waiting = [transfers().lend(path) for path in paths]

    def inspect(self, ticket: str, run: str) -> UploadedFile:
        """Look at an uploaded file. Raises ActFocusError for one that cannot be imported; it is deleted.

        ``run``: the run whose tokenizer is offered first.
        """
        path = transfers().received(ticket)
        is_lent = transfers().is_lent(ticket)
        try:
            # The limits of a page are for what others send.
            count, format = None if is_lent else check(path), recognise(path)
        except ActFocusError as error:
            if not is_lent:
                transfers().drop(ticket)
            raise ActFocusError(_bare(error, path)) from None
        return UploadedFile(
            name=path.name,
            bytes=sum(
                file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()
            ),
            rollouts=count,
            format=format.title,
            needs_tokenizer=format.needs_tokenizer,
            tokenizers=self.tokenizers(run),
        )

    def start_preview(self, ticket: str, settings: ImportSettings) -> PreviewProgress:
        """Read the first rollouts of a file and store nothing. Raises ActFocusError for invalid settings."""
        path = transfers().received(ticket)
        return self.previews.start(path, _called(path, ticket), settings.options(self.tokenizers()))

    def start_import(self, ticket: str, settings: ImportSettings) -> ExchangeProgress:
        """Import a file. It is kept, since it may be imported again. Raises ActFocusError for invalid settings."""
        path = transfers().received(ticket)
        out = free_path(self.catalog.runs_dir, run_name(path))
        arguments = ["import", "auto", _called(path, ticket), "--out", str(out.absolute()), "--json"]
        options = settings.options(self.tokenizers())
        return self._begin("import", ticket, [*arguments, *options], out, cwd=path.parent)

    def start_check(self, name: str) -> ExchangeProgress:
        """Check a run."""
        path = self.catalog.open(name).path
        return self._begin("check", "", ["doctor", str(path), "--json"], path, fine=(0, 1))

    def start_export(self, view: View, format: ExportFormat, part: ExportPart, filter: Filter) -> ExchangeProgress:
        """Export a part of the view's run, under its setting. Raises ActFocusError for a trajectory that is not there."""
        run = self.catalog.open(view.run)
        if part == "list":
            word, selection = "list", [*FILTER_OPTIONS[filter], *listed(self._listings.get(run, view), view)]
        else:
            word, selection = selected(run, view.trajectory, part, filter)
        ticket, out = transfers().offer(f"{run.name}-{word}{SUFFIXES[format]}")
        options = ["--format", format, "--out", str(out), "--json"]
        return self._begin("export", ticket, ["export", str(run.path), *options, *selection, *_weights(view)], out)

    def look(self) -> ExchangeProgress:
        """The progress of the job, and its result once it is done."""
        status, result, (id, kind, ticket) = self.status(), self.result(), self._about
        job = JobStatus(**vars(status))
        if id != status.id:
            return ExchangeProgress(job=job)
        if status.state != "done" or result is None:
            return ExchangeProgress(job=job)
        if kind == "export":
            name, rollouts = Path(result["file"]).name, result["trajectories"]
            return ExchangeProgress(job=job, file=ExportedFile(url=f"{SEND[1:]}{ticket}", name=name, rollouts=rollouts))
        run = Run.open(result["run"])
        name = self._listed_name(run)
        if kind == "check":
            return ExchangeProgress(job=job, report=_report(run, name, result))
        more = {"run": name, "ticket": ticket, "action_tokens_by_rule": result.get("action_tokens_by_rule", {})}
        imported = {field: result[field] for field in ImportedRun.model_fields if field not in more}
        return ExchangeProgress(
            job=job, report=_report(run, name, result["doctor"]), imported=ImportedRun(**imported, **more)
        )

    def tokenizers(self, first: str = "") -> list[str]:
        """Tokenizers that are here: those of the command line, of the listed runs, the installed ones, and the hub's cache.

        ``first``: the run whose tokenizer is preferred.
        """
        of_run = {name: _tokenizer(path) for name, path in self.catalog.paths().items()}
        installed = available_policies()
        names = [*self._extra, of_run.get(first), *installed, *of_run.values(), *cached_tokenizers()]
        return list(dict.fromkeys(name for name in names if name and (name not in NAMES or name in installed)))

    def _begin(self, kind: str, ticket: str, arguments: list[str], out: Path, **how) -> ExchangeProgress:
        self._about = (self.launch(arguments, out, **how).id, kind, ticket)
        return self.look()

    def _listed_name(self, run: Run) -> str:
        """The name under which the run is listed."""
        return next((name for name, path in self.catalog.paths().items() if path == run.path), run.name)


def selected(run: Run, trajectory: str, part: ExportPart, filter: Filter) -> tuple[str, list[str]]:
    """A part of a run around a trajectory, as part of a file name and as options of ``actfocus export``."""
    options = FILTER_OPTIONS[filter]
    word = f"{part}-{filter}" if filter != "all" else part
    if part == "run":
        return word, options
    index = run.index()
    row = index[index["id"] == trajectory]
    if row.empty:
        raise ActFocusError("the trajectory is not in this run; choose another one")
    row = row.iloc[0]
    if part == "trajectory":
        return slug(str(row["id"]))[:80], [f"--id={row['id']}"]
    options = [*options, "--step", str(int(row["step"]))]
    return word, [*options, f"--group={row['group']}"] if part == "group" else options


def listed(listing: Listing, view: View) -> list[str]:
    """The rollouts that a view lists, as options of ``actfocus export``. Raises ActFocusError where there are none or too many."""
    wanted = asked(listing, view)
    if wanted.query is None or wanted.need:
        raise ActFocusError(
            f"the list: {wanted.where or wanted.search or 'it is not computed yet; open the Rollouts tab'}"
        )
    ids = listing.ids(wanted.query)
    if not 0 < len(ids) <= IDS_MAX:
        raise ActFocusError(f"the list has {len(ids):,} rollouts; an export takes 1 to {IDS_MAX:,}, or the whole run")
    return [f"--id={id}" for id in ids]


def _weights(view: View) -> list[str]:
    """The setting of the sidebar and the reference, as options of ``actfocus export``."""
    reference = [f"--reference={view.reference}"] if view.reference else []
    setting = ["--alpha", str(view.alpha), "--beta", str(view.beta), "--signal", view.signal]
    return ["--scheme", "actfocus", *setting, *reference]


def _report(run: Run, name: str, report: dict) -> CheckReport:
    """The report of ``actfocus doctor``, with a trajectory to open for each example."""
    index = run.index()
    of_group = dict(zip(reversed(index["group"].tolist()), reversed(index["id"].tolist())))
    trajectory_of = {**of_group, **{id: id for id in index["id"]}}
    return CheckReport(
        run=name,
        healthy=report["healthy"],
        trajectories=report["trajectories"],
        tokens=report["tokens"],
        findings=[
            CheckFinding(
                check=finding["check"],
                severity=finding["severity"],
                message=finding["message"][:MESSAGE_MAX],
                count=finding["count"],
                of=finding["of"],
                examples=[
                    FindingExample(name=example[:SHOWN], trajectory=trajectory_of[example])
                    for example in finding["examples"]
                    if example in trajectory_of
                ],
            )
            for finding in report["findings"]
        ],
    )


def _tokenizer(path: Path) -> str | None:
    """The tokenizer of a run's policy; None where the run does not name one that can be loaded."""
    try:
        name = Run.open(path).metadata.tokenizer
    except ActFocusError:
        return None
    return name if name and name.isprintable() and not name.startswith("-") and _loads(name) else None


def _loads(name: str) -> bool:
    """Whether ``load_tokenizer`` can load it offline: a known name, or a folder with a tokenizer."""
    return name in NAMES or (Path(name) / "tokenizer.json").is_file()


def _called(path: Path, ticket: str) -> str:
    """How the command calls a file from its folder: errors and the run then do not show where uploads lie."""
    return str(path) if transfers().is_lent(ticket) else path.name


def _bare(error: ActFocusError, path: Path) -> str:
    """The message with the name of the file instead of its path."""
    return str(error).replace(f"{path.parent}/", "")
