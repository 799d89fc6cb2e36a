"""Imports, exports and checks requested by the drawer. Each runs in a separate process; errors are a single line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.interop import recognise
from actfocus_core.interop.exporting import SUFFIXES
from actfocus_core.interop.importing import run_name
from actfocus_core.policy.loading import NAMES, available_policies
from actfocus_core.runs import Run, free_path, slug
from actfocus_core.signals import SIGNALS
from actfocus_core.spans import PATTERN, RULES, span_rule
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.data.view import FILTERS, NAME_MAX, View
from actfocus_studio.jobs.worker import Worker
from actfocus_studio.server.uploads import SEND, TOKENS_MAX, check, transfers

PATTERN_MAX = 200
"""Maximum length of a pattern in characters."""
EXPORTS = {
    "parquet": "Parquet",
    "jsonl": "JSONL",
    "csv": "CSV, one row per token",
    "html": "HTML page",
    "advantages": "Weighted advantages (JSONL)",
}
PARTS = {"trajectory": "this trajectory", "group": "this group", "step": "this step", "run": "the whole run"}
SHOWN = 120
"""Maximum length of an example's name in characters."""


class ImportExport(Worker):
    """At most one running import, export or check, and the result of the last one."""

    def __init__(self, catalog: Catalog, tokenizers: Sequence[str] = ()):
        super().__init__(
            "an import, export or check is already running, possibly started from another page; wait for it or cancel it"
        )
        self.catalog, self._extra = catalog, tuple(tokenizers)
        self._about = ("", "", "")
        """Id of the job, its kind (import, export or check), and the ticket of its file."""

    # --- requests ------------------------------------------------------------------------

    def handle(self, request: dict) -> dict:
        """Answer a request of the page. Raises ActFocusError for an unknown operation or invalid values."""
        op = request.get("op")
        work = self._OPS.get(op) if isinstance(op, str) else None
        if work is None:
            raise ActFocusError("unknown operation; reload the page")
        return work(self, request)

    def _announce(self, request: dict) -> dict:
        return {"ticket": transfers().announce(request.get("name"), request.get("size"))}

    def _inspect(self, request: dict) -> dict:
        """The format of an uploaded file, and what is needed to read it."""
        path = transfers().received(request.get("ticket"))
        try:
            count, format = check(path), recognise(path)
        except ActFocusError as error:
            transfers().drop(request["ticket"])
            raise ActFocusError(_bare(error, path)) from None
        return {
            "file": {
                "name": path.name,
                "bytes": path.stat().st_size,
                "rollouts": count,
                "format": format.title,
                "needs_tokenizer": format.needs_tokenizer,
                "tokenizers": self.tokenizers(request.get("run")),
            }
        }

    def _import(self, request: dict) -> dict:
        path = transfers().received(request.get("ticket"))
        tokenizer, rule = request.get("tokenizer"), _rule(request.get("spans"))
        if tokenizer is not None and tokenizer not in self.tokenizers():
            raise ActFocusError(
                f"tokenizer: must be one of {', '.join(self.tokenizers())}; offer others with "
                "`actfocus app --tokenizer NAME`"
            )
        out = free_path(self.catalog.runs_dir, run_name(path))
        self._begin(
            "import",
            request["ticket"],
            [
                "import",
                "auto",
                path.name,
                "--out",
                str(out),
                "--spans",
                rule,
                "--json",
                "--max-tokens",
                str(TOKENS_MAX),
                *(["--tokenizer", tokenizer] if tokenizer else []),
            ],
            out,
            cwd=path.parent,
        )
        return self._look(request)

    def _check(self, request: dict) -> dict:
        run = self.catalog.open(_text(request.get("run"), "run"))
        self._begin("check", "", ["doctor", str(run.path), "--json"], run.path, fine=(0, 1))
        return self._look(request)

    def _export(self, request: dict) -> dict:
        run, format = self.catalog.open(_text(request.get("run"), "run")), request.get("format")
        if format not in EXPORTS:
            raise ActFocusError(f"format: must be one of {', '.join(EXPORTS)}")
        part, selection = _selection(run, request)
        ticket, out = transfers().offer(f"{run.name}-{part}{SUFFIXES[format]}")
        self._begin(
            "export",
            ticket,
            ["export", str(run.path), "--format", format, "--out", str(out), "--json", *selection, *_weights(request)],
            out,
        )
        return self._look(request)

    def _look(self, request: dict) -> dict:
        """The progress of the job, and its result once it is done."""
        status, result, (id, kind, ticket) = self.status(), self.result(), self._about
        if id != status.id:
            kind = ""
        answer = {"job": {**asdict(status), "kind": kind}}
        if status.state != "running" and kind == "import":
            transfers().drop(ticket)
        if status.state != "done" or result is None or not kind:
            return answer
        if kind == "export":
            answer["file"] = {
                "url": f"{SEND[1:]}{ticket}",
                "name": Path(result["file"]).name,
                "rollouts": result["trajectories"],
            }
            return answer
        report = result["doctor"] if kind == "import" else result
        try:
            run = Run.open(result["run"])
            answer["report"] = _report(run, report)
            answer["run"] = self._name(run)
        except ActFocusError as error:
            answer["error"] = " ".join(str(error).split())
        if kind == "import":
            answer["imported"] = {
                name: result[name]
                for name in ("format", "approximate", "trajectories", "groups", "tokens", "action_tokens")
            }
        return answer

    def _cancel(self, request: dict) -> dict:
        self.cancel()
        return self._look(request)

    _OPS = {
        "announce": _announce,
        "inspect": _inspect,
        "import": _import,
        "check": _check,
        "export": _export,
        "look": _look,
        "cancel": _cancel,
    }

    def tokenizers(self, first: object = None) -> list[str]:
        """Tokenizers that a page may choose: those of the command line, of the listed runs, and the installed ones.

        ``first``: the run whose tokenizer is preferred.
        """
        of_run = {name: _tokenizer(path) for name, path in self.catalog.paths().items()}
        installed = available_policies()
        names = [*self._extra, of_run.get(first) if isinstance(first, str) else None, *installed, *of_run.values()]
        return list(dict.fromkeys(name for name in names if name and (name not in NAMES or name in installed)))

    # --- the process ---------------------------------------------------------------------

    def _begin(self, kind: str, ticket: str, arguments: list[str], out: Path, **how) -> None:
        self._about = (self.launch(arguments, out, **how).id, kind, ticket)

    def _name(self, run: Run) -> str:
        """The name under which the run is listed."""
        return next((name for name, path in self.catalog.paths().items() if path == run.path), run.name)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > NAME_MAX:
        raise ActFocusError(f"{name}: must be a name from the page")
    return value


def _rule(value: object) -> str:
    """A valid span rule: its name, or a pattern."""
    if not isinstance(value, str) or not (value in RULES or value.startswith(PATTERN)):
        raise ActFocusError(f"span rule: must be one of {', '.join(RULES)}, or a pattern")
    if len(value) > len(PATTERN) + PATTERN_MAX:
        raise ActFocusError(f"span rule: the pattern is longer than {PATTERN_MAX} characters")
    return span_rule(value).name


def _selection(run: Run, request: dict) -> tuple[str, list[str]]:
    """The requested selection, as part of a file name and as options of ``actfocus export``."""
    part, filter = request.get("part"), request.get("filter", "all")
    if part not in PARTS or filter not in FILTERS:
        raise ActFocusError(f"selection: must be one of {', '.join(PARTS)}, and {', '.join(FILTERS)}")
    options = {"all": [], "success": ["--success"], "failure": ["--failure"], "malformed": ["--malformed"]}[filter]
    word = f"{part}-{filter}" if filter != "all" else part
    if part == "run":
        return word, options
    index = run.index()
    row = index[index["id"] == _text(request.get("trajectory"), "trajectory")]
    if row.empty:
        raise ActFocusError("the trajectory is not in this run; choose another one")
    row = row.iloc[0]
    if part == "trajectory":
        return slug(str(row["id"]))[:80], [f"--id={row['id']}"]
    options = [*options, "--step", str(int(row["step"]))]
    return word, [*options, f"--group={row['group']}"] if part == "group" else options


def _weights(request: dict) -> list[str]:
    """The setting of the sidebar and the reference, as options of ``actfocus export``."""
    view = View.parse(request)
    reference = [f"--reference={view.reference}"] if view.reference else []
    if view.signal not in SIGNALS:
        raise ActFocusError(f"signal: must be one of {', '.join(SIGNALS)}")
    return [
        "--scheme",
        "actfocus",
        "--alpha",
        str(view.alpha),
        "--beta",
        str(view.beta),
        "--signal",
        view.signal,
        *reference,
    ]


def _report(run: Run, report: dict) -> dict:
    """The report of ``actfocus doctor``, with a trajectory to open for each example."""
    index = run.index()
    of_group = dict(zip(reversed(index["group"].tolist()), reversed(index["id"].tolist())))
    ids = set(index["id"])
    findings = []
    for finding in report["findings"]:
        links = [
            {"name": name[:SHOWN], "trajectory": name if name in ids else of_group.get(name)}
            for name in finding["examples"]
        ]
        findings.append(
            {
                **finding,
                "message": finding["message"][:1000],
                "examples": [link for link in links if link["trajectory"]],
            }
        )
    return {**report, "findings": findings}


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


def _bare(error: ActFocusError, path: Path) -> str:
    """The message with the name of the file instead of its path."""
    return str(error).replace(f"{path.parent}/", "")
