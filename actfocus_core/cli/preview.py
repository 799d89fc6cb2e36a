"""`actfocus import --preview`: what an import would make of the first rollouts, printed and not stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actfocus_core.cli.show import clean, print_result
from actfocus_core.reports.palette import LIGHT
from actfocus_core.reports.token_html import shown
from actfocus_core.trajectory import TokenKind, Trajectory

if TYPE_CHECKING:
    from actfocus_core.interop.head import Preview

SHOWN_TOKENS = 3000
"""Of each rollout, in a terminal and in JSON."""


def print_preview(found: Preview, as_json: bool) -> None:
    """Print a preview as JSON, or as text in which tokens are coloured by kind."""
    facts = {
        "format": found.format,
        "trajectories_read": found.read,
        "is_whole": found.is_whole,
        "groups": found.groups,
        "tokens": found.tokens,
    }
    if as_json:
        print_result(
            True,
            {
                **facts,
                "title": found.title,
                "config": found.config,
                "by_kind": found.by_kind,
                "success": found.success,
                "unstated": found.unstated,
                "rollouts": [_row(t) for t in found.trajectories],
            },
        )
        return
    named = {"spans": found.config.get("spans"), **_texts(found)}
    print_result(False, {**facts, **{name: value for name, value in named.items() if value}})
    for trajectory in found.trajectories:
        _print_tokens(trajectory)


def _texts(found: Preview) -> dict[str, str]:
    """The counts and sources of a preview, each in one line."""
    counts = {name: found.config.get(name) or {} for name in ("action_tokens_by_rule", "environment_text", "left_out")}
    counts |= {"by_kind": found.by_kind, "success": found.success, "unstated": found.unstated}
    return {name: ", ".join(f"{key} {value}" for key, value in values.items()) for name, values in counts.items()}


def _row(t: Trajectory) -> dict[str, Any]:
    return {
        "id": t.id,
        "group": t.group,
        "return": t.ret,
        "success": t.success,
        "turns": len(t.turn_records),
        "tokens": len(t),
        "texts": [shown(text) for text in t.texts[:SHOWN_TOKENS]],
        "kinds": t.kinds[:SHOWN_TOKENS].tolist(),
    }


def _print_tokens(t: Trajectory) -> None:
    from rich.console import Console
    from rich.text import Text

    text = Text()
    for token, kind in zip(t.texts[:SHOWN_TOKENS], t.kinds[:SHOWN_TOKENS].tolist()):
        lines = "\n".join(clean(line) for line in token.split("\n"))
        text.append(lines, style=LIGHT[TokenKind(kind).name.lower()])
    if len(t) > SHOWN_TOKENS:
        text.append(f" … and {len(t) - SHOWN_TOKENS} tokens more")
    console = Console()
    console.rule(Text(f"{clean(t.id)} ({len(t)} tokens)"))
    console.print(text)
