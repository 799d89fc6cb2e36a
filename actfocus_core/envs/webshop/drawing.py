"""Draw a shop page as one SVG with short, escaped texts."""

from __future__ import annotations

import textwrap
from html import escape

from actfocus_core.envs.webshop.pages import Page

WIDTH, HEIGHT, HEAD = 360, 260, 12
"""Size of the page, and the additional height of the instruction above it."""
_INK, _QUIET, _PAPER, _LINE, _BLUE, _GREEN, _ORANGE = (
    "#24323d",
    "#66757f",
    "#ffffff",
    "#d5dde2",
    "#0072B2",
    "#009E73",
    "#D55E00",
)


def sketch(shown: Page, instruction: str, outcome: str = "", success: bool = False) -> str:
    """The instruction and the page below it, as well-formed XML.

    ``outcome``, ``success``: text and result of a purchase; a success meets all requirements of the goal.
    """
    whole = HEIGHT + HEAD
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {whole}" role="img" '
        f'font-family="sans-serif" font-size="11">'
        f'<rect width="{WIDTH}" height="{whole}" rx="8" fill="#f4f7f8"/>'
        f'<rect width="{WIDTH}" height="{34 + HEAD}" rx="8" fill="{_INK}"/>'
    ]
    parts += [
        _words(12, 19 + 15 * row, line, 60, "#fff")
        for row, line in enumerate(textwrap.wrap(instruction, 56, max_lines=2, placeholder=" …"))
    ]
    parts.append(f'<g transform="translate(0 {HEAD})">')
    draw = {"search": _search, "results": _results, "item": _item}.get(shown.kind, _plain)
    parts += _done(shown, outcome, success) if shown.kind == "done" else draw(shown)
    return "".join((*parts, "</g></svg>"))


def _search(shown: Page) -> list[str]:
    return [
        _words(WIDTH / 2, 104, "WebShop", 20, _INK, size=22, anchor="middle"),
        _box(60, 124, 240, 32, _PAPER, radius=16),
        f'<circle cx="80" cy="139" r="5" fill="none" stroke="{_QUIET}" stroke-width="2"/>'
        f'<path d="M84 143l5 5" stroke="{_QUIET}" stroke-width="2"/>',
        _words(98, 144, "search", 20, _QUIET),
    ]


def _results(shown: Page) -> list[str]:
    parts, products = [_words(12, 52, shown.title, 58, _QUIET)], shown.group("product")
    height = min(30, 164 // max(1, len(products)))
    for row, button in enumerate(products):
        y = 60 + row * height
        parts += [
            _box(12, y, WIDTH - 24, height - 3, _PAPER, radius=4),
            _words(20, y + height / 2 + 2, button.label, 10, _BLUE, size=10),
            _words(96, y + height / 2 + 2, button.note, 46, _INK, size=10),
        ]
    return parts + _foot(shown)


def _item(shown: Page) -> list[str]:
    parts = [
        _box(12, 46, 76, 76, _PAPER),
        '<path d="M32 72h36l4 40H28z" fill="#c9dbe6"/>'
        '<path d="M40 76v-8a10 10 0 0 1 20 0v8" fill="none" stroke="#7d98a8" stroke-width="3"/>',
        _words(100, 62, shown.title, 44, _INK, size=13),
    ]
    parts += [_words(100, 80, line, 40, _QUIET) for line in shown.lines[:1]]
    for row, (name, buttons) in enumerate(list(shown.options().items())[:4]):
        y = 96 + row * 32
        x = 100 if row == 0 else 12
        parts.append(_words(x, y + 15, name, 10, _QUIET))
        x += 52
        for button in buttons:
            width = 14 + 6 * min(len(button.label), 12)
            if x + width > WIDTH - 12:
                break
            parts += [
                _box(x, y, width, 22, _BLUE if button.chosen else _PAPER, radius=11),
                _words(x + width / 2, y + 15, button.label, 12, "#fff" if button.chosen else _INK, anchor="middle"),
            ]
            x += width + 6
    return parts + _foot(shown)


def _done(shown: Page, outcome: str, success: bool) -> list[str]:
    """A tick for a successful purchase, else a dash."""
    mark = "l7 8 13-15" if success else "h20"
    return [
        f'<circle cx="{WIDTH / 2}" cy="100" r="24" fill="{_GREEN if success else _QUIET}"/>'
        f'<path d="M{WIDTH / 2 - 10} 100{mark}" fill="none" stroke="#fff" stroke-width="4" '
        f'stroke-linecap="round" stroke-linejoin="round"/>',
        _words(WIDTH / 2, 150, shown.title, 54, _INK, anchor="middle"),
        _words(WIDTH / 2, 170, outcome, 50, _QUIET, anchor="middle"),
    ]


def _plain(shown: Page) -> list[str]:
    parts = [_words(12, 58, shown.title, 50, _INK, size=13)]
    parts += [_words(12, 82 + 20 * row, line, 60, _QUIET) for row, line in enumerate(shown.lines[:6])]
    return parts + _foot(shown)


def _foot(shown: Page) -> list[str]:
    """The navigation and purchase buttons, in a row at the bottom."""
    parts, x = [], 12.0
    for button in shown.buttons:
        if button.group not in ("move", "tell", "buy"):
            continue
        width = 12 + 5.3 * len(button.label)
        buy = button.group == "buy"
        parts += [
            _box(x, HEIGHT - 32, width, 22, _ORANGE if buy else _PAPER, radius=4),
            _words(x + width / 2, HEIGHT - 17, button.label, 20, "#fff" if buy else _INK, anchor="middle", size=10),
        ]
        x += width + 5
    return parts


def _box(x: float, y: float, width: float, height: float, fill: str, radius: float = 6) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" '
        f'fill="{fill}" stroke="{_LINE}"/>'
    )


def _words(x: float, y: float, text: str, max_length: int, fill: str, size: int = 11, anchor: str = "start") -> str:
    """A text of at most ``max_length`` characters, escaped; unprintable characters are removed."""
    shown = "".join(character for character in text if character.isprintable())
    shown = shown if len(shown) <= max_length else shown[: max_length - 1].rstrip() + "…"
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" text-anchor="{anchor}">{escape(shown)}</text>'
