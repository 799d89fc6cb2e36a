"""The address bar: readable, and harmless whatever stands in it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfocus_studio.data.view import COLOURS, FILTERS, SCOPES, View


def test_a_view_survives_its_query_string():
    from urllib.parse import parse_qsl

    view = View(
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
    )
    assert View.parse(dict(parse_qsl(view.query()))) == view
    assert "alpha=0.25" in view.query() and "signal=entropy" in view.query()


@pytest.mark.parametrize(
    "query, field, value",
    [
        ({"alpha": "nan"}, "alpha", 0.1),
        ({"alpha": "inf"}, "alpha", 0.1),
        ({"alpha": "-3"}, "alpha", 0.0),
        ({"beta": "1e999"}, "beta", 0.5),
        ({"beta": "99"}, "beta", 2.0),
        ({"alpha": "<img>"}, "alpha", 0.1),
        ({"alpha": ["0.3"]}, "alpha", 0.1),
        ({"turn": "abc"}, "turn", 0),
        ({"turn": "-1"}, "turn", 0),
        ({"turn": "1e9"}, "turn", 0),
        ({"token": "\u0663"}, "token", None),
        ({"token": "9" * 400}, "token", None),
        ({"token": True}, "token", None),
        ({"signal": "zzz"}, "signal", "energy"),
        ({"signal": None}, "signal", "energy"),
        ({"scope": "world"}, "scope", "batch"),
        ({"color": "${x}"}, "color", "weight"),
        ({"adv": "yes"}, "adv", False),
        ({"tab": "admin"}, "tab", "trace"),
        ({"filter": "x"}, "filter", "all"),
        ({"run": "a\nb"}, "run", ""),
        ({"run": 7}, "run", ""),
        ({"step": ""}, "step", None),
        ({"keep": "0.3"}, "keep", ""),
        ({"keep": 0.5}, "keep", ""),
        ({"over": "world"}, "over", "step"),
        ({"measure": "luck"}, "measure", "energy"),
        ({"ribbons": []}, "ribbons", "kind"),
        ({"export": "rm"}, "export", "python"),
        ({"group": "a\tb"}, "group", ""),
        ({"tab": "tune"}, "tab", "tune"),
        ({"whatif": "rm"}, "whatif", ""),
        ({"whatif": "replay-00"}, "whatif", ""),
        ({"whatif": "branch"}, "whatif", "branch"),
        ({"whatif": "edit-0123456789ab"}, "whatif", "edit-0123456789ab"),
        ({"whatif": "../edit-0123456789ab"}, "whatif", ""),
        ({"motion": "magic"}, "motion", ""),
        ({"motion": "empg"}, "motion", "empg"),
        ({"stage": "99"}, "stage", 8),
        ({"stage": "x"}, "stage", 0),
    ],
)
def test_what_is_not_valid_is_the_default(query, field, value):
    assert getattr(View.parse(query), field) == value


_anything = st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.lists(st.text(), max_size=2))


@given(st.dictionaries(st.sampled_from(list(vars(View()))), _anything))
def test_every_query_gives_a_valid_view(query):
    view = View.parse(query)
    assert math.isfinite(view.alpha) and 0 <= view.alpha <= 1 and 0 <= view.beta <= 2
    assert view.scope in SCOPES and view.color in COLOURS and view.filter in FILTERS
    assert view.turn >= 0 and (view.token is None or view.token >= 0)
    assert len(view.run) <= 200 and View.parse(vars(view)) == view
