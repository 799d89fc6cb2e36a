"""What the import and export drawer asks for: each is a process of its own, and bad input one clear line."""

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
"""Characters of a pattern."""
EXPORTS = {
    "parquet": "Parquet",
    "jsonl": "JSONL",
    "csv": "CSV, a row a token",
    "html": "HTML page",
    "advantages": "weighted advantages",
}
PARTS = {"trajectory": "this trajectory", "group": "this group", "step": "this step", "run": "the whole run"}
SHOWN = 120
"""Characters of an example's name."""


class ImportExport(Worker):
    """The one import, export or check that may run, and what came of the last one."""

    def __init__(self, catalog: Catalog, tokenizers: Sequence[str] = ()):
        super().__init__(
            "an import, export or check is already running, perhaps from another page; wait for it or cancel it"
        )
        self.catalog, self._given = catalog, tuple(tokenizers)
        self._about = ("", "", "")
        """The job's id, import, export or check, and the ticket of its file."""

    # --- what a page asks for ------------------------------------------------------------

    def handle(self, asked: dict) -> dict:
        """Answer a request of the page. Raises ActFocusError where it is not there or makes no sense."""
        op = asked.get("op")
        work = self._OPS.get(op) if isinstance(op, str) else None
        if work is None:
            raise ActFocusError("the page asked for something unknown; reload it")
        return work(self, asked)

    def _announce(self, asked: dict) -> dict:
        return {"ticket": transfers().announce(asked.get("name"), asked.get("size"))}

    def _inspect(self, asked: dict) -> dict:
        """What was dropped: its format, and what is needed to read it."""
        path = transfers().received(asked.get("ticket"))
        try:
            count, format = check(path), recognise(path)
        except ActFocusError as error:
            transfers().drop(asked["ticket"])
            raise ActFocusError(_bare(error, path)) from None
        return {
            "file": {
                "name": path.name,
                "bytes": path.stat().st_size,
                "rollouts": count,
                "format": format.title,
                "needs_tokenizer": format.needs_tokenizer,
                "tokenizers": self.tokenizers(asked.get("run")),
            }
        }

    def _import(self, asked: dict) -> dict:
        path = transfers().received(asked.get("ticket"))
        tokenizer, rule = asked.get("tokenizer"), _rule(asked.get("spans"))
        if tokenizer is not None and tokenizer not in self.tokenizers():
            raise ActFocusError(
                f"tokenizer: must be one of {', '.join(self.tokenizers())}; others are given to the "
                "command, `actfocus app --tokenizer NAME`"
            )
        out = free_path(self.catalog.runs_dir, run_name(path))
        self._begin(
            "import",
            asked["ticket"],
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
        return self._look(asked)

    def _check(self, asked: dict) -> dict:
        run = self.catalog.open(_text(asked.get("run"), "run"))
        self._begin("check", "", ["doctor", str(run.path), "--json"], run.path, fine=(0, 1))
        return self._look(asked)

    def _export(self, asked: dict) -> dict:
        run, format = self.catalog.open(_text(asked.get("run"), "run")), asked.get("format")
        if format not in EXPORTS:
            raise ActFocusError(f"format: must be one of {', '.join(EXPORTS)}")
        part, selection = _selection(run, asked)
        ticket, out = transfers().offer(f"{run.name}-{part}{SUFFIXES[format]}")
        self._begin(
            "export",
            ticket,
            ["export", str(run.path), "--format", format, "--out", str(out), "--json", *selection, *_weights(asked)],
            out,
        )
        return self._look(asked)

    def _look(self, asked: dict) -> dict:
        """How far it is, and once it is done what came of it."""
        status, result, (id, kind, ticket) = self.status(), self.result(), self._about
        if id != status.id:
            kind = ""
        found = {"job": {**asdict(status), "kind": kind}}
        if status.state != "running" and kind == "import":
            transfers().drop(ticket)
        if status.state != "done" or result is None or not kind:
            return found
        if kind == "export":
            found["file"] = {
                "url": f"{SEND[1:]}{ticket}",
                "name": Path(result["file"]).name,
                "rollouts": result["trajectories"],
            }
            return found
        report = result["doctor"] if kind == "import" else result
        try:
            run = Run.open(result["run"])
            found["report"] = _report(run, report)
            found["run"] = self._name(run)
        except ActFocusError as error:
            found["error"] = " ".join(str(error).split())
        if kind == "import":
            found["imported"] = {
                name: result[name]
                for name in ("format", "approximate", "trajectories", "groups", "tokens", "action_tokens")
            }
        return found

    def _cancel(self, asked: dict) -> dict:
        self.cancel()
        return self._look(asked)

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
        """Those a page may choose: given at the start, of the runs that are here, the product's own.

        ``first``: the run whose own stands first.
        """
        own = {name: _tokenizer(path) for name, path in self.catalog.paths().items()}
        here = available_policies()
        names = [*self._given, own.get(first) if isinstance(first, str) else None, *here, *own.values()]
        return list(dict.fromkeys(name for name in names if name and (name not in NAMES or name in here)))

    # --- the process ---------------------------------------------------------------------

    def _begin(self, kind: str, ticket: str, arguments: list[str], out: Path, **how) -> None:
        self._about = (self.launch(arguments, out, **how).id, kind, ticket)

    def _name(self, run: Run) -> str:
        """The run's name in the list, by which pages open it."""
        return next((name for name, path in self.catalog.paths().items() if path == run.path), run.name)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > NAME_MAX:
        raise ActFocusError(f"{name}: must be a name from the page")
    return value


def _rule(value: object) -> str:
    """A span rule's name, or a pattern that is one."""
    if not isinstance(value, str) or not (value in RULES or value.startswith(PATTERN)):
        raise ActFocusError(f"span rule: must be one of {', '.join(RULES)}, or a pattern")
    if len(value) > len(PATTERN) + PATTERN_MAX:
        raise ActFocusError(f"span rule: the pattern is longer than {PATTERN_MAX} characters")
    return span_rule(value).name


def _selection(run: Run, asked: dict) -> tuple[str, list[str]]:
    """A word for the file's name, and the command's options, for what of the run is wanted."""
    part, filter = asked.get("part"), asked.get("filter", "all")
    if part not in PARTS or filter not in FILTERS:
        raise ActFocusError(f"selection: must be one of {', '.join(PARTS)}, and {', '.join(FILTERS)}")
    options = {"all": [], "success": ["--success"], "failure": ["--failure"], "malformed": ["--malformed"]}[filter]
    word = f"{part}-{filter}" if filter != "all" else part
    if part == "run":
        return word, options
    index = run.index()
    row = index[index["id"] == _text(asked.get("trajectory"), "trajectory")]
    if row.empty:
        raise ActFocusError("the trajectory is not in this run; choose another one")
    row = row.iloc[0]
    if part == "trajectory":
        return slug(str(row["id"]))[:80], [f"--id={row['id']}"]
    options = [*options, "--step", str(int(row["step"]))]
    return word, [*options, f"--group={row['group']}"] if part == "group" else options


def _weights(asked: dict) -> list[str]:
    """The setting of the left bar, and whose signals."""
    view = View.parse(asked)
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
    """The doctor's report with a trajectory to open for each example."""
    index = run.index()
    of_group = dict(zip(reversed(index["group"].tolist()), reversed(index["id"].tolist())))
    ids = set(index["id"])
    findings = []
    for found in report["findings"]:
        links = [
            {"name": name[:SHOWN], "trajectory": name if name in ids else of_group.get(name)}
            for name in found["examples"]
        ]
        findings.append(
            {**found, "message": found["message"][:1000], "examples": [link for link in links if link["trajectory"]]}
        )
    return {**report, "findings": findings}


def _tokenizer(path: Path) -> str | None:
    """The tokenizer of a run's policy, as far as the run names one."""
    try:
        named = Run.open(path).metadata.tokenizer
    except ActFocusError:
        return None
    return named if named and named.isprintable() and not named.startswith("-") and _loads(named) else None


def _loads(name: str) -> bool:
    """Whether ``load_tokenizer`` can have it without asking the network: a name, a folder with one."""
    return name in NAMES or (Path(name) / "tokenizer.json").is_file()


def _bare(error: ActFocusError, path: Path) -> str:
    """The message with the file's name in place of where it lies."""
    return str(error).replace(f"{path.parent}/", "")
