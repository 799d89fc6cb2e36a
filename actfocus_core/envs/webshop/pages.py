"""The pages of the shop as data: locations, their contents and buttons.

A location is a value, and a page is a pure function of catalogue and location. The environment walks this graph, the app
draws its pages, and the oracle solves it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from actfocus_core.envs.webshop.catalogue import Catalogue, Product, clean

BACK, PREVIOUS, NEXT, BUY = "back to search", "< prev", "next >", "buy now"


@dataclass(frozen=True)
class Location:
    """A location in the shop: the whole state of the world apart from the goal."""

    kind: Literal["search", "results", "item", "description", "features", "done"] = "search"
    query: str = ""
    number: int = 1
    """Page number of the results, from 1."""
    asin: str = ""
    chosen: tuple[tuple[str, str], ...] = ()
    """(option, value), in the order of the product's options."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"chosen": [list(pair) for pair in self.chosen]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Location:
        return cls(**data | {"chosen": tuple(tuple(pair) for pair in data["chosen"])})


@dataclass(frozen=True)
class Button:
    """A button of a page."""

    label: str
    """The text of the button, unique on its page; the policy writes it in a click action."""
    target: Location
    group: str = ""
    """``product``, ``buy``, ``move`` or ``tell`` (description and features); for a value of an option ``option:NAME``."""
    note: str = ""
    """The text beside the button: title and price of a product, price of an option."""
    chosen: bool = False

    @property
    def action(self) -> str:
        """The click action, as the policy writes it."""
        return f"click[{self.label}]"


@dataclass(frozen=True)
class Page:
    """The contents of a page: title, lines of text, buttons, and optionally a search box."""

    kind: str
    title: str
    lines: tuple[str, ...] = ()
    buttons: tuple[Button, ...] = ()
    search: bool = False

    def group(self, name: str) -> list[Button]:
        """The buttons of one group."""
        return [button for button in self.buttons if button.group == name]

    def options(self) -> dict[str, list[Button]]:
        """Option name -> buttons of its values."""
        options: dict[str, list[Button]] = {}
        for button in self.buttons:
            if button.group.startswith("option:"):
                options.setdefault(button.group.removeprefix("option:"), []).append(button)
        return options

    def find(self, label: str) -> Button | None:
        """The button with this label up to case and white space, or None."""
        key = " ".join(label.casefold().split())
        return next((b for b in self.buttons if " ".join(b.label.casefold().split()) == key), None)


def page(catalogue: Catalogue, at: Location, per_page: int, compact: bool = False) -> Page:
    """The page of a location, with ``per_page`` results.

    ``compact``: short texts for very small policies; the button of a product is its number on the page, followed by its
    attributes.
    """
    if at.kind == "search":
        return Page("search", "WebShop", ("Type words to search for.",), search=True)
    if at.kind == "results":
        return _results(catalogue, at, per_page, compact)
    product = catalogue.by_asin[at.asin]
    if at.kind == "item":
        return _item(product, at, compact)
    if at.kind == "done":
        chosen = ", ".join(f"{name}: {value}" for name, value in at.chosen)
        return Page("done", f"You bought {product.title}" + (f" ({chosen})" if chosen else ""))
    texts = product.bullets if at.kind == "features" else (product.description,)
    item = Location("item", at.query, at.number, at.asin, at.chosen)
    return Page(
        at.kind,
        f"{product.title}: {at.kind}",
        tuple(" ".join(text.split()) for text in texts),
        (_back(), Button(PREVIOUS, item, "move")),
    )


def _back() -> Button:
    return Button(BACK, Location(), "move")


def _results(catalogue: Catalogue, at: Location, per_page: int, compact: bool) -> Page:
    results = catalogue.search(at.query)
    last = max(1, -(-len(results) // per_page))
    buttons = [_back()]
    for label, number in ((PREVIOUS, at.number - 1), (NEXT, at.number + 1)):
        if 1 <= number <= last:
            buttons.append(Button(label, Location("results", at.query, number), "move"))
    used = {button.label for button in buttons}
    for rank, product in enumerate(results[(at.number - 1) * per_page : at.number * per_page], 1):
        target = Location("item", at.query, at.number, product.asin)
        label, note = (
            (str(rank), short(product)) if compact else (clean(product.asin), f"{product.title}, ${product.price:.2f}")
        )
        buttons.append(Button(_unused(label, "product", used), target, "product", note))
    title = f'Results for "{at.query}", page {at.number} of {last}, {len(results)} found'
    return Page("results", title, (), tuple(buttons))


def _item(product: Product, at: Location, compact: bool) -> Page:
    chosen = dict(at.chosen)
    buttons = [_back(), Button(PREVIOUS, Location("results", at.query, at.number), "move")]
    if not compact:
        buttons += [
            Button(kind, Location(kind, at.query, at.number, at.asin, at.chosen), "tell")
            for kind in ("description", "features")
        ]
    buttons.append(Button(BUY, Location("done", asin=at.asin, chosen=at.chosen), "buy"))
    used = {button.label for button in buttons}
    for name, values in product.options.items():
        for value in values:
            new_chosen = chosen | {name: value}
            ordered = tuple((option, new_chosen[option]) for option in product.options if option in new_chosen)
            value_price = product.option_prices.get((name, value))
            target = Location("item", at.query, at.number, at.asin, ordered)
            buttons.append(
                Button(
                    _unused(value, name, used),
                    target,
                    f"option:{name}",
                    "" if value_price is None else f"${value_price:.2f}",
                    chosen.get(name) == value,
                )
            )
    price = product.price_with(chosen)
    title = short(product, price) if compact else product.title
    return Page("item", title, () if compact else (f"Price: ${price:.2f}",), tuple(buttons))


def _unused(value: str, name: str, used: set[str]) -> str:
    """The value as a label, prefixed with ``name`` as often as needed to be unique on the page."""
    label = value
    while label.casefold() in used:
        label = f"{name}: {label}"
    used.add(label.casefold())
    return label


def short(product: Product, price: float | None = None) -> str:
    """A product in few words: attributes, product type, price in dollars."""
    dollars = product.price if price is None else price
    return " ".join((*product.attributes[:5], product.query, f"{dollars:.0f}"))


def full_text(shown: Page) -> str:
    """The page as the policy reads it, without the list of actions."""
    lines = [shown.title, *shown.lines]
    lines += [f"[{button.label}] {button.note}" for button in shown.group("product")]
    for name, buttons in shown.options().items():
        values = (
            f"[{b.label}]" + (f" {b.note}" if b.note else "") + (" (chosen)" if b.chosen else "") for b in buttons
        )
        lines.append(f"{name}: {' '.join(values)}")
    return "\n".join(lines)


def compact_text(shown: Page) -> str:
    """The page in one short line, with all its buttons."""
    if shown.kind == "search":
        return "search[words]"
    if shown.kind == "done":
        return "Done."
    if shown.kind == "results":
        parts = [f"{b.label} {b.note}" for b in shown.group("product")] or ["nothing"]
    else:
        parts = [shown.title, *shown.lines]
        parts += [
            f"{name} {' '.join(b.label + ('*' if b.chosen else '') for b in buttons)}"
            for name, buttons in shown.options().items()
        ]
    labels = [b.label for b in shown.buttons if b.group in ("buy", "move")]
    return "; ".join((*parts, ", ".join(labels)))
