r"""``BareHeaders``: the role headers of a chat template in text that was decoded without special tokens.

Of ``<|im_start|>user\n`` only ``user\n`` is left, of Llama 3's header ``user\n\n``, and the text before it may end
without a line break. Ordinary text can hold the same words, so a header is believed only if all of this holds:

* It is a role word of the template with exactly the line breaks that the template writes after it.
* It stands at the beginning of a line, or directly after a character that is no white space: Llama 3's template writes
  nothing between two messages, and some agent loops leave out the line break between a reply and the next message. The
  header of a reply has its line break if the template writes one. English words (superuser) are no headers. After a
  space, where English has them (ask the user), only a template without a line break before its headers can have one, if
  nothing better begins the message.
* No pair of tags encloses it, such as ``<think>`` and ``</think>`` or those of a tool call or tool result. A header of
  the environment can be enclosed if nothing better begins the message and the header of the next reply is not.
* It alternates: a header of the environment is followed by a header of a reply with text between the two. The header of
  a reply is never believed without one of the environment before it.
* Without a reply after it, a header of the environment is believed if its message begins like a tool result of the
  template (``<tool_response>``), or if the reply before it ends with a closing tag (``</answer>``) or a sentence. A
  bracket or a quotation mark counts as the end only of a reply after earlier turns, or before the role of tools.

Of several headers that could begin the same message the most believable one counts, else the first: a tool result is
more believable than a line of its own, and this more than a word directly after another character. In a prompt, all of
which is context, the first header stands at the beginning and the others need only alternate.

The rule is a guess. A reply that quotes a whole dialogue with the headers of its own template is split at them.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from actfocus_core.dialogue import THINK
from actfocus_core.template import Header, Template

_BARE = re.compile(r"\w+ *\n+")
_TAGS = (
    "think|answer|action|search|tool_call|tool_response|tool_result|information|interpreter|observation|function_call"
)
_TAG = re.compile(rf"<(/?)({_TAGS})>")
_REPLY_TAG = re.compile(r"\s*<(?:think|answer|action|search|tool_call|function_call)>")
_CLOSING_TAG = re.compile(r"</(?!think>)[\w-]+>\Z")
_CHARACTER = re.compile(r"\S")
_SENTENCE_END, _SIGN_END = tuple(".?!…。！？"), tuple(")]}>\"'`*")
_WORDS = {
    "superuser",
    "poweruser",
    "multiuser",
    "enduser",
    "nonuser",
    "abuser",
    "accuser",
    "diffuser",
    "infuser",
    "peruser",
}
"""Words of English that end with a role word"""
_WINDOW = 80
"""Characters before a header that are looked at"""
TOOL_RESULT, LIKELY, POSSIBLE, WEAK = 4, 3, 2, 1
"""How believable a header is by what stands around it; 0 is no header."""


class Border(NamedTuple):
    """A header found in a text, at characters [start, end)."""

    start: int
    end: int
    header: Header

    @property
    def is_reply(self) -> bool:
        return self.header.role == "assistant"


class _Candidate(NamedTuple):
    border: Border
    rank: int
    evidence: bool
    """A closing tag stands before a message of the environment, or the tag of a reply after the header of a reply."""

    @property
    def order(self) -> tuple[int, bool, int]:
        return self.rank, self.evidence, -self.border.start


class BareHeaders:
    """Finds the headers of one template in text without special tokens, in linear time.

    ``visible``: whether the template's headers leave anything that can be found. Nothing remains of headers that are
    special tokens as a whole, such as Mistral's.
    """

    def __init__(self, template: Template):
        self.template = template
        self.headers: list[Header] = []
        for header in template.headers:
            if _BARE.fullmatch(header.bare) and all(header.bare != known.bare for known in self.headers):
                self.headers.append(header)
        self.visible = {"user", "assistant"} <= {header.role for header in self.headers}
        self._pattern = re.compile("|".join(f"({_literal(header.bare)})" for header in self.headers) or r"(?!)")

    def in_completion(self, text: str, opening: str) -> list[Border]:
        """The headers in a text that begins with a reply; ``opening``: what the template writes to open a reply."""
        if not self.visible:
            return []
        enclosed = _Enclosed(text, THINK[0] in opening and THINK[1] not in opening)
        found: list[_Candidate] = []
        for candidate in self._candidates(text, 0, opening):
            if not enclosed(candidate.border.start):
                found.append(candidate)
            elif not candidate.border.is_reply:
                # A message can mention the closing tag that the reply before it lacks.
                found.append(candidate._replace(rank=WEAK))
        borders: list[Border] = []
        waiting: list[_Candidate] = []
        for is_reply, candidates in groupby(found, lambda candidate: candidate.border.is_reply):
            if not is_reply:
                waiting = list(candidates)
            elif waiting:
                borders += self._exchange(text, waiting, list(candidates))
                waiting = []
        return borders + self._unanswered(text, waiting, bool(borders))

    def in_prompt(self, text: str, start: int) -> list[Border]:
        """The headers in a prompt; none if no header stands at ``start``."""
        match = self._pattern.match(text, start) if self.visible else None
        if match is None:
            return []
        borders = [self._border(match)]
        found = [c for c in self._candidates(text, match.end(), self.template.opening) if c.rank >= POSSIBLE]
        for is_reply, group in groupby(found, lambda candidate: candidate.border.is_reply):
            candidates, asked = list(group), borders[-1].header.role in ("user", "tool")
            if not is_reply and asked:
                borders += _further(candidates)
            elif is_reply == asked:
                # The generation prompt at the end is more believable than the same word before it.
                last = [c for c in candidates if self._generates(text, c.border)]
                best = max(last or candidates, key=lambda c: c.order)
                borders += [best.border, *(_further(candidates, best) if not is_reply else [])]
        return borders

    def _exchange(self, text: str, users: list[_Candidate], replies: list[_Candidate]) -> list[Border]:
        """The borders around what the environment wrote between two replies; none if it wrote nothing."""
        user = max(users, key=lambda c: c.order)
        begin = _next_character(text, user.border.end)
        answer = max((c for c in replies if c.border.start > begin), key=lambda c: c.order, default=None)
        if answer is None or user.rank == answer.rank == WEAK:
            return []
        return [user.border, *_further(users, user), answer.border]

    def _unanswered(self, text: str, users: list[_Candidate], answered: bool) -> list[Border]:
        """The border before what the environment wrote at the end of a text."""

        def believable(candidate: _Candidate) -> bool:
            start, end, header = candidate.border
            if candidate.rank == TOOL_RESULT or (candidate.evidence and candidate.rank >= POSSIBLE):
                return True
            before = text[max(0, start - _WINDOW) : start].rstrip()
            ended = before.endswith(_SENTENCE_END) or (
                (answered or header.role == "tool") and before.endswith(_SIGN_END)
            )
            return candidate.rank == LIKELY and ended and _next_character(text, end) < len(text)

        best = max(filter(believable, users), key=lambda c: c.order, default=None)
        return [best.border, *_further(users, best)] if best else []

    def _candidates(self, text: str, start: int, opening: str) -> Iterator[_Candidate]:
        for match in self._pattern.finditer(text, start):
            border = self._border(match)
            rank = _rank(text, border, opening if border.is_reply else border.header.opening)
            if border.header.role != "system" and rank:
                yield _Candidate(border, rank, _evidence(text, border))

    def _border(self, match: re.Match[str]) -> Border:
        assert match.lastindex  # every alternative is a group
        return Border(match.start(), match.end(), self.headers[match.lastindex - 1])

    def _generates(self, text: str, border: Border) -> bool:
        """Whether this is the generation prompt at the end of a text."""
        longest = max(map(len, self.template.openings)) + _WINDOW
        if not border.is_reply or len(text) - border.end > longest:
            return False
        return text[border.end :].strip() in {opening.strip() for opening in self.template.openings}


class _Enclosed:
    """Whether a position is between a tag and its closing tag; ``thinking``: the text begins in ``<think>``."""

    def __init__(self, text: str, thinking: bool):
        self._tags: dict[str, tuple[list[int], list[bool]]] = {"think": ([-1], [True])} if thinking else {}
        for tag in _TAG.finditer(text):
            positions, opens = self._tags.setdefault(tag[2], ([], []))
            positions.append(tag.start())
            opens.append(not tag[1])

    def __call__(self, position: int) -> bool:
        for positions, opens in self._tags.values():
            after = bisect_left(positions, position)
            if 0 < after < len(opens) and opens[after - 1] and not opens[after]:
                return True
        return False


def _rank(text: str, border: Border, opening: str) -> int:
    """How believable the header is by the text before it, and by whether its message begins with the opening."""
    before = text[border.start - 1 : border.start] if border.start else ""
    opens = bool(opening) and text.startswith(opening.rstrip(), border.end)
    if opens and "<" in opening and not border.is_reply:
        return TOOL_RESULT
    has_gap, own_line = "\n" in border.header.gap, before in ("", "\n")
    if _is_word(text, border) or (border.is_reply and has_gap and not own_line):
        return 0
    if before.isspace() and not own_line:
        return 0 if has_gap or border.is_reply else WEAK
    if opens:
        return TOOL_RESULT
    if own_line:
        return LIKELY if has_gap else POSSIBLE
    if before in "-_/@\\":
        return WEAK
    if before.isalnum():
        return WEAK if has_gap else POSSIBLE
    return POSSIBLE if has_gap else LIKELY


def _is_word(text: str, border: Border) -> bool:
    """Whether the letters before a role word make it another word of English."""
    before = re.search(r"[^\W\d_]*\Z", text[max(0, border.start - 10) : border.start])
    return before is not None and (before[0] + border.header.bare.rstrip()).lower() in _WORDS


def _evidence(text: str, border: Border) -> bool:
    if border.is_reply:
        return bool(_REPLY_TAG.match(text[border.end : border.end + _WINDOW]))
    before = text[max(0, border.start - _WINDOW) : border.start].rstrip()
    return before.endswith(">") and bool(_CLOSING_TAG.search(before))


def _further(users: Iterable[_Candidate], first: _Candidate | None = None) -> list[Border]:
    """Headers of further messages of the environment after the first: tool results, and what follows a closing tag."""
    start = first.border.start if first else -1
    return [
        c.border
        for c in users
        if c.border.start > start and (c.rank == TOOL_RESULT or (c.evidence and c.rank >= LIKELY))
    ]


def _next_character(text: str, start: int) -> int:
    """The position of the next character that is no white space; the length of the text if there is none."""
    found = _CHARACTER.search(text, start)
    return found.start() if found else len(text)


def _literal(bare: str) -> str:
    """A pattern of a header; at the end of a text its line breaks may be cut."""
    word = bare.rstrip()
    return rf"{re.escape(word)}(?:{re.escape(bare[len(word) :])}|\s*\Z)"
