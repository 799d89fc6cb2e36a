"""What a customer wants, and how well a purchase meets it: WebShop's graded score.

    score = r_type * (attributes met + options met + price met) / (attributes + options + 1)

Success is strict: a score of 1. Where WebShop takes the nouns of two titles (by spaCy) to
compare what kind of thing they are, this takes the words of the titles that occur in the
catalogue's queries and categories: the words that name kinds of things there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from actfocus_core.envs.base import stable_seed
from actfocus_core.envs.webshop.catalogue import Catalogue, Product
from actfocus_core.envs.webshop.search import words
from actfocus_core.errors import ActFocusError

ALIKE = 85
"""Two texts mean the same above this token-set ratio, as in WebShop."""


@dataclass(frozen=True)
class Goal:
    """One customer's wish, made from a product that meets it."""

    asin: str
    """The product it was made from; any other that meets the demands is as good."""
    title: str
    query: str
    """The kind of thing wanted."""
    product_category: str
    instruction: str
    """What the policy reads."""
    attributes: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    """(option, value)"""
    price_upper: float | None
    """Dollars, or None: any price."""

    def phrases(self) -> list[str]:
        """What one could search for: the kind, each attribute, each option's value."""
        return list(dict.fromkeys((self.query, *self.attributes, *(value for _, value in self.options))))

    def short(self) -> str:
        """The wish in few words, for the compact observation."""
        wanted = " ".join((*self.attributes, self.query, *(value for _, value in self.options)))
        return wanted if self.price_upper is None else f"{wanted} under {self.price_upper:.0f}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"attributes": list(self.attributes), "options": [list(pair) for pair in self.options]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Goal:
        return cls(
            **data
            | {"attributes": tuple(data["attributes"]), "options": tuple(tuple(pair) for pair in data["options"])}
        )


class Score(NamedTuple):
    """How well a purchase meets a goal."""

    total: float
    """In [0, 1]."""
    kind: float
    """1, 0.5, 0.1 or 0: whether it is the kind of thing wanted."""
    attributes: int
    """Attributes met."""
    options: int
    """Options met."""
    price: bool
    """Within the price."""


def make_goal(catalogue: Catalogue, seed: int, attributes: int = 2, options: int = 2, ceiling: bool = True) -> Goal:
    """The goal of a seed, with at most so many attributes and options.

    A product is drawn, then attributes and option values of its own, then a price ceiling
    above its price by WebShop's rule; so at least this product meets all of it. A product
    that comes with an instruction of its own keeps that text and its attributes.

    Raises ActFocusError if no product of the catalogue has attributes.
    """
    products = [product for product in catalogue.products if product.attributes]
    if not products:
        raise ActFocusError(
            "the catalogue has no product with attributes, so there are no goals; "
            "give WebShop's items_ins file as well (option instructions)"
        )
    rng = np.random.default_rng(stable_seed("webshop-goal", seed))
    product = products[int(rng.integers(len(products)))]
    wanted = product.instruction_attributes or _some(rng, product.attributes, attributes)
    chosen = {
        name: product.options[name][int(rng.integers(len(product.options[name])))]
        for name in _some(rng, tuple(product.options), options)
    }
    upper = _ceiling(rng, product.price_with(chosen)) if ceiling else None
    return Goal(
        product.asin,
        product.title,
        product.query,
        product.product_category,
        _instruction(product, wanted, chosen, upper),
        wanted,
        tuple(chosen.items()),
        upper,
    )


def _some(rng: np.random.Generator, values: tuple[str, ...], count: int) -> tuple[str, ...]:
    """At most ``count`` of the values, in their own order."""
    keep: Iterable[int] = rng.choice(len(values), min(count, len(values)), replace=False) if values else []
    return tuple(values[i] for i in sorted(keep))


def _ceiling(rng: np.random.Generator, price: float) -> float | None:
    """The larger of two among the next four multiples of ten dollars (below 1,000: WebShop's rule)."""
    above = [10.0 * i for i in range(1, 100) if 10 * i > price][:4]
    return above[max(rng.choice(len(above), 2, replace=False))] if len(above) > 1 else None


def _instruction(product: Product, wanted: tuple[str, ...], chosen: dict[str, str], upper: float | None) -> str:
    text = (product.instruction or f"Find me {', '.join(wanted)} {product.query}").strip().rstrip(".")
    if chosen:
        text += " with " + ", and ".join(f"{name}: {value}" for name, value in chosen.items())
    return text if upper is None else f"{text}, and price lower than {upper:.2f} dollars"


# --- the score -----------------------------------------------------------------------------


def score(catalogue: Catalogue, goal: Goal, product: Product, chosen: dict[str, str]) -> Score:
    """The score of buying a product with these options (name -> value) chosen."""
    kind = kind_score(catalogue, goal, product)
    attributes = attributes_met(goal, product)
    options = len(set().union(*(options_met(goal, *pair) for pair in chosen.items())))
    return combine(goal, kind, attributes, options, product.price_with(chosen))


def combine(goal: Goal, kind: float, attributes: int, options: int, price: float) -> Score:
    """The score of its parts; ``price`` in dollars."""
    affordable = goal.price_upper is None or price <= goal.price_upper
    demands = len(goal.attributes) + len(goal.options) + 1
    total = kind * (attributes + options + affordable) / demands
    return Score(total, kind, attributes, options, affordable)


def kind_score(catalogue: Catalogue, goal: Goal, product: Product) -> float:
    """WebShop's r_type: by query, category (two levels in common) and the titles' kind words."""
    levels = [
        {level.strip() for level in text.split("›")} for text in (goal.product_category, product.product_category)
    ]
    wanted, bought = (
        {word for word in words(title) if word in catalogue.type_words} for title in (goal.title, product.title)
    )
    title = len(wanted & bought) / len(wanted) if wanted else 0.2
    if title == 0:
        return 0.0
    if title < 0.1:
        return 0.1
    return 1.0 if product.query == goal.query or len(levels[0] & levels[1]) > 1 or title > 0.2 else 0.5


def attributes_met(goal: Goal, product: Product) -> int:
    """How many wanted attributes the product lists, or has in its title, bullets or description."""
    return sum(
        any(alike(own, wanted) for own in product.attributes) or wanted in product.text for wanted in goal.attributes
    )


@lru_cache(maxsize=65536)
def options_met(goal: Goal, name: str, value: str) -> frozenset[int]:
    """Which of the goal's options (by position) this chosen value meets.

    Values count and names do not, as in WebShop; a size must be the very same, since by words
    alone ``large`` would be ``x-large``.
    """
    same = str.__eq__ if "size" in name else alike
    return frozenset(i for i, (_, wanted) in enumerate(goal.options) if same(value, wanted))


@lru_cache(maxsize=65536)
def alike(a: str, b: str) -> bool:
    """Equal, or a token-set ratio above 85."""
    return a == b or token_set_ratio(a, b) > ALIKE


def token_set_ratio(a: str, b: str) -> int:
    """0 to 100: likeness of two texts' word sets; 100 where one holds all words of the other.

    The measure WebShop takes from fuzzywuzzy, which defines it with difflib.
    """
    left, right = ({*re.findall(r"[^\W_]+", text.lower())} for text in (a, b))
    if not left or not right:
        return 0
    common = " ".join(sorted(left & right))
    whole = [f"{common} {' '.join(sorted(rest))}".strip() for rest in (left - right, right - left)]
    pairs = [(common, whole[0]), (common, whole[1]), (whole[0], whole[1])]
    return max(round(100 * SequenceMatcher(None, *pair).ratio()) for pair in pairs)
