"""A page of its own: tokens coloured by kind and shaded by weight. No script, nothing to load."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np

from actfocus_core.trajectory import TokenKind

SHADES = 10
_COLOURS = {"system": "120 120 120", "user": "0 114 178", "template": "150 150 150", "reasoning": "230 159 0",
            "action": "0 158 115", "format": "204 121 167"}
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.6 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
pre { font: 13px/1.9 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; } .facts { opacity: .75; }
i { font-style: normal; border-radius: 2px; border-bottom: 2px solid rgb(var(--c)); background: rgb(var(--c) / var(--w)); }
"""


def write_page(items: Iterator, path: Path, about: dict) -> None:
    """Write the page of ``Weighted`` trajectories; everything of theirs is escaped text.

    Weights are shaded on one scale, from 0 to the largest of each trajectory.
    """
    with open(path, "w", encoding="utf-8") as file:
        title = escape(f"{about['run']}: {about['scheme']}")
        file.write(f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
                   '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'unsafe-inline\'">\n'
                   f'<meta name="viewport" content="width=device-width"><style>{_STYLE}{_rules()}</style></head>\n'
                   f"<body><h1>{title}</h1><p>{_legend()}</p>\n"
                   "<p>The shade of a token is its weight; the whole training step is the batch.</p>\n")
        for item in items:
            file.write(_trajectory(item))
        file.write("</body></html>\n")


def _trajectory(item) -> str:
    t = item.trajectory
    facts = (f"group {t.group}, step {t.step}, return {t.ret:.3g}, {'success' if t.success else 'failure'}, "
             f"{len(t)} tokens{', truncated' if t.truncated else ''}")
    weight = np.nan_to_num(item.weight.astype(np.float64))
    shades = np.rint(SHADES * weight / max(weight.max(initial=0), 1e-12)).astype(int)
    tokens = [f'<i class="k{kind} w{shade}" title="{escape(_told(t, i, item))}">{escape(text)}</i>'
              for i, (kind, shade, text) in enumerate(zip(t.kinds.tolist(), shades.tolist(), t.texts)) if text]
    return (f'<details open><summary><b>{escape(t.id)}</b> <span class="facts">{escape(facts)}</span></summary>'
            f"<pre>{''.join(tokens)}</pre></details>\n")


def _told(t, i: int, item) -> str:
    told = [TokenKind(t.kinds[i]).name.lower(), f"id {t.token_ids[i]}", f"turn {t.turns[i]}"]
    told += [f"{name} {value:.4g}" for name, value in (
        ("weight", item.weight[i]), ("weighted advantage", item.advantage[i]), ("log-prob", t.logprobs[i]),
        *((name, values[i]) for name, values in t.signals.items())) if np.isfinite(value)]
    return ", ".join(told)


def _rules() -> str:
    kinds = "".join(f".k{int(kind)} {{ --c: {_COLOURS[kind.name.lower()]}; }}\n" for kind in TokenKind)
    return kinds + "".join(f".w{n} {{ --w: {0.65 * n / SHADES:.3f}; }}\n" for n in range(SHADES + 1))


def _legend() -> str:
    return " ".join(f'<i class="k{int(kind)} w4">{kind.name.lower()}</i>' for kind in TokenKind)
