"""Shops, goals and actions for the tests of WebShop."""

import json

import pytest
from hypothesis import strategies as st

from actfocus_core.envs import make_env
from actfocus_core.envs.webshop import TINY
from actfocus_core.envs.webshop.synthetic import make_records

PRESETS = {"paper": {}, "tiny": TINY}
presets = pytest.mark.parametrize("options", PRESETS.values(), ids=PRESETS)
picks = st.lists(
    st.one_of(
        st.integers(0, 10_000),
        st.text(max_size=30),
        st.text(max_size=20).map("search[{}]".format),
        st.text(max_size=20).map("click[{}]".format),
    ),
    max_size=12,
)
"""Actions of an episode: the index of a legal action, or a text that a policy might write."""


def play(env, choice):
    legal = env.legal_actions()
    text = legal[choice % len(legal)] if isinstance(choice, int) and legal else str(choice)
    return text, env.step([text])


def facts(env):
    return env.observation(), env.state_key(), env.state(), env.legal_actions(), env.svg()


def product_record(**fields):
    """A product in the format of WebShop's file, with fields that are ignored."""
    return {
        "asin": "B000000001",
        "name": "Women's Soft Shirt",
        "category": "fashion",
        "query": "women's shirts",
        "product_category": "Clothing › Women › Shirts",
        "small_description": ["Soft cotton", "Machine wash"],
        "full_description": "A shirt.",
        "pricing": "$12.99$15.99",
        "images": ["https://x/y.jpg"],
        "customization_options": {"Color": [{"value": "Red/Blue", "price": 0, "image": None}], "Size": None},
        "Attributes": ["machine wash"],
        "brand": None,
        "average_rating": 4.1,
    } | fields


def write(tmp_path, value, indent=1):
    path = tmp_path / "items.json"
    text = value if isinstance(value, str) else json.dumps(value, indent=indent, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return path


def small_shop(tmp_path, reward):
    """Seven products of three kinds with few option values, three results a page, six turns."""
    records = [r for r in make_records(2, ("fashion",)) if r["query"] in ("shirt", "hat", "dress")][:7]
    for record in records:
        record["customization_options"]["color"] = record["customization_options"]["color"][:2]
    return make_env(
        "webshop", catalogue=write(tmp_path, records), results_per_page=3, max_turns=6, goal_attributes=1, reward=reward
    )
