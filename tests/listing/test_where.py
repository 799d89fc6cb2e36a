"""The language of filters: evaluated by Arrow as by plain Python, and one line with the position for what is wrong."""

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfocus_core.errors import ActFocusError
from actfocus_core.listing import where
from actfocus_core.listing.columns import Column
from actfocus_core.listing.evaluate import Evaluation

COLUMNS = {
    name: Column(name, name, kind, ".")
    for name, kind in {"n": "number", "m": "number", "s": "text", "t": "text", "p": "truth", "q": "truth"}.items()
}
TYPES = {"n": pa.int64(), "m": pa.float64(), "s": pa.string(), "t": pa.string(), "p": pa.bool_(), "q": pa.bool_()}
WORDS = ["", "a", "ab", "b.", "äö", "a\nb", 'q"', "\\d"]


def evaluated(condition, rows):
    table = pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in TYPES.items()})
    return Evaluation(table, lambda kind, text, regex: [False] * len(rows)).of(condition).to_pylist()


# --- plain Python: None is unknown ---------------------------------------------------------

_COMPARE = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def plain(tree, row):
    """The value of an expression tree of ``expressions``, in three-valued logic."""
    kind, *rest = tree
    if kind == "not":
        inner = plain(rest[0], row)
        return None if inner is None else not inner
    if kind in ("and", "or"):
        values = [plain(part, row) for part in rest[0]]
        decides = kind == "or"
        return decides if decides in values else None if None in values else not decides
    if kind == "compare":
        sign, left, right = rest
        a, b = (row[side[1]] if side[0] == "name" else side[1] for side in (left, right))
        return None if a is None or b is None else _COMPARE[sign](a, b)
    name = rest[0]
    value = row[name]
    if kind == "is":
        word, negated = rest[1], rest[2]
        found = {"unknown": value is None, "known": value is not None, "true": value is True, "false": value is False}[
            word
        ]
        return found != negated
    if value is None:
        return None
    if kind == "truth":
        return value
    if kind == "in":
        return (value in rest[1]) != rest[2]
    return rest[1] in value if kind == "contains" else re.search(rest[1], value) is not None


def written(tree):
    """An expression tree as text."""
    kind, *rest = tree
    match kind:
        case "not":
            return f"not ({written(rest[0])})"
        case "and" | "or":
            return f" {kind} ".join(f"({written(part)})" for part in rest[0])
        case "compare":
            sign, left, right = rest
            return " ".join([side(left), sign, side(right)])
        case "is":
            return f"{rest[0]} is {'not ' if rest[2] else ''}{rest[1]}"
        case "in":
            return f"{rest[0]} {'not ' if rest[2] else ''}in ({', '.join(map(literal, rest[1]))})"
        case "contains":
            return f"contains({rest[0]}, {literal(rest[1])})"
        case "matches":
            return f"{rest[0]} ~ {literal(rest[1])}"
    return rest[0]


def side(operand):
    return operand[1] if operand[0] == "name" else literal(operand[1])


def literal(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


values = {
    "number": st.integers(-3, 3) | st.sampled_from([0.5, -1.5, 2.0]),
    "text": st.sampled_from(WORDS),
    "truth": st.booleans(),
}
rows_of = st.lists(
    st.fixed_dictionaries(
        {name: st.none() | (values[c.kind] if name != "n" else st.integers(-3, 3)) for name, c in COLUMNS.items()}
    ),
    min_size=1,
    max_size=8,
)


@st.composite
def leaves(draw):
    kind = draw(st.sampled_from(["number", "text", "truth"]))
    name = draw(st.sampled_from([n for n, c in COLUMNS.items() if c.kind == kind]))
    shape = draw(st.sampled_from(["compare", "is", "in", "find"]))
    if shape == "compare":
        signs = ["==", "!="] if kind == "truth" else list(_COMPARE)
        sides = [("name", name), draw(values[kind].map(lambda v: ("literal", v)) | st.just(("name", name)))]
        return ("compare", draw(st.sampled_from(signs)), *draw(st.permutations(sides)))
    if shape == "is":
        words = ["unknown", "known", *(["true", "false"] if kind == "truth" else [])]
        return ("is", name, draw(st.sampled_from(words)), draw(st.booleans()))
    if shape == "in":
        return ("in", name, draw(st.lists(values[kind], min_size=1, max_size=3)), draw(st.booleans()))
    if kind != "text":
        return ("truth", draw(st.sampled_from(["p", "q"])))
    if draw(st.booleans()):
        return ("contains", name, draw(st.sampled_from(["a", "b.", "ö", "\n", "\\d", '"'])))
    return ("matches", name, draw(st.sampled_from(["^a", "b$", "a.?b", "[äb]", "\\."])))


expressions = st.recursive(
    leaves(),
    lambda inner: (
        st.tuples(st.just("not"), inner)
        | st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3))
    ),
    max_leaves=8,
)


@given(expressions, rows_of)
def test_arrow_finds_what_plain_python_finds(tree, rows):
    condition = where.parse(written(tree), COLUMNS)
    assert evaluated(condition, rows) == [plain(tree, row) for row in rows], written(tree)


@given(expressions)
def test_the_columns_that_an_expression_reads_are_named(tree):
    text = written(tree)
    words = set(re.findall(r"\b[nmstpq]\b", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)))
    assert where.names(where.parse(text, COLUMNS)) == words


@given(st.text(st.sampled_from("nst()\"'`~=!<>,.0aor d\\i\n"), max_size=40) | st.text(max_size=30))
def test_any_text_is_a_condition_or_one_line(text):
    try:
        where.parse(text, COLUMNS)
    except ActFocusError as error:
        assert str(error).startswith("where: ")


@pytest.mark.parametrize(
    "text, rows",
    [
        ("p and q or n == 1", [True, True, None]),
        ("p and (q or n == 1)", [True, False, None]),
        ("not p == false", [True, False, None]),
        ("not n in (1, 2)", [False, False, None]),
        ("n not in (3)", [True, True, None]),
        ("n = 1", [True, True, None]),
        ("s == 'it\\'s'", [True, False, None]),
        ('s ~ "^it.s$"', [True, False, None]),
        ("p != q", [True, False, None]),
        ("n >= -1.5e0", [True, True, None]),
        ("true", [True, True, True]),
        ("1 < 2", [True, True, True]),
        ("n in (1.0, 0.5, 1e300)", [True, True, None]),
    ],
)
def test_words_signs_and_their_precedence(text, rows):
    table = [
        {"n": 1, "m": None, "s": "it's", "t": "", "p": True, "q": False},
        {"n": 1, "m": 2.0, "s": "x", "t": "", "p": False, "q": False},
        dict.fromkeys(COLUMNS),
    ]
    assert evaluated(where.parse(text, COLUMNS), table) == rows


@pytest.mark.parametrize(
    "text, message",
    [
        ("n >", "character 4, at the end: expected a column or a value"),
        ("n > 1 m", "character 7, at m: expected `and`, `or` or the end"),
        ("(n > 1", "character 7, at the end: expected `)`"),
        ("nn > 1", "character 1, at nn: no column 'nn'"),
        ('n == "1"', "character 1, at n: a number cannot be compared with a text"),
        ("p < true", "character 1, at p: true and false have no order"),
        ("n", "character 1, at n: a number is no condition"),
        ("s", "a text is no condition"),
        ("p and s == unknown", "`unknown` is asked for by `NAME is unknown`"),
        ("n is true", "a number is neither true nor false"),
        ("n is 3", "expected `unknown`, `known`, `true` or `false`"),
        ("n in (1, 'a')", "character 10, at 'a': expected a number"),
        ("n in 1", "expected `(`"),
        ("n ~ '1'", "only a column of text is searched"),
        ("s ~ '('", "character 5: '(' is not a regular expression of RE2"),
        ("s ~ '(?=a)'", "is not a regular expression of RE2"),
        ("s ~ 'a*'", "matches the empty text"),
        ("contains(s)", "expected `,`"),
        ("contains(s, '')", "expected a text in quotes"),
        ("contains(n, 'a')", "only a column of text"),
        ("text == 'a'", "text is what the tokens say"),
        ("s == 'a", "character 6: a text has no closing quote"),
        ("n > 1; import os", "character 6: ';' is not part of the language"),
        ("__import__('os')", "no column '__import__'"),
        ("p is not", "expected `unknown`"),
        ("1 in (1)", "expected a column"),
        ("not", "expected a column or a value"),
        ("(" * 200 + "p" + ")" * 200, "more than 100 parentheses"),
        ("p and " * 3000 + "p", "has 18,001 characters"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_position(text, message):
    with pytest.raises(ActFocusError) as error:
        where.parse(text, COLUMNS)
    assert message in str(error.value) and str(error.value).startswith("where: ") and "\n" not in str(error.value)


def test_a_long_chain_needs_no_deep_stack():
    condition = where.parse(" or ".join(["n == 1"] * 900), COLUMNS)
    assert evaluated(condition, [dict.fromkeys(COLUMNS) | {"n": 1}]) == [True]
    assert where.parse(" \n ", COLUMNS) is None
