"""The lists of rollouts that pages show and step through."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from actfocus_core.errors import ActFocusError
from actfocus_core.listing import Cache, Listing, Query, Search, Setting
from actfocus_core.paths import user_cache
from actfocus_core.runs import Run
from actfocus_core.runs import stamp as file_stamp
from actfocus_studio.data.cache import LruCache
from actfocus_studio.data.view import KEPT, TUNED, View

OUTCOMES = {"success": "success is true", "failure": "success is false", "unknown": "success is unknown"}
FLAGS = ("malformed", "truncated")
NEEDS = ("text", "values")
"""What a list may need computed first, in the order in which it is computed."""


@dataclass(frozen=True)
class Asked:
    """What a view asks of a list. Where a part of it is wrong, there is a line for that part, and no query."""

    query: Query | None
    """None: it cannot be answered, now or at all."""
    need: str = ""
    """What must be computed first, of NEEDS; empty: nothing."""
    where: str = ""
    search: str = ""
    notes: tuple[str, ...] = ()


@dataclass
class Listings:
    """Recent lists, each for a state of a run's files, two schemes and a reference.

    ``folder``: where computed columns are kept; None: the cache folder of the user, or a temporary one where that cannot be
    written.
    """

    folder: Path | None = None
    _recent: LruCache[Listing] = field(default_factory=lambda: LruCache(6))
    _computed: int = 0

    def __post_init__(self) -> None:
        self.folder = self.folder or _writable()

    def get(self, run: Run, view: View) -> Listing:
        """The list of a run under the settings of a view. Raises ActFocusError for a file that cannot be read."""
        a, b = (setting(view, name) for name in (view.scheme_a, view.scheme_b))
        reference = view.reference if view.reference in run.references() else None
        key = (_stamp(run), a.key, b.key, reference, self._computed)
        return self._recent.get(key, lambda: Listing(run, a, b, reference, Cache.of(run.path, self.folder)))

    def forget(self) -> None:
        """Take what another process has computed into account."""
        self._computed += 1


def setting(view: View, name: str) -> Setting:
    """A scheme with its parameters: ActFocus and its null controls follow the view, others have their defaults."""
    if name == KEPT:
        return Setting(TUNED, view.kept_params())
    return Setting(name, view.scheme_params().get(name.rpartition(":")[2], {}))


def asked(listing: Listing, view: View) -> Asked:
    """What a view asks of a list: its filters, search and order."""
    lines = {"where": "", "search": ""}
    found = None
    try:
        found = search(view)
    except ActFocusError as error:
        lines["search"] = _line(error, "search")
    try:
        listing.needs(Query(where=view.where))
    except ActFocusError as error:
        lines["where"] = _line(error, "where")
    if any(lines.values()):
        return Asked(None, **lines)
    query = Query(" and ".join(filter(None, [_bracketed(view.where), conditions(view)])), found)
    plain = listing.needs(query)
    if plain:
        return Asked(None, need=next(need for need in NEEDS if need in plain))
    try:
        ordered = replace(query, sort=view.sort, descending=view.descending and bool(view.sort))
        needed = listing.needs(ordered)
    except ActFocusError as error:
        return Asked(query, notes=(" ".join(str(error).split()),))
    return Asked(query, need="values") if needed else Asked(ordered)


def conditions(view: View) -> str:
    """The filters of a view beside its own expression, as an expression."""
    only = view.only.split(",")
    found = [" or ".join(text for name, text in OUTCOMES.items() if name in only), *(f for f in FLAGS if f in only)]
    if view.in_step is not None:
        found.append(f"step == {view.in_step}")
    for column, value in (("group", view.in_group), ("env", view.in_env), ("agent", view.in_agent)):
        if value:
            found.append(f"{column} == {json.dumps(value, ensure_ascii=False)}")
    return " and ".join(_bracketed(text) for text in found if text)


def search(view: View) -> Search | None:
    """The search of a view. Raises ActFocusError for an invalid regular expression."""
    return Search(view.search, view.regex, not view.case, view.within or None) if view.search else None


def compute(listing: Listing, need: str, on_progress: Callable[[int, int], None]) -> None:
    """Compute one of NEEDS."""
    (listing.compute if need == "values" else listing.index_text)(on_progress)


def _bracketed(text: str) -> str:
    return f"({text})" if text.strip() else ""


def _line(error: ActFocusError, part: str) -> str:
    return " ".join(str(error).split()).removeprefix(f"{part}: ")


def _stamp(run: Run) -> tuple:
    """A key that changes when a step of the run is added or scored again."""
    files = sorted(run.path.glob("*/step-*"))
    return (run.path, *((file.name, file_stamp(file)) for file in files))


def _writable() -> Path | None:
    """The cache folder of the user where it can be written, else a temporary folder."""
    try:
        folder = user_cache()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):
        return Path(tempfile.mkdtemp(prefix="actfocus-lists-"))
