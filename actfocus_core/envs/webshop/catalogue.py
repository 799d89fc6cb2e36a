"""WebShop's product file: reading and checking it, and the catalogue made of it.

The file is a JSON array of products (``items_shuffle_1000.json``) or one product a line.
A second file, optional, gives attributes and instructions by asin (``items_ins_v2_1000.json``).
Products whose asin is empty, ``nan`` or longer than ten characters, and repeats, are left out
unseen, as in WebShop; what is missing or malformed in others is refused with line and field.
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
"""The price of a product whose file gives none, as in WebShop."""
MINED_ATTRIBUTES = 200
"""Where no product has attributes: so many word pairs of the bullet points serve as such."""

FORMS = {
    "asin": 'text such as "B09KP78G37"',
    "name": 'text such as "Women\'s Soft Shirt"',
    "category": 'text such as "fashion"',
    "query": 'text such as "women\'s shoes"',
    "product_category": 'text such as "Clothing › Women › Shoes"',
    "small_description": "a list of texts, a text, or null",
    "full_description": "text or null",
    "pricing": 'text such as "$12.99" or "$12.99$15.99", empty, or null',
    "customization_options": 'an object such as {"color": [{"value": "red", "price": 12.99}]}, empty text, or null',
    "Attributes": "a list of texts",
    "attributes": "a list of texts",
    "instruction": "text or null",
    "instruction_attributes": "a list of texts or null",
}
"""What would be right, a field; said where a field is wrong."""


class OptionValue(BaseModel):
    """One value of an option; ``price`` counts where it is a positive number."""

    model_config = ConfigDict(strict=True)
    value: str
    price: Any = None


class Record(BaseModel):
    """One product of the file; fields not named here are of no use and not looked at."""

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
            raise ValueError("not a text")
        prices = [float(re.sub(r"[^\d.]", "", part)) for part in value.split("$")[1:]]
        if not prices or not all(map(math.isfinite, prices)):
            raise ValueError("no price after a $ sign")
        return prices[:2]


class Instruction(BaseModel):
    """What the second file says of one product."""

    model_config = ConfigDict(strict=True)
    attributes: list[str] = []
    instruction: str | None = None
    instruction_attributes: list[str] | None = None


@dataclass(frozen=True, eq=False)
class Product:
    """A product as the shop sells it."""

    asin: str
    title: str
    category: str
    query: str
    """The kind of thing it is."""
    product_category: str
    bullets: tuple[str, ...]
    description: str
    price: float
    """Dollars. Drawn once from the range where the file gives one, and shown as drawn."""
    options: dict[str, tuple[str, ...]]
    option_prices: dict[tuple[str, str], float]
    """(option, value) -> dollars, where the file gives a value its own price."""
    attributes: tuple[str, ...] = ()
    instruction: str | None = None
    instruction_attributes: tuple[str, ...] = ()

    @cached_property
    def text(self) -> str:
        """Title, bullet points and description, where an attribute may be found too."""
        return "\n".join((self.title, *self.bullets, self.description)).lower()

    def price_with(self, chosen: dict[str, str]) -> float:
        """Dollars with these options: the highest price of a chosen value, else the product's own.

        WebShop's reward ignores the prices of options (ours).
        """
        own = [self.option_prices[pair] for pair in chosen.items() if pair in self.option_prices]
        return max(own) if own else self.price

    def search_text(self) -> str:
        """What the search looks at: title, description, first bullet point, options (WebShop)."""
        options = [" ".join((name, *values)) for name, values in self.options.items()]
        return " ".join((self.title, self.description, *self.bullets[:1], *options))


class Catalogue:
    """All products and their search. Never changes, so copies of an environment share it."""

    def __init__(self, products: list[Product]):
        self.products = tuple(products)
        self.by_asin = {product.asin: product for product in products}
        self.type_words = frozenset(
            word for product in products for text in (product.query, product.product_category) for word in words(text)
        )
        """Words that name kinds of things."""

    @cached_property
    def _index(self) -> Index:
        return Index([product.search_text() for product in self.products])

    def search(self, query: str) -> tuple[Product, ...]:
        """At most 50 products, best first."""
        return tuple(self.products[i] for i in self._index.search(query))

    def __deepcopy__(self, memo: dict[int, Any]) -> Catalogue:
        return self


@lru_cache(maxsize=8)
def synthetic_catalogue(seed: int, departments: tuple[DepartmentName, ...]) -> Catalogue:
    """The embedded catalogue."""
    return Catalogue([_product(Record.model_validate(r)) for r in make_records(seed, departments)])


def read_catalogue(path: Path, instructions: Path | None = None) -> Catalogue:
    """The catalogue of a WebShop product file; read once, and again only when it changed.

    Raises ActFocusError for a file that cannot be read, naming line, product and field.
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
    told = _instructions(instructions) if instructions else {}
    listed = [_told(product, told.get(product.asin)) for product in products.values()]
    return Catalogue(listed if any(p.attributes for p in listed) else _mine(listed))


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
    """An option's value or an attribute as it is shown and clicked.

    Lower case, ``/`` as `` | `` (WebShop), one line, and never ``||``, which separates actions.
    """
    text = " ".join(_unicode(value).replace("/", " | ").lower().split())
    while "||" in text:
        text = text.replace("||", "|")
    return text


def _unicode(text: str) -> str:
    """JSON can name half a character, which no file or tokenizer takes: it becomes a ``?``."""
    return text.encode("utf-8", "replace").decode()


def _told(product: Product, said: Instruction | None) -> Product:
    if said is None:
        return product
    attributes = tuple(dict.fromkeys(filter(None, map(clean, said.attributes)))) or product.attributes
    wanted = tuple(filter(None, map(clean, said.instruction_attributes or [])))
    return replace(
        product, attributes=attributes or wanted, instruction=said.instruction, instruction_attributes=wanted
    )


def _mine(products: list[Product]) -> list[Product]:
    """Give products the commonest word pairs of their bullet points as attributes.

    For a product file that comes without its attributes; WebShop's own list was mined from
    such pairs too, then cleaned by hand.
    """
    pairs = [list(dict.fromkeys(pair for bullet in p.bullets for pair in _pairs(bullet))) for p in products]
    counts = Counter(pair for own in pairs for pair in own)
    common = {pair for pair, count in counts.most_common(MINED_ATTRIBUTES) if count > 1}
    return [
        replace(p, attributes=tuple([pair for pair in own if pair in common][:5])) for p, own in zip(products, pairs)
    ]


def _pairs(text: str) -> list[str]:
    found = [word for word in re.findall(r"[a-z]+", text.lower()) if words(word) and len(word) > 2]
    return [f"{a} {b}" for a, b in zip(found, found[1:])]


# --- reading JSON so that an error has a line ----------------------------------------------


def _elements(text: str, path: Path) -> Iterator[tuple[int, int, Any]]:
    """Start, end and value of every element of a JSON array, or of every object in a row."""
    at = _blank(text, 0)
    array = text.startswith("[", at)
    at = _blank(text, at + array)
    while at < len(text):
        if array and text[at] == "]":
            if (at := _blank(text, at + 1)) < len(text):
                raise ActFocusError(f"{path} line {_line(text, at)}: text after the end of the JSON array")
            return
        value, end = _decode(text, at, path)
        yield at, end, value
        at = _blank(text, end)
        if array and text.startswith(",", at):
            at = _blank(text, at + 1)
        elif array and at < len(text) and text[at] != "]":
            raise ActFocusError(f"{path} line {_line(text, at)}: expected a comma or ] after a product")
    if array:
        raise ActFocusError(f"{path} line {_line(text, at)}: the JSON array does not end; the file seems to be cut off")


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
    value, _ = _decode(text, _blank(text, 0), path)
    if not isinstance(value, dict):
        raise ActFocusError(f"{path} line 1: must be an object from asin to attributes and instruction")
    said = {}
    for asin, entry in value.items():
        start = max(text.find(json.dumps(asin)), 0)
        where = f"{path} line {{line}}: product {asin}"
        said[asin] = _check(Instruction, entry, where, text, start, len(text))
        if (wording := said[asin].instruction) is not None:
            said[asin].instruction = _unicode(wording)
    return said


def _check(model: type[T], value: Any, where: str, text: str, start: int, end: int) -> T:
    """The checked model, or an ActFocusError with the line of the first wrong field."""
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
    named = f" ({asin})" if isinstance(asin, str) and asin else ""
    path = ".".join(map(str, first["loc"]))
    fault = "is missing" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
    place = where.format(line=_line(text, key.start() if key else start))
    raise ActFocusError(f"{place}{named}: field {path}: {fault}; {field} must be {FORMS[field]}")


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


def _blank(text: str, at: int) -> int:
    """The position after white space."""
    space = _SPACE.match(text, at)
    assert space is not None  # The pattern matches the empty string.
    return space.end()


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
