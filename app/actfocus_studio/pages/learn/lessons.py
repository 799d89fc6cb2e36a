"""Lessons in YAML: parsed, validated with line numbers in errors, and summarised as JSON for the page.

A file is a list of lessons. Built-in lessons are in ``lessons/``; files given on the command line have the same format
(docs: Write a lesson). Nothing in a file is executed: conditions compare facts by name, and reveals name facts in braces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from actfocus_core.errors import ActFocusError
from actfocus_studio.data.view import View
from actfocus_studio.pages.learn.facts import FACTS

BUILT_IN = Path(__file__).parent / "lessons"
SIZE_MAX, DEEPEST = 100_000, 12
"""Maximum size of a file in bytes, and maximum nesting depth."""
PINS = ("action", "reasoning", "format")
VIEW = tuple(name for name in View.model_fields if name not in ("lesson", "lesson_step", "classroom"))
"""Fields of View that a step may set."""
_NAME = re.compile(r"[a-z0-9-]{1,60}")
_CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*(-?\d+(?:\.\d+)?|\w+)\s*")
_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Comparison:
    """``left OP right``: a fact compared with another fact, or with a number in the fact's unit."""

    left: str
    operator: str
    right: str | float


@dataclass(frozen=True)
class Choice:
    """One answer, correct where all comparisons of ``when`` hold; (): always; None: where no other choice is correct."""

    text: str
    when: tuple[Comparison, ...] | None


@dataclass(frozen=True)
class Question:
    """A prediction: one of ``choices``, or the value of the fact ``number``, correct within +/- ``within``."""

    text: str
    reveal: str
    choices: tuple[Choice, ...] = ()
    number: str = ""
    within: float = 0.0


@dataclass(frozen=True)
class Step:
    """A view of the studio, a text, and optionally a question."""

    say: str
    view: dict = field(default_factory=dict)
    """fields of ``View`` -> valid values"""
    pin: str = ""
    """kind whose first token in the turn is pinned; empty: none"""
    question: Question | None = None


@dataclass(frozen=True)
class Lesson:
    name: str
    title: str
    minutes: int
    about: str
    steps: tuple[Step, ...]

    def summary(self) -> dict:
        """What the page needs: everything but the correct answers."""
        return {
            "name": self.name,
            "title": self.title,
            "minutes": self.minutes,
            "about": self.about,
            "steps": [
                {
                    "say": s.say,
                    "view": s.view,
                    "pin": s.pin,
                    "question": s.question
                    and {
                        "text": s.question.text,
                        "choices": [c.text for c in s.question.choices],
                        "unit": FACTS[s.question.number].unit if s.question.number else "",
                    },
                }
                for s in self.steps
            ],
        }


def load_lessons(files: Sequence[Path] = ()) -> dict[str, Lesson]:
    """Name -> lesson: the built-in lessons, followed by those of ``files``.

    Raises ActFocusError with file and line for the first error.
    """
    found: dict[str, Lesson] = {}
    for file in [*sorted(BUILT_IN.glob("*.yaml")), *files]:
        for node in _root(Path(file)).items("a list of lessons"):
            lesson = _lesson(node)
            if lesson.name in found:
                raise node["name"].error(f"is {lesson.name}, and another lesson has that name; choose a unique one")
            found[lesson.name] = lesson
    return found


class _Node:
    """A YAML node with its line number. ``what``: its name in error messages."""

    def __init__(self, node: yaml.Node, file: Path, what: str):
        self.node, self.file, self.what = node, file, what

    def error(self, says: str) -> ActFocusError:
        return ActFocusError(f"{self.file}:{self.node.start_mark.line + 1}: {self.what} {says}")

    def items(self, what: str) -> list[_Node]:
        if not isinstance(self.node, yaml.SequenceNode) or not self.node.value:
            raise self.error(f"must be {what}, each after a dash")
        return [_Node(value, self.file, f"{self.what}[{n}]") for n, value in enumerate(self.node.value)]

    def fields(self, needed: tuple[str, ...], more: tuple[str, ...] = ()) -> dict[str, _Node]:
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"must have fields, such as {needed[0] if needed else more[0]}: …")
        found: dict[str, _Node] = {}
        for key, value in self.node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name not in (*needed, *more):
                raise _Node(key, self.file, self.what).error(
                    f"has a field {str(name)[:40]!r}; it may have {', '.join((*needed, *more))}"
                )
            if name in found:
                raise _Node(key, self.file, self.what).error(f"has the field {name} twice; leave one out")
            found[name] = _Node(value, self.file, name)
        for name in needed:
            if name not in found:
                raise self.error(f"lacks the field {name}")
        return found

    def __getitem__(self, name: str) -> _Node:
        return next(_Node(value, self.file, name) for key, value in self.node.value if key.value == name)

    def text(self, longest: int) -> str:
        if not isinstance(self.node, yaml.ScalarNode) or not self.node.value.strip():
            raise self.error("must be a text")
        if len(self.node.value) > longest:
            raise self.error(f"is longer than {longest} characters")
        return self.node.value.strip()

    def number(self, low: float, high: float) -> float:
        text = self.text(40)
        if not re.fullmatch(r"-?\d+(\.\d+)?", text) or not low <= float(text) <= high:
            raise self.error(f"is {text}; it must be a number from {low:g} to {high:g}")
        return float(text)

    def choice(self, allowed) -> str:
        text = self.text(100)
        if text not in allowed:
            raise self.error(f"is {text[:40]}; it must be one of {', '.join(allowed)}")
        return text


class _Loader(yaml.SafeLoader):
    """Rejects deep nesting before it costs time or exhausts the stack."""

    depth = 0

    def compose_node(self, parent, index):
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.MarkedYAMLError(
                problem=f"nested deeper than {DEEPEST} levels", problem_mark=self.peek_event().start_mark
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _root(file: Path) -> _Node:
    try:
        if file.stat().st_size > SIZE_MAX:
            raise ActFocusError(f"{file}: is larger than {SIZE_MAX // 1000} kB; a file of lessons is small")
        # Composed, never constructed, so that no tag can create an object.
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise ActFocusError(f"{file}: not readable ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise ActFocusError(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        # For an unclosed quote, report where it was opened rather than the end of the file.
        mark = error.context_mark if "quoted" in (error.context or "") else error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ActFocusError(f"{file}{line}: not YAML ({error.problem or error.context})") from None
    except yaml.YAMLError as error:
        raise ActFocusError(f"{file}:1: not YAML ({' '.join(str(error).split())[:200]})") from None
    if node is None:
        raise ActFocusError(f"{file}:1: is empty; it must be a list of lessons")
    return _Node(node, file, "the file")


def _lesson(node: _Node) -> Lesson:
    f = node.fields(("name", "title", "steps"), ("minutes", "about"))
    name = f["name"].text(60)
    if not _NAME.fullmatch(name):
        raise f["name"].error("must consist of lower-case letters, digits and dashes, at most 60")
    return Lesson(
        name,
        f["title"].text(100),
        int(f["minutes"].number(1, 60)) if "minutes" in f else 3,
        f["about"].text(400) if "about" in f else "",
        tuple(map(_step, f["steps"].items("a list of steps"))),
    )


def _step(node: _Node) -> Step:
    f = node.fields(("say",), ("view", "pin", "ask", "choices", "number", "within", "reveal"))
    return Step(
        f["say"].text(3000),
        _view(f["view"]) if "view" in f else {},
        f["pin"].choice(PINS) if "pin" in f else "",
        _question(node, f),
    )


def _view(node: _Node) -> dict:
    """The values as ``View`` parses them; a value that it would change is an error."""
    view = {}
    for name, value in node.fields((), VIEW).items():
        text = value.text(200) if isinstance(value.node, yaml.ScalarNode) and value.node.value else ""
        text = {"true": "1", "false": "0"}.get(text, text)
        read = getattr(View.parse({name: text}), name)
        written = str(int(read)) if isinstance(read, bool) else "" if read is None else str(read)
        same = written == text or (isinstance(read, float) and _float(text) == read)
        if not same:
            raise value.error(f"is {text[:40] or 'empty'}, which is not valid; the address bar shows valid values")
        view[name] = read
    return view


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _question(node: _Node, f: dict[str, _Node]) -> Question | None:
    if "ask" not in f:
        for name in ("choices", "number", "within", "reveal"):
            if name in f:
                raise f[name].error("belongs to a question; give ask as well")
        return None
    if "reveal" not in f:
        raise node.error("has a question but lacks the field reveal")
    if ("choices" in f) == ("number" in f):
        raise f["ask"].error("needs either choices or number, the name of a fact")
    reveal = f["reveal"].text(3000)
    for name in _BRACES.findall(reveal):
        _known(f["reveal"], name)
    if "number" in f:
        number = f["number"].text(60)
        _known(f["number"], number)
        within = f["within"].number(0, 1e9) if "within" in f else 0.0
        return Question(f["ask"].text(600), reveal, number=number, within=within)
    if "within" in f:
        raise f["within"].error("belongs to a number, not to choices")
    choices = tuple(map(_choice, f["choices"].items("a list of choices")))
    if len(choices) < 2:
        raise f["choices"].error("has one choice; give two or more")
    if sum(c.when is None for c in choices) > 1 and all(c.when != () for c in choices):
        raise f["choices"].error("has several without when; at most one choice can be the fallback")
    return Question(f["ask"].text(600), reveal, choices)


def _choice(node: _Node) -> Choice:
    f = node.fields(("text",), ("when",))
    return Choice(f["text"].text(300), _condition(f["when"]) if "when" in f else None)


def _condition(node: _Node) -> tuple[Comparison, ...]:
    """``always``, or comparisons joined by ``and``."""
    text = node.text(300)
    return () if text == "always" else tuple(_comparisons(node, text))


def _comparisons(node: _Node, text: str) -> Iterator[Comparison]:
    for part in re.split(r"\band\b", text):
        match = _CONDITION.fullmatch(part)
        if match is None:
            raise node.error(
                f"is {text[:60]}; it must be a comparison such as action_share < 20, joined by and, or always"
            )
        left, operator, right = match.groups()
        _known(node, left)
        number = _float(right)
        if number is None:
            _known(node, right)
        yield Comparison(left, operator, right if number is None else number)


def _known(node: _Node, name: str) -> None:
    if name not in FACTS:
        raise node.error(f"names the unknown fact {name[:40]!r}; known are {', '.join(FACTS)}")
