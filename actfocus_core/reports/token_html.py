"""Tokens as HTML: coloured by kind, shaded by weight. No script, nothing to load, every text escaped.

Built without templates: a notebook shows a trajectory where only numpy, pyarrow and pydantic are installed, and jinja2
is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from actfocus_core.outcomes import success_word
from actfocus_core.reports.palette import DARK, LIGHT, channels
from actfocus_core.trajectory import TokenKind, Trajectory

SHADES = 10
"""Steps of shade between no weight and the largest."""
DARKEST = 0.5
"""Opacity of the shade of the largest weight; light and dark text on it keep a contrast of 4.5."""
TEXT_MAX = 1000
"""Longest text of a token that is shown, in characters: a browser takes minutes to lay out a word of a million."""


def shown(text: str) -> str:
    """A token's text; of one longer than TEXT_MAX, the beginning and the length."""
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}… ({len(text)} characters)"


def token_style(scope: str) -> str:
    """The style sheet of ``tokens_html`` inside the elements that ``scope`` selects, for light and dark pages."""
    shades = "".join(f"{scope} .w{n} {{ --w: {DARKEST * n / SHADES:.3f}; }}\n" for n in range(SHADES + 1))
    return (
        f"{scope} pre {{ font: 13px/1.9 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }}\n"
        f"{scope} i {{ font-style: normal; border-radius: 2px; border-bottom: 2px solid rgb(var(--c)); "
        f"background: rgb(var(--c) / var(--w)); }}\n"
        f"{scope} .k{int(TokenKind.TEMPLATE)} {{ border-bottom-style: dashed; border-bottom-width: 1px; }}\n"
        f"{_kinds(scope, LIGHT)}{shades}"
        f"@media (prefers-color-scheme: dark) {{\n{_kinds(scope, DARK)}}}\n"
    )


def _kinds(scope: str, palette: dict[str, str]) -> str:
    return "".join(f"{scope} .k{int(k)} {{ --c: {channels(palette[k.name.lower()])}; }}\n" for k in TokenKind)


def tokens_html(t: Trajectory, weight: np.ndarray, titles: Sequence[str]) -> str:
    """The tokens of a trajectory as HTML, each with its title; tokens without text are left out.

    ``weight``: float [T], shaded from 0 to its largest value. ``titles``: one plain text per token.
    """
    weight = np.nan_to_num(np.asarray(weight, np.float64))
    shades = np.rint(SHADES * weight / max(weight.max(initial=0), 1e-12)).astype(int)
    return "".join(
        f'<i class="k{kind} w{shade}" title="{escape(title)}">{escape(shown(text))}</i>'
        for kind, shade, title, text in zip(t.kinds.tolist(), shades.tolist(), titles, t.texts)
        if text
    )


def token_title(t: Trajectory, i: int, more: Sequence[tuple[str, float]] = ()) -> str:
    """Kind, id, turn and every finite number of token ``i``, as one line of plain text; ``more`` numbers come first."""
    parts = [TokenKind(t.kinds[i]).name.lower(), f"id {t.token_ids[i]}", f"turn {t.turns[i]}"]
    parts += [
        f"{name} {value:.4g}"
        for name, value in (
            *more,
            ("log-prob", t.logprobs[i]),
            *((name, values[i]) for name, values in t.signals.items()),
        )
        if np.isfinite(value)
    ]
    return ", ".join(parts)


def facts(t: Trajectory) -> str:
    """Group, step, return, outcome and length of a trajectory, as plain text."""
    ret = f"{t.ret:.3g}" if np.isfinite(t.ret) else "unknown"
    return (
        f"group {t.group}, step {t.step}, return {ret}, {success_word(t.success)}, "
        f"{len(t)} tokens{', truncated' if t.truncated else ''}{f', error: {t.error[:200]}' if t.error else ''}"
    )


def legend() -> str:
    """The names of the kinds in their colours, as HTML."""
    return " ".join(f'<i class="k{int(kind)} w4">{kind.name.lower()}</i>' for kind in TokenKind)


def trajectory_html(t: Trajectory) -> str:
    """One trajectory as HTML for a notebook. Weights belong to a batch, so all response tokens have the same shade."""
    titles = [token_title(t, i) for i in range(len(t))]
    return (
        f'<div class="actfocus-trajectory"><style>{token_style(".actfocus-trajectory")}</style>'
        f"<p><b>{escape(t.id)}</b> {escape(facts(t))}<br>{legend()}</p>"
        f"<pre>{tokens_html(t, 0.5 * t.response_mask, titles)}</pre></div>"
    )
