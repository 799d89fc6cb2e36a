"""Tokens as HTML: coloured by kind, shaded by weight. No script, nothing to load, text only as text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from actfocus_core.trajectory import TokenKind, Trajectory

SHADES = 10
TEXT_MAX = 1000
"""Characters of a token that are shown: a browser is busy for minutes with a word of a million."""
_COLOURS = {
    "system": "120 120 120",
    "user": "0 114 178",
    "template": "150 150 150",
    "reasoning": "230 159 0",
    "action": "0 158 115",
    "format": "204 121 167",
}


def shown(text: str) -> str:
    """A token's text, or its beginning and how long it is."""
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}… ({len(text)} characters)"


def token_style(scope: str) -> str:
    """The style sheet of ``tokens_html`` inside the elements that ``scope`` selects."""
    kinds = "".join(f"{scope} .k{int(kind)} {{ --c: {_COLOURS[kind.name.lower()]}; }}\n" for kind in TokenKind)
    shades = "".join(f"{scope} .w{n} {{ --w: {0.65 * n / SHADES:.3f}; }}\n" for n in range(SHADES + 1))
    return (
        f"{scope} pre {{ font: 13px/1.9 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }}\n"
        f"{scope} i {{ font-style: normal; border-radius: 2px; border-bottom: 2px solid rgb(var(--c)); "
        f"background: rgb(var(--c) / var(--w)); }}\n{kinds}{shades}"
    )


def tokens_html(t: Trajectory, weight: np.ndarray, titles: Sequence[str]) -> str:
    """The tokens of a trajectory, each with its title; shades run from 0 to the largest ``weight``, float [T]."""
    weight = np.nan_to_num(np.asarray(weight, np.float64))
    shades = np.rint(SHADES * weight / max(weight.max(initial=0), 1e-12)).astype(int)
    return "".join(
        f'<i class="k{kind} w{shade}" title="{escape(title)}">{escape(shown(text))}</i>'
        for kind, shade, title, text in zip(t.kinds.tolist(), shades.tolist(), titles, t.texts)
        if text
    )


def token_title(t: Trajectory, i: int, more: Sequence[tuple[str, float]] = ()) -> str:
    """Kind, id, turn and every number that is known of a token, as one line."""
    told = [TokenKind(t.kinds[i]).name.lower(), f"id {t.token_ids[i]}", f"turn {t.turns[i]}"]
    told += [
        f"{name} {value:.4g}"
        for name, value in (
            *more,
            ("log-prob", t.logprobs[i]),
            *((name, values[i]) for name, values in t.signals.items()),
        )
        if np.isfinite(value)
    ]
    return ", ".join(told)


def facts(t: Trajectory) -> str:
    """Where a trajectory comes from and how it ended, as plain text."""
    return (
        f"group {t.group}, step {t.step}, return {t.ret:.3g}, {'success' if t.success else 'failure'}, "
        f"{len(t)} tokens{', truncated' if t.truncated else ''}"
    )


def legend() -> str:
    """A sample of every kind."""
    return " ".join(f'<i class="k{int(kind)} w4">{kind.name.lower()}</i>' for kind in TokenKind)


def trajectory_html(t: Trajectory) -> str:
    """One trajectory by itself, for a notebook. By itself it has no weights: what is sampled is shaded alike."""
    titles = [token_title(t, i) for i in range(len(t))]
    return (
        f'<div class="actfocus-trajectory"><style>{token_style(".actfocus-trajectory")}</style>'
        f"<p><b>{escape(t.id)}</b> {escape(facts(t))}<br>{legend()}</p>"
        f"<pre>{tokens_html(t, 0.5 * t.response_mask, titles)}</pre></div>"
    )
