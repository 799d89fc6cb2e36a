"""WebShop: goals and the score of a purchase."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actfocus_core.envs.webshop.catalogue import synthetic_catalogue
from actfocus_core.envs.webshop.goals import Goal, make_goal, score, token_set_ratio
from actfocus_core.envs.webshop.synthetic import DEPARTMENTS


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**9), attributes=st.integers(1, 5), options=st.integers(0, 3))
def test_every_goal_is_met_by_its_own_product(seed, attributes, options):
    shop = synthetic_catalogue(0, tuple(DEPARTMENTS))
    goal = make_goal(shop, seed, attributes, options)
    assert score(shop, goal, shop.by_asin[goal.asin], dict(goal.options)).total == 1
    assert Goal.from_json(json.loads(json.dumps(goal.to_json()))) == goal


def test_the_score_counts_each_demand():
    shop = synthetic_catalogue(0, ("fashion",))
    goal = next(g for g in (make_goal(shop, s, 2, 2) for s in range(100)) if len(g.options) == 2 and g.price_upper)
    own, chosen = shop.by_asin[goal.asin], dict(goal.options)
    assert score(shop, goal, own, {}).total == 3 / 5
    assert score(shop, goal, own, dict([goal.options[0]])).total == 4 / 5
    dear = replace(goal, price_upper=1.0)
    assert score(shop, dear, own, chosen).total == 4 / 5
    more = replace(goal, attributes=(*goal.attributes, "unheard of"))
    assert score(shop, more, own, chosen).total == 5 / 6
    stranger = next(p for p in shop.products if p.query != goal.query)
    assert score(shop, goal, stranger, chosen).total == 0, "not the kind of thing wanted"


def test_an_options_price_is_the_price_paid():
    shop = synthetic_catalogue(0, ("fashion",))
    product = next(p for p in shop.products if p.option_prices)
    (name, value), dollars = max(product.option_prices.items(), key=lambda item: item[1])
    assert product.price_with({name: value}) == dollars >= product.price == product.price_with({})


@pytest.mark.parametrize(
    "a, b, ratio",
    [
        ("machine wash", "machine washable", 86),
        ("soft", "soft cotton", 100),
        ("red", "blue", 29),
        ("", "red", 0),
        ("navy blue", "Blue/Navy", 100),
    ],
)
def test_token_set_ratio(a, b, ratio):
    assert token_set_ratio(a, b) == pytest.approx(ratio, abs=1) == token_set_ratio(b, a)
