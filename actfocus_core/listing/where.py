"""The language of filters: ``success == false and tokens > 800``, parsed here and evaluated by pyarrow.

    expression  = conjunction { "or" conjunction }
    conjunction = negation { "and" negation }
    negation    = "not" negation | condition
    condition   = "(" expression ")" | "contains" "(" name "," text ")" | operand [ test ]
    test        = ("==" | "!=" | "<" | "<=" | ">" | ">=") operand
                | "~" text | ["not"] "in" "(" literal { "," literal } ")"
                | "is" ["not"] ("unknown" | "known" | "true" | "false")
    operand     = name | literal
    literal     = number | text in quotes | "true" | "false"

A name is that of a column (``rewards.format``; in backquotes where it has other characters than letters, digits, ``_``, ``.``),
or, in ``contains`` and before ``~``, one of ``text``, ``reasoning``, ``action`` and ``observation``: what the tokens say.
``~`` looks for a regular expression anywhere in a text; ``^`` and ``$`` anchor it.

Unknown is neither true nor false: a condition on an unknown value is unknown, and so is its negation; ``and`` and ``or`` are
known where the known side decides. The rows whose condition is true are listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from actfocus_core.errors import ActFocusError
from actfocus_core.listing.columns import Column, Kind, unknown_column
from actfocus_core.listing.query import TEXT_KINDS, check_pattern, check_text

TEXTS = ("text", *TEXT_KINDS)
"""Names of what the tokens say."""
LONGEST, DEEPEST = 10_000, 100
"""Characters of an expression, and parentheses and negations inside each other."""
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
        |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
        |(?P<quoted>`[^`]+`)
        |(?P<word>[^\W\d]\w*(?:\.[\w.-]*\w)?)
        |(?P<sign>==|!=|<=|>=|[=<>~(),]))""",
    re.VERBOSE,
)
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_WORDS = ("and", "or", "not", "in", "is", "true", "false", "known", "unknown")


@dataclass(frozen=True)
class Name:
    """A column, or one of TEXTS."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class Literal:
    value: float | int | str | bool
    kind: Kind


@dataclass(frozen=True)
class Compare:
    """``left sign right``: unknown where a side is."""

    sign: str
    left: Name | Literal
    right: Name | Literal


@dataclass(frozen=True)
class In:
    name: Name
    values: tuple[float | int | str | bool, ...]


@dataclass(frozen=True)
class Known:
    """Whether a value is known; never unknown itself."""

    name: Name


@dataclass(frozen=True)
class IsTrue:
    """Whether a condition is ``value``; never unknown itself."""

    name: Name
    value: bool


@dataclass(frozen=True)
class Find:
    """Whether a text has another in it, or a regular expression."""

    name: Name
    text: str
    regex: bool


@dataclass(frozen=True)
class Truth:
    """A column or literal of kind truth."""

    of: Name | Literal


@dataclass(frozen=True)
class Not:
    of: Condition


@dataclass(frozen=True)
class Joined:
    """``and``, or with ``any`` ``or``."""

    parts: tuple[Condition, ...]
    any: bool


Condition = Compare | In | Known | IsTrue | Find | Truth | Not | Joined


def parse(expression: str, columns: Mapping[str, Column]) -> Condition | None:
    """The condition of an expression about some columns; None if it is empty.

    Raises ActFocusError, with the position, for anything that is not in the language, an unknown column, or values that
    cannot be compared.
    """
    if len(expression) > LONGEST:
        raise ActFocusError(f"where: has {len(expression):,} characters; at most {LONGEST:,} are read")
    check_text(expression, "where")
    if not expression.strip():
        return None
    return _Parser(expression, columns).whole()


def names(condition: Condition | None) -> set[str]:
    """The columns and TEXTS that a condition reads."""
    match condition:
        case None:
            return set()
        case Compare(_, left, right):
            return {side.name for side in (left, right) if isinstance(side, Name)}
        case Truth(of):
            return {of.name} if isinstance(of, Name) else set()
        case Not(of):
            return names(of)
        case Joined(parts):
            return set().union(*map(names, parts))
        case _:
            return {condition.name.name}


class _Token(NamedTuple):
    type: str
    """number, text, quoted, word, sign or end"""
    text: str
    at: int
    """its first character, counted from 1"""


class _Parser:
    """Recursive descent over the tokens of an expression."""

    def __init__(self, expression: str, columns: Mapping[str, Column]):
        self.columns = columns
        self.tokens = list(_tokens(expression))
        self.next = 0
        self.depth = 0

    def whole(self) -> Condition:
        condition = self.expression()
        if self.token.type != "end":
            self.fail("expected `and`, `or` or the end")
        return condition

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def fail(self, what: str, token: _Token | None = None) -> NoReturn:
        token = token or self.token
        found = "at the end" if token.type == "end" else f"at {token.text[:30]}"
        raise ActFocusError(f"where: character {token.at}, {found}: {what}")

    def accept(self, *texts: str) -> str | None:
        """The next token if it is one of these words or signs."""
        token = self.token
        if token.type in ("word", "sign") and token.text in texts:
            self.next += 1
            return token.text
        return None

    def require(self, text: str) -> None:
        if not self.accept(text):
            self.fail(f"expected `{text}`")

    def expression(self) -> Condition:
        parts = [self.conjunction()]
        while self.accept("or"):
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else Joined(tuple(parts), any=True)

    def conjunction(self) -> Condition:
        parts = [self.negation()]
        while self.accept("and"):
            parts.append(self.negation())
        return parts[0] if len(parts) == 1 else Joined(tuple(parts), any=False)

    def negation(self) -> Condition:
        self.depth += 1
        if self.depth > DEEPEST:
            self.fail(f"more than {DEEPEST} parentheses and negations are inside each other")
        condition = Not(self.negation()) if self.accept("not") else self.condition()
        self.depth -= 1
        return condition

    def condition(self) -> Condition:
        if self.accept("("):
            inner = self.expression()
            self.require(")")
            return inner
        start = self.token
        if start.text == "contains" and start.type == "word" and self.tokens[self.next + 1].text == "(":
            return self.contains()
        left = self.operand()
        if sign := self.accept("=", *_COMPARISONS):
            return self.comparison(left, "==" if sign == "=" else sign, start)
        if self.accept("~"):
            return self.found(left, True, start)
        negated = self.token.text == "not" and self.tokens[self.next + 1].text == "in" and bool(self.accept("not"))
        if self.accept("in"):
            condition: Condition = self.membership(left, start)
            return Not(condition) if negated else condition
        if self.accept("is"):
            return self.state(left, start)
        if left.kind != "truth":
            self.fail(f"a {left.kind} is no condition; compare it, for instance with `!=`", start)
        return Truth(left)

    def operand(self) -> Name | Literal:
        token = self.token
        self.next += 1
        if token.type == "number":
            whole = token.text.lstrip("+-").isdigit() and len(token.text) < 16
            return Literal(int(token.text) if whole else float(token.text), "number")
        if token.type == "text":
            return Literal(_unquoted(token.text), "text")
        if token.type == "word" and token.text in ("true", "false"):
            return Literal(token.text == "true", "truth")
        if token.type == "quoted" or (token.type == "word" and token.text not in _WORDS):
            return self.name(token)
        self.next -= 1
        self.fail(
            "`unknown` is asked for by `NAME is unknown`" if token.text == "unknown" else "expected a column or a value"
        )

    def name(self, token: _Token) -> Name:
        name = token.text.strip("`")
        if name in self.columns:
            return Name(name, self.columns[name].kind)
        if name in TEXTS:
            return Name(name, "text")
        self.fail(unknown_column(name, [*self.columns, *TEXTS]), token)

    def comparison(self, left: Name | Literal, sign: str, start: _Token) -> Condition:
        right = self.operand()
        if left.kind != right.kind:
            self.fail(f"a {left.kind} cannot be compared with a {right.kind}", start)
        if left.kind == "truth" and sign not in ("==", "!="):
            self.fail("true and false have no order; compare them with `==` or `!=`", start)
        for side in (left, right):
            if isinstance(side, Name) and side.name in TEXTS and side.name not in self.columns:
                self.fail(
                    f"{side.name} is what the tokens say; look into it with `contains({side.name}, ...)` or `~`", start
                )
        return Compare(sign, left, right)

    def found(self, name: Name | Literal, regex: bool, start: _Token) -> Condition:
        token, text = self.token, self.operand()
        if not isinstance(name, Name) or name.kind != "text":
            self.fail("only a column of text is searched", start)
        if not isinstance(text, Literal) or not isinstance(text.value, str) or not text.value:
            self.fail("expected a text in quotes", token)
        if regex:
            check_pattern(text.value, f"where: character {token.at}")
        return Find(name, text.value, regex)

    def contains(self) -> Condition:
        self.next += 2
        start = self.token
        name = self.operand()
        self.require(",")
        condition = self.found(name, False, start)
        self.require(")")
        return condition

    def membership(self, name: Name | Literal, start: _Token) -> In:
        self.column(name, start)
        self.require("(")
        values = []
        while True:
            token, value = self.token, self.operand()
            if not isinstance(value, Literal) or value.kind != name.kind:
                self.fail(f"expected a {name.kind}", token)
            values.append(value.value)
            if not self.accept(","):
                break
        self.require(")")
        return In(self.column(name, start), tuple(values))

    def state(self, name: Name | Literal, start: _Token) -> Condition:
        column, negated = self.column(name, start), bool(self.accept("not"))
        what = self.accept("unknown", "known", "true", "false")
        if what is None:
            self.fail("expected `unknown`, `known`, `true` or `false`")
        if what in ("true", "false") and column.kind != "truth":
            self.fail(f"a {column.kind} is neither true nor false", start)
        condition: Condition = IsTrue(column, what == "true") if what in ("true", "false") else Known(column)
        return Not(condition) if negated != (what == "unknown") else condition

    def column(self, operand: Name | Literal, start: _Token) -> Name:
        if not isinstance(operand, Name) or operand.name not in self.columns:
            self.fail("expected a column", start)
        return operand


def _tokens(expression: str) -> Iterator[_Token]:
    at = 0
    while match := _TOKEN.match(expression, at):
        kind = str(match.lastgroup)
        yield _Token(kind, match[kind], match.start(kind) + 1)
        at = match.end()
    rest = expression[at:].lstrip()
    if rest:
        position = len(expression) - len(rest) + 1
        hint = "a text has no closing quote" if rest[0] in "\"'`" else f"{rest[0]!r} is not part of the language"
        raise ActFocusError(f"where: character {position}: {hint}")
    yield _Token("end", "", len(expression) + 1)


def _unquoted(text: str) -> str:
    r"""The text inside quotes: ``\"``, ``\'`` and ``\\`` stand for the character, any other backslash for itself."""
    return re.sub(r"\\([\"'\\])", r"\1", text[1:-1])
