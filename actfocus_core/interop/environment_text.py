r"""``EnvironmentRule``: text inside a reply that the environment wrote.

Agents that search or run code inside one reply, and ReAct transcripts, keep the environment's text in the completion.
It is recognised by its form alone, so text that the policy made up in the same form counts as the environment's too:

* ``<information>...</information>`` and the like: a closed pair of tags with text between them. A pair whose text is
  only a word such as "and" is a mention of the tags. An empty pair is one too, unless it stands outside the reasoning
  and on a line of its own or after another closing tag. A pair that begins inside ``<think>`` ends inside it.
* A tag that is never closed, where a cut completion ends: on a line of its own, or after another closing tag; inside
  ``<think>`` only after another closing tag. No tag of a reply (``<answer>``, ``</think>``) follows it.
* ``Observation:`` at the beginning of a line, up to the next label of ReAct or the end, if an ``Action:`` line precedes
  it that no other observation has answered. Labels may be numbered.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.samples import SAMPLED, Part
from actfocus_core.trajectory import TokenKind

Span = tuple[int, int, str]
"""Characters [start, end) of a text, and the name of what marks them"""

TAGS = ("information", "interpreter", "tool_response", "observation", "tool_result")
REACT, PATTERN, AUTO, NONE = "observation", "pattern:", "auto", "none"
_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_LABEL = re.compile(
    r"^(Thought|Action|Action Input|Final Answer|Question|Observation)(?: \d{1,4})?:",
    re.M,
)
_THINK = re.compile(r"<(/?)think>")
_REPLY_TAG = re.compile(r"</?(?:think|answer|action|search|tool_call)>")
_AFTER_TAG = re.compile(r"</[\w-]+>\s*\Z")
_MENTIONS = {"", "and", "or", "to", "...", "…", ",", "/", "&", "|", "-"}
"""What stands between two tags that are only mentioned, white space and quotation marks aside"""
_WINDOW = 80
"""Characters before a tag that are looked at"""
_HELP = (
    "it is a comma-separated list of tag names, "
    f"{REACT} for ReAct's label, {PATTERN}REGEX with a group (?P<environment>...), {AUTO} or {NONE}"
)


@dataclass(frozen=True)
class EnvironmentRule:
    """A rule that finds the environment's text inside replies; create it with ``environment_rule``."""

    name: str
    finders: tuple[Callable[[str], Iterable[Span]], ...]

    def find(self, text: str) -> list[Span]:
        """The environment's text in a reply: disjoint spans in order, the outer one where spans are nested."""
        spans = sorted((span for find in self.finders for span in find(text)), key=lambda span: (span[0], -span[1]))
        found: list[Span] = []
        for span in spans:
            if not found or span[0] >= found[-1][1]:
                found.append(span)
        return found

    def split(self, parts: Iterable[Part]) -> tuple[list[Part], Counter[str]]:
        """The parts with the environment's text in SAMPLED parts as USER, its tags included; and counts by name."""
        split: list[Part] = []
        counts: Counter[str] = Counter()
        for part in parts:
            spans = self.find(part.text) if part.kind == SAMPLED else []
            counts.update(name for _, _, name in spans)
            at = 0
            for start, end, _ in spans:
                split += [Part(part.text[at:start], SAMPLED), Part(part.text[start:end], TokenKind.USER)]
                at = end
            split.append(Part(part.text[at:], part.kind) if at else part)
        return [part for part in split if part.text], counts


def environment_rule(spec: str) -> EnvironmentRule:
    """A rule from its specification, such as ``information,observation``.

    A comma-separated list of tag names, with or without angle brackets; ``observation`` is ReAct's label and
    ``<observation>`` the tag. ``pattern:REGEX`` with a group named ``environment`` comes last: it may contain commas.
    ``auto``: ReAct's label and all of TAGS. ``none``: nothing. Raises ActFocusError for anything else.
    """
    names, pattern = spec, None
    if (at := spec.find(PATTERN)) >= 0 and spec[:at].strip()[-1:] in ("", ","):
        names, pattern = spec[:at].strip().removesuffix(","), spec[at + len(PATTERN) :]
    items = [item.strip() for item in names.split(",")] if names.strip() or pattern is None else []
    if items == [NONE] and pattern is None:
        return EnvironmentRule(spec, ())
    tags, react = set[str](), False
    for item in items:
        bare = item[1:-1] if item.startswith("<") and item.endswith(">") else item
        if item == AUTO:
            tags, react = tags | set(TAGS), True
        elif item == REACT:
            react = True
        elif item != NONE and _NAME.fullmatch(bare):
            tags.add(bare)
        else:
            raise ActFocusError(f"environment text {spec!r}: {item!r} is no tag name; {_HELP}")
    finders: list[Callable[[str], Iterable[Span]]] = []
    if tags:
        finders.append(_tagged(tags))
    if react:
        finders.append(_observations)
    if pattern is not None:
        finders.append(_by_pattern(pattern, spec))
    return EnvironmentRule(spec, tuple(finders))


def _tagged(names: set[str]) -> Callable[[str], Iterator[Span]]:
    tag = re.compile(rf"<(/?)({'|'.join(map(re.escape, sorted(names)))})>")

    def find(text: str) -> Iterator[Span]:
        thoughts = _Thoughts(text)
        opened: dict[str, re.Match[str]] = {}
        for match in tag.finditer(text):
            if not match[1]:
                opened[match[2]] = match
            elif (begin := opened.pop(match[2], None)) and _is_pair(text, begin, match, thoughts):
                yield begin.start(), match.end(), f"<{match[2]}>"
        last = max(opened.values(), key=lambda match: match.start(), default=None)
        if last and _ends_in(text, last, thoughts):
            yield last.start(), len(text), f"<{last[2]}>"

    return find


def _is_pair(text: str, begin: re.Match[str], end: re.Match[str], thoughts: _Thoughts) -> bool:
    """Whether the environment wrote something between two tags, so that they are not only mentioned."""
    if thoughts.tags_before(begin.start()) != thoughts.tags_before(end.start()):
        return False
    between = text[begin.end() : end.start()]
    if between.strip(" \t\n`'\"*").lower() not in _MENTIONS:
        return True
    return not between.strip() and not thoughts.contain(begin.start()) and _stands_alone(text, begin.start())


def _ends_in(text: str, tag: re.Match[str], thoughts: _Thoughts) -> bool:
    """Whether a text that was cut ends in what this tag opens."""
    if _REPLY_TAG.search(text, tag.end()):
        return False
    return _follows_tag(text, tag.start()) if thoughts.contain(tag.start()) else _stands_alone(text, tag.start())


def _stands_alone(text: str, start: int) -> bool:
    """Whether a tag begins a line or follows a closing tag."""
    before = text[max(0, start - _WINDOW) : start].rstrip(" \t")
    return before.endswith("\n") or (not before and start <= _WINDOW) or _follows_tag(text, start)


def _follows_tag(text: str, start: int) -> bool:
    return bool(_AFTER_TAG.search(text[max(0, start - _WINDOW) : start]))


class _Thoughts:
    """The ``<think>`` tags of a reply; the template may have opened the first thought."""

    def __init__(self, text: str):
        tags = [(tag.start(), not tag[1]) for tag in _THINK.finditer(text)]
        self._positions = [start for start, _ in tags]
        self._opens = [bool(tags) and not tags[0][1], *(opens for _, opens in tags)]

    def tags_before(self, position: int) -> int:
        return bisect_left(self._positions, position)

    def contain(self, position: int) -> bool:
        return self._opens[self.tags_before(position)]


def _observations(text: str) -> Iterator[Span]:
    """ReAct's observations that answer an action."""
    start = None
    acted = False
    for label in _LABEL.finditer(text):
        if label[1] == "Observation":
            if start is None and acted:
                start, acted = label.start(), False
            continue
        if start is not None:
            yield start, label.start(), "Observation:"
            start = None
        acted = acted or label[1] == "Action"
    if start is not None:
        yield start, len(text), "Observation:"


def _by_pattern(pattern: str, spec: str) -> Callable[[str], Iterator[Span]]:
    try:
        compiled = re.compile(pattern, re.S | re.M)
    except (re.error, OverflowError, RecursionError) as error:
        raise ActFocusError(f"environment text {spec!r}: not a regular expression ({error})") from None
    if "environment" not in compiled.groupindex:
        raise ActFocusError(
            f"environment text {spec!r}: has no group (?P<environment>...), which marks the environment's text"
        )

    def find(text: str) -> Iterator[Span]:
        for match in compiled.finditer(text):
            start, end = match.span("environment")
            if start < end:
                yield start, end, "pattern"

    return find
