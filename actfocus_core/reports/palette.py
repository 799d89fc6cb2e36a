"""The colours of the token kinds and of weight, once for every page; the studio's style sheet has the same.

Chosen from the palette of Okabe and Ito, which colour-blind readers can tell apart. Keys: the names of ``TokenKind`` in
lower case, and ``accent``, the colour of weight and of charts without kinds.
"""

from __future__ import annotations

LIGHT = {
    "system": "#7f7f7f",
    "user": "#56b4e9",
    "template": "#566270",
    "reasoning": "#e69f00",
    "action": "#0072b2",
    "format": "#cc79a7",
    "accent": "#0072b2",
}
"""Colours on a white page."""

DARK = LIGHT | {"template": "#9dabba", "action": "#2f8fce", "accent": "#56b4e9"}
"""Colours on a dark page."""


def channels(colour: str) -> str:
    """Red, green and blue of ``#rrggbb``, 0 to 255, as CSS takes them: ``rgb(230 159 0 / 0.5)``."""
    return " ".join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))
