"""Reading and validation of WebShop's product file, and the catalogue built from it.

The file is a JSON array of products (``items_shuffle_1000.json``) or has one product a line. A second, optional file maps
asins to attributes and instructions (``items_ins_v2_1000.json``). As in WebShop, duplicates and products whose asin is
empty, ``nan`` or longer than ten characters are skipped without validation; a missing or malformed field of another
product is an error with its line.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from actfocus_core.envs.base import stable_uniform
from actfocus_core.envs.webshop.search import Index, words
from actfocus_core.envs.webshop.synthetic import DepartmentName, make_records
from actfocus_core.errors import ActFocusError

T = TypeVar("T", bound=BaseModel)

NO_PRICE = 100.0
"""Price of a product without one in the file, in dollars, as in WebShop."""
MINED_ATTRIBUTES = 200
"""Number of word pairs mined from bullet points as attributes, if no product has attributes."""

FORMS = {
    "asin": 'a string such as "B09KP78G37"',
    "name": 'a string such as "Women\'s Soft Shirt"',
    "category": 'a string such as "fashion"',
    "query": 'a string such as "women\'s shoes"',
    "product_category": 'a string such as "Clothing › Women › Shoes"',
    "small_description": "a list of strings, a string, or null",
    "full_description": "a string or null",
    "pricing": 'a string such as "$12.99" or "$12.99$15.99", empty, or null',
    "customization_options": 'an object such as {"color": [{"value": "red", "price": 12.99}]}, an empty string, or null',
    "Attributes": "a list of strings",
    "attributes": "a list of strings",
    "instruction": "a string or null",
    "instruction_attributes": "a list of strings or null",
}
"""Field -> description of valid values, for error messages."""


class OptionValue(BaseModel):
    """One value of an option; ``price`` is ignored unless it is a positive number."""

    model_config = ConfigDict(strict=True)
    value: str
    price: Any = None


class Record(BaseModel):
    """One product of the file; other fields are ignored."""

    model_config = ConfigDict(strict=True)
    asin: str
    name: str
    category: str
    query: str
    product_category: str
    small_description: list[str | None]
    full_description: str | None
    pricing: list[float] = []
    customization_options: dict[str, list[OptionValue] | None]
    attributes: list[str] = Field([], alias="Attributes")

    @field_validator("small_description", mode="before")
    @classmethod
    def _bullets(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) or value is None else value

    @field_validator("customization_options", mode="before")
    @classmethod
    def _no_options(cls, value: Any) -> Any:
        return {} if value is None or value == "" else value

    @field_validator("pricing", mode="before")
    @classmethod
    def _prices(cls, value: Any) -> list[float]:
        """``$12.99$15.99`` -> [12.99, 15.99]; WebShop reads it the same way."""
        if value is None or value == "":
            return []
        if not isinstance(value, str):
            raise ValueError("not a string")
        prices = [float(re.sub(r"[^\d.]", "", part)) for part in value.split("$")[1:]]
        if not prices or not all(map(math.isfinite, prices)):
            raise ValueError("no price after a $ sign")
        return prices[:2]


class Instruction(BaseModel):
    """The entry of one product in the second file."""

    model_config = ConfigDict(strict=True)
    attributes: list[str] = []
    instruction: str | None = None
    instruction_attributes: list[str] | None = None


@dataclass(frozen=True, eq=False)
class Product:
    """A product of the shop."""

    asin: str
    title: str
    category: str
    query: str
    """The product type."""
    product_category: str
    bullets: tuple[str, ...]
    description: str
    price: float
    """Dollars; drawn once, deterministically, if the file gives a range."""
    options: dict[str, tuple[str, ...]]
    option_prices: dict[tuple[str, str], float]
    """(option, value) -> dollars, for values with their own price."""
    attributes: tuple[str, ...] = ()
    instruction: str | None = None
    instruction_attributes: tuple[str, ...] = ()

    @cached_property
    def text(self) -> str:
        """Title, bullet points and description in lower case, in which attributes are matched."""
        return "\n".join((self.title, *self.bullets, self.description)).lower()

    def price_with(self, chosen: dict[str, str]) -> float:
        """Price in dollars with these options: the highest price of a chosen value, else the product's price.

        This is ours; WebShop's reward ignores the prices of options.
        """
        prices = [self.option_prices[pair] for pair in chosen.items() if pair in self.option_prices]
        return max(prices) if prices else self.price

    def search_text(self) -> str:
        """The indexed text: title, description, first bullet point and options, as in WebShop."""
        options = [" ".join((name, *values)) for name, values in self.options.items()]
        return " ".join((self.title, self.description, *self.bullets[:1], *options))


class Catalogue:
    """All products and their search index. Immutable, so copies of an environment share it."""

    def __init__(self, products: list[Product]):
        self.products = tuple(products)
        self.by_asin = {product.asin: product for product in products}
        self.type_words = frozenset(
            word for product in products for text in (product.query, product.product_category) for word in words(text)
        )
        """Words that occur in the queries and categories, i.e. in names of product types"""

    @cached_property
    def _index(self) -> Index:
        return Index([product.search_text() for product in self.products])

    def search(self, query: str) -> tuple[Product, ...]:
        """At most 50 products, in descending order of their BM25 score."""
        return tuple(self.products[i] for i in self._index.search(query))

    def __deepcopy__(self, memo: dict[int, Any]) -> Catalogue:
        return self


@lru_cache(maxsize=8)
def synthetic_catalogue(seed: int, departments: tuple[DepartmentName, ...]) -> Catalogue:
    """The synthetic catalogue of a seed and departments."""
    return Catalogue([_product(Record.model_validate(r)) for r in make_records(seed, departments)])


def read_catalogue(path: Path, instructions: Path | None = None) -> Catalogue:
    """The catalogue of a WebShop product file; cached until a file changes.

    Raises ActFocusError for a file that cannot be read or is invalid, with line, product and field.
    """
    stamps = [_stamp(file) if file else None for file in (path, instructions)]
    return _read_catalogue(path, instructions, *stamps)


@lru_cache(maxsize=4)
def _read_catalogue(path: Path, instructions: Path | None, *stamps: int | None) -> Catalogue:
    text = _text(path)
    products: dict[str, Product] = {}
    for number, (start, end, value) in enumerate(_elements(text, path), 1):
        asin = value.get("asin") if isinstance(value, dict) else None
        if isinstance(asin, str) and (asin in ("", "nan") or len(asin) > 10 or asin in products):
            continue
        record = _check(Record, value, f"{path} line {{line}}: product {number}", text, start, end)
        products[record.asin] = _product(record)
    if not products:
        raise ActFocusError(f"{path}: no product with an asin; a WebShop product file is a JSON array of products")
    by_asin = _instructions(instructions) if instructions else {}
    merged = [_with_instruction(product, by_asin.get(product.asin)) for product in products.values()]
    return Catalogue(merged if any(product.attributes for product in merged) else _mine_attributes(merged))


def _product(record: Record) -> Product:
    options: dict[str, tuple[str, ...]] = {}
    option_prices: dict[tuple[str, str], float] = {}
    for name, contents in record.customization_options.items():
        values = {clean(content.value): content.price for content in contents or []}
        values.pop("", None)
        if not values or not (name := clean(name)):
            continue
        options[name] = tuple(values)
        option_prices |= {(name, value): float(price) for value, price in values.items() if _positive(price)}
    low, high = (record.pricing[0], record.pricing[-1]) if record.pricing else (NO_PRICE, NO_PRICE)
    return Product(
        asin=record.asin,
        title=" ".join(_unicode(record.name or record.query).split()),
        category=record.category,
        query=clean(record.query),
        product_category=record.product_category,
        bullets=tuple(_unicode(bullet) for bullet in record.small_description if bullet),
        description=_unicode(record.full_description or ""),
        price=round(low + (high - low) * stable_uniform("webshop-price", record.asin), 2),
        options=options,
        option_prices=option_prices,
        attributes=tuple(dict.fromkeys(filter(None, map(clean, record.attributes)))),
    )


def _positive(price: Any) -> bool:
    return isinstance(price, int | float) and math.isfinite(price) and price > 0


def clean(value: str) -> str:
    """The displayed form of an option's value or an attribute.

    Lower case, ``/`` replaced by `` | `` (WebShop), on one line, and without ``||``, which separates actions.
    """
    text = " ".join(_unicode(value).replace("/", " | ").lower().split())
    while "||" in text:
        text = text.replace("||", "|")
    return text


def _unicode(text: str) -> str:
    """Replace lone surrogates by ``?``: JSON can contain them, but they cannot be encoded as UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _with_instruction(product: Product, entry: Instruction | None) -> Product:
    if entry is None:
        return product
    attributes = tuple(dict.fromkeys(filter(None, map(clean, entry.attributes)))) or product.attributes
    required = tuple(filter(None, map(clean, entry.instruction_attributes or [])))
    return replace(
        product, attributes=attributes or required, instruction=entry.instruction, instruction_attributes=required
    )


def _mine_attributes(products: list[Product]) -> list[Product]:
    """Give products the most frequent word pairs of their bullet points as attributes.

    For a product file without attributes; WebShop's list was mined from such pairs as well, then cleaned by hand.
    """
    pairs = [list(dict.fromkeys(pair for bullet in p.bullets for pair in _word_pairs(bullet))) for p in products]
    counts = Counter(pair for product_pairs in pairs for pair in product_pairs)
    frequent = {pair for pair, count in counts.most_common(MINED_ATTRIBUTES) if count > 1}
    return [
        replace(product, attributes=tuple([pair for pair in product_pairs if pair in frequent][:5]))
        for product, product_pairs in zip(products, pairs)
    ]


def _word_pairs(text: str) -> list[str]:
    content_words = [word for word in re.findall(r"[a-z]+", text.lower()) if words(word) and len(word) > 2]
    return [f"{a} {b}" for a, b in zip(content_words, content_words[1:])]


# --- JSON with line numbers in errors ------------------------------------------------------


def _elements(text: str, path: Path) -> Iterator[tuple[int, int, Any]]:
    """(start, end, value) of every element of a JSON array, or of every object of a sequence."""
    at = _skip_space(text, 0)
    array = text.startswith("[", at)
    at = _skip_space(text, at + array)
    while at < len(text):
        if array and text[at] == "]":
            if (at := _skip_space(text, at + 1)) < len(text):
                raise ActFocusError(f"{path} line {_line(text, at)}: text after the end of the JSON array")
            return
        value, end = _decode(text, at, path)
        yield at, end, value
        at = _skip_space(text, end)
        if array and text.startswith(",", at):
            at = _skip_space(text, at + 1)
        elif array and at < len(text) and text[at] != "]":
            raise ActFocusError(f"{path} line {_line(text, at)}: expected a comma or ] after a product")
    if array:
        raise ActFocusError(f"{path} line {_line(text, at)}: the JSON array does not end; the file seems truncated")


def _decode(text: str, at: int, path: Path) -> tuple[Any, int]:
    try:
        return json.JSONDecoder().raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise ActFocusError(
            f"{path} line {error.lineno}: not JSON: {error.msg} (column {error.colno}); "
            "a WebShop product file is a JSON array of products"
        ) from None
    except RecursionError:
        raise ActFocusError(f"{path} line {_line(text, at)}: nested too deeply") from None


def _instructions(path: Path) -> dict[str, Instruction]:
    text = _text(path)
    value, _ = _decode(text, _skip_space(text, 0), path)
    if not isinstance(value, dict):
        raise ActFocusError(f"{path} line 1: must be an object that maps asins to attributes and instruction")
    entries = {}
    for asin, entry in value.items():
        start = max(text.find(json.dumps(asin)), 0)
        where = f"{path} line {{line}}: product {asin}"
        entries[asin] = _check(Instruction, entry, where, text, start, len(text))
        if (instruction := entries[asin].instruction) is not None:
            entries[asin].instruction = _unicode(instruction)
    return entries


def _check(model: type[T], value: Any, where: str, text: str, start: int, end: int) -> T:
    """Validate ``value``. Raises ActFocusError with the line of the first invalid field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    if not first["loc"]:
        raise ActFocusError(
            f"{where.format(line=_line(text, start))} is not an object with the fields "
            f"{', '.join(f.alias or name for name, f in model.model_fields.items())}"
        )
    field = str(first["loc"][0])
    key = re.compile(rf'"{re.escape(field)}"\s*:').search(text, start, end)
    asin = value.get("asin", "") if isinstance(value, dict) else ""
    label = f" ({asin})" if isinstance(asin, str) and asin else ""
    path = ".".join(map(str, first["loc"]))
    problem = "is missing" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
    location = where.format(line=_line(text, key.start() if key else start))
    raise ActFocusError(f"{location}{label}: field {path}: {problem}; {field} must be {FORMS[field]}")


def _text(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ActFocusError(f"{path}: not UTF-8 text (byte {error.start}); a WebShop product file is JSON") from None
    except OSError as error:
        raise ActFocusError(f"{path}: {error.strerror}; give a WebShop product file") from None


def _stamp(path: Path) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError as error:
        raise ActFocusError(f"{path}: {error.strerror}; give a WebShop product file") from None


_SPACE = re.compile(r"[ \t\r\n]*")


def _skip_space(text: str, at: int) -> int:
    """The first position at or after ``at`` that is not white space."""
    space = _SPACE.match(text, at)
    assert space is not None  # The pattern matches the empty string.
    return space.end()


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
