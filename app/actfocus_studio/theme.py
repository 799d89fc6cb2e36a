"""Colours and the Gradio theme. The palette is Okabe and Ito's: safe for colour-blind eyes."""

from __future__ import annotations

from gradio.themes import Base
from gradio.themes.utils import colors, sizes

ACCENT = "#0072B2"
"""Weight, and the policy's actions."""
SIGNAL = "#009E73"
"""Energy, entropy and the other signals."""

_LIGHT = {"bg": "#f6f7f9", "surface": "#ffffff", "line": "#dfe3e8", "text": "#18212c", "muted": "#566270"}
_DARK = {"bg": "#0e1319", "surface": "#161c24", "line": "#2b3541", "text": "#e6ebf1", "muted": "#9dabba"}


def studio_theme() -> Base:
    """A built-in theme with fonts that Gradio serves itself, in the studio's colours."""
    theme = Base(
        primary_hue=colors.sky,
        neutral_hue=colors.slate,
        text_size=sizes.text_sm,
        spacing_size=sizes.spacing_sm,
        radius_size=sizes.radius_md,
    )
    return theme.set(
        body_background_fill=_LIGHT["bg"],
        body_background_fill_dark=_DARK["bg"],
        body_text_color=_LIGHT["text"],
        body_text_color_dark=_DARK["text"],
        body_text_color_subdued=_LIGHT["muted"],
        body_text_color_subdued_dark=_DARK["muted"],
        background_fill_primary=_LIGHT["surface"],
        background_fill_primary_dark=_DARK["surface"],
        background_fill_secondary=_LIGHT["surface"],
        background_fill_secondary_dark=_DARK["surface"],
        block_background_fill=_LIGHT["surface"],
        block_background_fill_dark=_DARK["surface"],
        block_label_text_color=_LIGHT["text"],
        block_label_text_color_dark=_DARK["text"],
        block_title_text_color=_LIGHT["text"],
        block_title_text_color_dark=_DARK["text"],
        block_title_text_weight="600",
        block_info_text_color=_LIGHT["muted"],
        block_info_text_color_dark=_DARK["muted"],
        block_info_text_size="12px",
        border_color_primary=_LIGHT["line"],
        border_color_primary_dark=_DARK["line"],
        block_border_width="0px",
        block_shadow="none",
        block_padding="0px",
        slider_color=ACCENT,
        slider_color_dark="#3b9bd4",
        button_primary_background_fill=ACCENT,
        button_primary_background_fill_dark="#1a78b4",
        button_primary_background_fill_hover="#005f95",
        button_primary_background_fill_hover_dark="#2a8ac8",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
        checkbox_label_padding="4px 9px",
        checkbox_label_gap="6px",
        checkbox_background_color_selected=ACCENT,
        checkbox_background_color_selected_dark="#1a78b4",
    )
