"""The address bar and the page's requests: a view, whatever comes in."""

import json
import math
from urllib.parse import parse_qsl

from pydantic import ValidationError
from starlette.datastructures import QueryParams

from actfocus_studio.data.view import (
    COLOURS,
    EXPORTS,
    FILTERS,
    INDEX_MAX,
    MEASURES,
    NAME_MAX,
    OVERS,
    SCOPES,
    STAGES,
    TABS,
    WHERE_MAX,
    View,
)
from actfocus_studio.pages.trace.api import OpenRequest
from actfocus_studio.server.api import line_of
from tests.fuzz.cases import clear, fuzz
from tests.fuzz.damage import DEEP, Choices, damaged_bytes

FIELDS = sorted(View.model_fields)
FILLED = View(
    run="a run",
    reference="tiny",
    step=12,
    trajectory="00012-10007-03",
    turn=3,
    token=88,
    signal="entropy",
    alpha=0.25,
    beta=1.5,
    scope="group",
    adv=True,
    color="credit",
    filter="failure",
    kept="0.1,0.5,energy,batch,0",
    whatif="edit-0123456789ab",
    motion="actfocus",
    scheme_b="kept",
    lesson="a-turn",
).query()
TEXTS = [
    "",
    "nan",
    "1e999",
    "-1",
    "9" * 400,
    "٣",
    "1_0",
    " 1",
    "0x1",
    "..%2f",
    "kept",
    "a,b,c,d,e",
    "0.1,0.5,energy,batch,1",
    "nan,1,energy,batch,0",
    "actfocus",
    "shuffled:actfocus",
    "tune",
    "\ud800",
    "a+b",
    "%00",
    "%ff",
    "&",
    "=",
]
LONGEST = {"where": WHERE_MAX, "columns": WHERE_MAX}
ASKED = b'{"view": {"run": "plain", "alpha": 0.5}, "restore": true}'


def address(choices: Choices) -> str:
    if choices.below(4) == 0:
        return damaged_bytes(choices, FILLED.encode()).decode("latin-1")
    return "&".join(
        choices.some(10, lambda: f"{name(choices)}={choices.pick(TEXTS) if choices.below(3) else choices.text()}")
    )


def name(choices: Choices) -> str:
    return choices.pick(FIELDS) if choices.below(8) else choices.text()


def request(choices: Choices):
    kind = choices.below(6)
    if kind == 0:
        return choices.pick([None, 7, [], {}, b"x", "", "null", '"x"'])
    if kind < 3:
        return damaged_bytes(choices, ASKED).decode("latin-1")
    view = {name(choices): choices.value() for _ in range(choices.below(8))}
    return json.dumps({"view": view} | {name(choices): choices.value() for _ in range(choices.below(2))})


def check(view: View) -> None:
    """Every field is of its type, in its range, and the view survives its own query string."""
    assert math.isfinite(view.alpha) and 0 <= view.alpha <= 1 and math.isfinite(view.beta) and 0 <= view.beta <= 2
    for name in ("turn", "lesson_step", "stage"):
        assert type(getattr(view, name)) is int and 0 <= getattr(view, name) <= INDEX_MAX
    for name in ("step", "token"):
        assert getattr(view, name) is None or 0 <= getattr(view, name) <= INDEX_MAX
    assert view.stage < STAGES and {type(view.adv), type(view.controls), type(view.classroom)} == {bool}
    for name, allowed in (
        ("scope", SCOPES),
        ("color", COLOURS),
        ("filter", FILTERS),
        ("tab", TABS),
        ("over", OVERS),
        ("measure", MEASURES),
        ("export", EXPORTS),
    ):
        assert getattr(view, name) in allowed
    for name in FIELDS:
        value = getattr(view, name)
        assert not isinstance(value, str) or (value.isprintable() and len(value) <= LONGEST.get(name, NAME_MAX))
    assert {"alpha", "beta", "signal"} == set(view.kept_params())
    assert View.parse(dict(parse_qsl(view.query(), errors="strict"))) == view == View.parse(vars(view))


@fuzz("addresses", query=address)
def test_any_address_gives_a_view(query):
    # As the server reads it.
    check(View.parse(dict(QueryParams(query))))


@fuzz("requests", {"text": DEEP}, {"text": '{"view":' + "9" * 5000 + "}"}, text=request)
def test_any_request_is_a_view_or_refused(text):
    try:
        asked = OpenRequest.model_validate_json(text if isinstance(text, (str, bytes)) else json.dumps(text))
    except ValidationError as error:
        clear(line_of(error.errors()))
        return
    check(asked.view)
