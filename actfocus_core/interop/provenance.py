"""``Sources``: how the data of an import are known, collected over its rollouts."""

from __future__ import annotations

from actfocus_core.runs.provenance import Provenance, Source

ORDER = ("recorded", "derived", "guessed")
"""From the strongest to the weakest"""


class Sources:
    """The sources of each entry of ``Provenance``; the weakest counts for the run, with the rules of all."""

    def __init__(self) -> None:
        self._found: dict[str, dict[Source, None]] = {}

    def add(self, entry: str, source: Source) -> None:
        self._found.setdefault(entry, {})[source] = None

    def provenance(self) -> Provenance:
        return Provenance(**{entry: _weakest(list(sources)) for entry, sources in self._found.items()})


def _weakest(sources: list[Source]) -> Source:
    how = max((source.how for source in sources), key=ORDER.index)
    rules = dict.fromkeys(source.rule for source in sources if source.rule)
    return Source(how=how, rule="; ".join(rules))
