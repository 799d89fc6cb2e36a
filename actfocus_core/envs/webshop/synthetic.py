"""The synthetic catalogue: products generated from a seed, in the format of WebShop's product file.

It is generated in memory on first use (about 0.2 s for all departments, 0.05 s for one) and not stored. Every attribute is
one common word, and no word contains another word of its department, so an attribute occurs in the text of a product only
if the product has it.
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
    """Name and values of the first option."""
    sizes: tuple[str, str]
    """Name and values of the second option; later values may cost more."""
    prices: tuple[int, int]
    """[lowest, highest) price in dollars."""


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
    """The products of some departments in the format of WebShop's product file, in random order.

    The result is determined by the seed; the products of a department do not depend on the other departments.
    """
    records = []
    for name in departments:
        rng = np.random.default_rng(stable_seed("webshop-catalogue", seed, name))
        for kind in DEPARTMENTS[name].types.split():
            records += [_record(rng, name, kind) for _ in range(PRODUCTS_PER_TYPE)]
    order = np.random.default_rng(stable_seed("webshop-catalogue", seed)).permutation(len(records))
    return [records[i] for i in order]


def _record(rng: np.random.Generator, name: DepartmentName, kind: str) -> dict[str, Any]:
    """One product of a department. Its title has two attributes, its bullet points and description all of them."""
    department = DEPARTMENTS[name]
    attributes = _sample(rng, department.attributes.split(), int(rng.integers(3, 5)))
    base = int(rng.integers(*department.prices))
    options = {department.kinds[0]: [_value(v) for v in _sample(rng, department.kinds[1].split(), 4)]}
    if rng.random() < 0.8:
        options[department.sizes[0]] = _sizes(rng, department.sizes[1].split(), base)
    listing = f"{', '.join(attributes[:-1])} and {attributes[-1]}"
    return {
        "asin": "B0" + "".join(rng.choice(list(_LETTERS), 8)),
        "name": f"{attributes[0]} {attributes[1]} {kind}".title(),
        "category": name,
        "query": kind,
        "product_category": f"{name.title()} › {kind.title()}",
        "small_description": [listing.capitalize(), "Ships in two days"],
        "full_description": f"This {kind} is {listing}.",
        "pricing": f"${base:.2f}",
        "customization_options": options,
        "images": [],
        "Attributes": attributes,
    }


def _sizes(rng: np.random.Generator, values: list[str], base: int) -> list[dict[str, Any]]:
    """Two or three sizes; in half of the products a larger size costs more."""
    step = int(rng.integers(2, 9)) if rng.random() < 0.5 else 0
    keep = sorted(rng.choice(len(values), int(rng.integers(2, 4)), replace=False))
    return [_value(values[i], base + step * rank if step else 0) for rank, i in enumerate(keep)]


def _value(value: str, price: int = 0) -> dict[str, Any]:
    """A value of an option in the format of WebShop's product file; price 0 means the product's price."""
    return {
        "value": value,
        "price": price,
        "price_string": f"${price:.2f}" if price else "",
        "is_selected": False,
        "url": None,
        "image": None,
    }


def _sample(rng: np.random.Generator, values: list[str], count: int) -> list[str]:
    return [values[i] for i in rng.choice(len(values), count, replace=False)]
