"""Shopping goals, and the score of a purchase (WebShop's graded score).

    score = r_type * (attributes met + options met + price met) / (attributes + options + 1)

Success requires a score of 1. To compare product types, WebShop uses the nouns of both titles (spaCy); this implementation
uses the words of the titles that occur in the catalogue's queries and categories.
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

SIMILARITY_THRESHOLD = 85
"""Two texts match if their token-set ratio is above this, as in WebShop."""


@dataclass(frozen=True)
class Goal:
    """A shopping goal, generated from a product that meets it."""

    asin: str
    """The product it was generated from; every product that meets the requirements is accepted."""
    title: str
    query: str
    """The required product type."""
    product_category: str
    instruction: str
    """The text that the policy reads."""
    attributes: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    """(option, value)"""
    price_upper: float | None
    """Price ceiling in dollars, or None for any price."""

    def phrases(self) -> list[str]:
        """Search phrases: the product type, the attributes and the values of the options."""
        return list(dict.fromkeys((self.query, *self.attributes, *(value for _, value in self.options))))

    def short(self) -> str:
        """The goal in few words, for the compact observation."""
        description = " ".join((*self.attributes, self.query, *(value for _, value in self.options)))
        return description if self.price_upper is None else f"{description} under {self.price_upper:.0f}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"attributes": list(self.attributes), "options": [list(pair) for pair in self.options]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Goal:
        return cls(
            **data
            | {"attributes": tuple(data["attributes"]), "options": tuple(tuple(pair) for pair in data["options"])}
        )


class Score(NamedTuple):
    """The score of a purchase against a goal."""

    total: float
    """The graded score, in [0, 1]."""
    kind: float
    """Match of the product type: 1, 0.5, 0.1 or 0."""
    attributes: int
    """Number of attributes met."""
    options: int
    """Number of options met."""
    price: bool
    """Whether the price is within the ceiling."""


def make_goal(catalogue: Catalogue, seed: int, attributes: int = 2, options: int = 2, ceiling: bool = True) -> Goal:
    """The goal of a seed, with at most ``attributes`` attributes and ``options`` options.

    A product is sampled, then some of its attributes and option values, then a price ceiling above its price by WebShop's
    rule, so that at least this product meets the goal. If the catalogue has an instruction for the product, its text and
    attributes are used. Raises ActFocusError if no product of the catalogue has attributes.
    """
    products = [product for product in catalogue.products if product.attributes]
    if not products:
        raise ActFocusError(
            "the catalogue has no product with attributes, so there are no goals; "
            "give WebShop's items_ins file as well (option instructions)"
        )
    rng = np.random.default_rng(stable_seed("webshop-goal", seed))
    product = products[int(rng.integers(len(products)))]
    required = product.instruction_attributes or _sample(rng, product.attributes, attributes)
    chosen = {
        name: product.options[name][int(rng.integers(len(product.options[name])))]
        for name in _sample(rng, tuple(product.options), options)
    }
    upper = _ceiling(rng, product.price_with(chosen)) if ceiling else None
    return Goal(
        product.asin,
        product.title,
        product.query,
        product.product_category,
        _instruction(product, required, chosen, upper),
        required,
        tuple(chosen.items()),
        upper,
    )


def _sample(rng: np.random.Generator, values: tuple[str, ...], count: int) -> tuple[str, ...]:
    """A random subset of at most ``count`` values, in their original order."""
    indices: Iterable[int] = rng.choice(len(values), min(count, len(values)), replace=False) if values else []
    return tuple(values[i] for i in sorted(indices))


def _ceiling(rng: np.random.Generator, price: float) -> float | None:
    """The larger of two random ones of the next four multiples of 10 dollars below 1,000 (WebShop's rule)."""
    multiples = [10.0 * i for i in range(1, 100) if 10 * i > price][:4]
    return multiples[max(rng.choice(len(multiples), 2, replace=False))] if len(multiples) > 1 else None


def _instruction(product: Product, attributes: tuple[str, ...], chosen: dict[str, str], upper: float | None) -> str:
    text = (product.instruction or f"Find me {', '.join(attributes)} {product.query}").strip().rstrip(".")
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
    """The score of its components: match of the product type, attributes met, options met, ``price`` in dollars."""
    affordable = goal.price_upper is None or price <= goal.price_upper
    requirements = len(goal.attributes) + len(goal.options) + 1
    total = kind * (attributes + options + affordable) / requirements
    return Score(total, kind, attributes, options, affordable)


def kind_score(catalogue: Catalogue, goal: Goal, product: Product) -> float:
    """WebShop's r_type: from the query, the category (two common levels) and the type words of the titles."""
    levels = [
        {level.strip() for level in text.split("›")} for text in (goal.product_category, product.product_category)
    ]
    goal_words, product_words = (
        {word for word in words(title) if word in catalogue.type_words} for title in (goal.title, product.title)
    )
    overlap = len(goal_words & product_words) / len(goal_words) if goal_words else 0.2
    if overlap == 0:
        return 0.0
    if overlap < 0.1:
        return 0.1
    return 1.0 if product.query == goal.query or len(levels[0] & levels[1]) > 1 or overlap > 0.2 else 0.5


def attributes_met(goal: Goal, product: Product) -> int:
    """The number of required attributes that the product lists or has in its title, bullet points or description."""
    return sum(
        any(is_similar(attribute, required) for attribute in product.attributes) or required in product.text
        for required in goal.attributes
    )


@lru_cache(maxsize=65536)
def options_met(goal: Goal, name: str, value: str) -> frozenset[int]:
    """Indices of the goal's options that this chosen value meets.

    As in WebShop, values are compared and option names are not. Sizes must be equal: by word sets, ``large`` would match
    ``x-large``.
    """
    matches = str.__eq__ if "size" in name else is_similar
    return frozenset(i for i, (_, required) in enumerate(goal.options) if matches(value, required))


@lru_cache(maxsize=65536)
def is_similar(a: str, b: str) -> bool:
    """Whether two texts are equal or have a token-set ratio above 85."""
    return a == b or token_set_ratio(a, b) > SIMILARITY_THRESHOLD


def token_set_ratio(a: str, b: str) -> int:
    """Similarity of the word sets of two texts, 0 to 100; 100 if one contains all words of the other.

    WebShop uses this measure from fuzzywuzzy, which defines it with difflib.
    """
    left, right = ({*re.findall(r"[^\W_]+", text.lower())} for text in (a, b))
    if not left or not right:
        return 0
    common = " ".join(sorted(left & right))
    full = [f"{common} {' '.join(sorted(difference))}".strip() for difference in (left - right, right - left)]
    pairs = [(common, full[0]), (common, full[1]), (full[0], full[1])]
    return max(round(100 * SequenceMatcher(None, *pair).ratio()) for pair in pairs)
