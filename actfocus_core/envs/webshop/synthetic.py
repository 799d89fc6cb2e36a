"""The embedded catalogue: products made from a seed, in the form of WebShop's product file.

It is made in memory at first use (about 0.2 s for all departments, 0.05 s for one): nothing is stored.
Every attribute is one common word and no word is part of another one of its department:
an attribute is found in a product's text only if the product has it.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from actfocus_core.envs.base import stable_seed

PRODUCTS_PER_TYPE = 26
DepartmentName = Literal["fashion", "beauty", "electronics", "garden", "grocery"]
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


class Department(NamedTuple):
    types: str
    attributes: str
    kinds: tuple[str, str]
    """The first option: its name and values."""
    sizes: tuple[str, str]
    """The second option; a later value may cost more."""
    prices: tuple[int, int]
    """Dollars, from and to."""


COLORS = "black white red blue green gray pink brown"
DEPARTMENTS: dict[DepartmentName, Department] = {
    "fashion": Department(
        "shirt jacket dress sweater boots hat",
        "cotton wool soft warm slim loose casual formal classic vintage hooded stretch",
        ("color", COLORS),
        ("size", "small medium large"),
        (12, 80),
    ),
    "beauty": Department(
        "shampoo lotion lipstick perfume soap serum",
        "natural organic vegan gentle hydrating matte glossy fresh mild pure herbal travel",
        ("scent", "rose mint lemon lavender vanilla coconut"),
        ("size", "mini regular jumbo"),
        (6, 60),
    ),
    "electronics": Department(
        "headphones keyboard charger speaker camera router",
        "wireless portable fast quiet compact rugged smart digital bright durable magnetic rechargeable",
        ("color", COLORS),
        ("edition", "basic plus deluxe"),
        (15, 180),
    ),
    "garden": Department(
        "pillow blanket curtain lamp chair table",
        "wooden woven washable modern rustic cozy sturdy foldable padded round quilted velvet",
        ("color", COLORS),
        ("size", "narrow medium wide"),
        (15, 150),
    ),
    "grocery": Department(
        "coffee tea cookies cereal pasta honey",
        "roasted crunchy salted sweet spicy creamy kosher keto chewy smoky fair frozen",
        ("flavor", "vanilla lemon cherry ginger cocoa maple"),
        ("pack", "single double family"),
        (4, 45),
    ),
}


def make_records(seed: int = 0, departments: tuple[DepartmentName, ...] = tuple(DEPARTMENTS)) -> list[dict[str, Any]]:
    """The products of some departments, as WebShop's product file holds them, shuffled.

    The seed decides everything; a department's products do not depend on which others there are.
    """
    records = []
    for name in departments:
        rng = np.random.default_rng(stable_seed("webshop-catalogue", seed, name))
        for kind in DEPARTMENTS[name].types.split():
            records += [_record(rng, name, kind) for _ in range(PRODUCTS_PER_TYPE)]
    order = np.random.default_rng(stable_seed("webshop-catalogue", seed)).permutation(len(records))
    return [records[i] for i in order]


def _record(rng: np.random.Generator, name: DepartmentName, kind: str) -> dict[str, Any]:
    """One product of a department. Half the titles' attributes are told in the bullet points only."""
    department = DEPARTMENTS[name]
    attributes = _some(rng, department.attributes.split(), int(rng.integers(3, 5)))
    base = int(rng.integers(*department.prices))
    options = {department.kinds[0]: [_value(v) for v in _some(rng, department.kinds[1].split(), 4)]}
    if rng.random() < 0.8:
        options[department.sizes[0]] = _sizes(rng, department.sizes[1].split(), base)
    told = f"{', '.join(attributes[:-1])} and {attributes[-1]}"
    return {
        "asin": "B0" + "".join(rng.choice(list(_LETTERS), 8)),
        "name": f"{attributes[0]} {attributes[1]} {kind}".title(),
        "category": name,
        "query": kind,
        "product_category": f"{name.title()} › {kind.title()}",
        "small_description": [told.capitalize(), "Ships in two days"],
        "full_description": f"This {kind} is {told}.",
        "pricing": f"${base:.2f}",
        "customization_options": options,
        "images": [],
        "Attributes": attributes,
    }


def _sizes(rng: np.random.Generator, values: list[str], base: int) -> list[dict[str, Any]]:
    """Two or three sizes; in half the products a larger one costs more."""
    step = int(rng.integers(2, 9)) if rng.random() < 0.5 else 0
    keep = sorted(rng.choice(len(values), int(rng.integers(2, 4)), replace=False))
    return [_value(values[i], base + step * rank if step else 0) for rank, i in enumerate(keep)]


def _value(value: str, price: int = 0) -> dict[str, Any]:
    """An option's value as WebShop's product file holds it; price 0 = the product's own."""
    return {
        "value": value,
        "price": price,
        "price_string": f"${price:.2f}" if price else "",
        "is_selected": False,
        "url": None,
        "image": None,
    }


def _some(rng: np.random.Generator, values: list[str], count: int) -> list[str]:
    return [values[i] for i in rng.choice(len(values), count, replace=False)]
