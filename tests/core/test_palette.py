"""One palette: the written pages have the studio's colours, and text on every shade can be read."""

import re
from pathlib import Path

import pytest

from actfocus_core.reports.palette import DARK, LIGHT, channels
from actfocus_core.reports.sections import rollout
from actfocus_core.reports.token_html import DARKEST
from actfocus_core.trajectory import TokenKind

STUDIO = {name: f"--af-{name}" for name in LIGHT} | {"template": "--af-muted"}
"""The studio draws a token of the template with a muted frame."""
PAGES = {"light": ((255, 255, 255), (27, 31, 36)), "dark": ((18, 18, 18), (230, 237, 243))}
"""Background and text, as faint as any written page has them."""


def variables(selector: str) -> dict[str, str]:
    """The CSS variables that the studio's style sheets set for a selector."""
    studio = Path(__file__).parents[2] / "app"
    blocks = [
        block
        for sheet in sorted(studio.rglob("*.css"))
        if "node_modules" not in sheet.parts
        for block in re.findall(rf"^{re.escape(selector)} \{{(.*?)\}}", sheet.read_text("utf-8"), re.M | re.S)
    ]
    return {name: value.lower() for name, value in re.findall(r"(--[\w-]+):\s*([^;]+);", "".join(blocks))}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_studio_s_style_sheet_has_the_same_colours(theme):
    studio = variables(":root") | (variables("body.dark") if theme == "dark" else {})
    palette = LIGHT if theme == "light" else DARK
    assert {name: studio[variable] for name, variable in STUDIO.items()} == palette


def test_every_kind_has_a_colour():
    assert set(LIGHT) == set(DARK) == {kind.name.lower() for kind in TokenKind} | {"accent"}
    assert channels("#e69f00") == "230 159 0"


def luminance(rgb) -> float:
    """Relative luminance. Source: WCAG 2.2."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a, b) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme, palette", [("light", LIGHT), ("dark", DARK)])
def test_text_on_the_deepest_shade_has_a_contrast_of_4_5(theme, palette):
    page, text = PAGES[theme]
    for name, colour in palette.items():
        opacity = rollout.DARKEST if name == "accent" else DARKEST
        ground = [opacity * int(c) + (1 - opacity) * p for c, p in zip(channels(colour).split(), page)]
        assert contrast(ground, text) >= 4.5, (name, contrast(ground, text))
