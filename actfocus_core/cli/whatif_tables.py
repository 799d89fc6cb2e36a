"""Replays, branches and edits as text on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actfocus_core.cli.show import clean, percent, plain, print_table

if TYPE_CHECKING:
    from actfocus_core.counterfactual.store import WhatIf


def request_line(request: dict[str, Any]) -> str:
    """The main parameters of a request on one line."""
    hidden = ("policy", "reference", "params", "temperature", "seed", "settings")
    shown = {k: v for k, v in request.items() if k not in hidden and v is not None and v is not False}
    if shown.get("schemes") and isinstance(shown["schemes"][0], dict):
        shown["schemes"] = [setting["scheme"] for setting in shown["schemes"]]
    return ", ".join(f"{k} {' '.join(map(str, v)) if isinstance(v, list) else v}" for k, v in shown.items())


def replay_table(what: WhatIf) -> None:
    result, rows = what.result, []
    for i, row in enumerate(result["updates"]):
        change = row["change"]
        rows.append(
            [
                row["scheme"] + (" (own)" if row["own"] else ""),
                plain(row["gradient_norm"]),
                plain(row["update_norm"]),
                plain(result["cosine_gradient"][0][i]),
                plain(result["cosine_update"][0][i]),
                *(plain(change[kind][sign]["mean"], 4) for kind in ("action", "reasoning") for sign in ("up", "down")),
                "-" if row["reproduced"] is None else f"{row['reproduced']:.1g}",
            ]
        )
    print_table(
        f"Replay of step {what.request['step']}, {result['trajectories']} trajectories: gradient and update norms; "
        "cosines with the first scheme; mean change of log-prob where the advantage is above (+) and below 0 (-)",
        [
            "scheme",
            "gradient",
            "update",
            "cos gradient",
            "cos update",
            "action +",
            "action -",
            "reasoning +",
            "reasoning -",
            "error vs checkpoint",
        ],
        rows,
    )
    for row in result["updates"]:
        if score := row.get("evaluation"):
            print(
                f"{row['scheme']}: success {percent(result['before']['success'])} -> {percent(score['success'])}, gain "
                f"{plain(score['gain'])} [{plain(score.get('gain_low'))}, {plain(score.get('gain_high'))}]"
            )
    _footer(what)


def branch_table(what: WhatIf) -> None:
    result, rows = what.result, []

    def walk(nodes: list[dict[str, Any]], depth: int) -> None:
        for node in nodes:
            low, high = node["to_go"]["low"], node["to_go"]["high"]
            optimal = node["optimal"] or {}
            rows.append(
                [
                    "  " * depth + (" || ".join(node["actions"]) or "(none)"),
                    str(node["count"]),
                    f"{plain(node['to_go']['mean'])} [{plain(low)}, {plain(high)}]",
                    percent(node["success"]["rate"]),
                    plain(optimal.get("turn")),
                    plain(optimal.get("after")),
                ]
            )
            if depth < 2:
                walk(node["children"], depth + 1)

    walk(result["tree"], 0)
    print_table(
        f"{what.request['trajectory']} from turn {what.request['turn']}, {result['return']['n']} rollouts",
        ["actions", "rollouts", "return-to-go [95% interval]", "success", "Q*", "V* after"],
        rows,
    )
    original = result["original"]
    print(
        f"original: {clean(' || '.join(original['actions'])) or '(none)'}, return-to-go {plain(original['to_go'])}; "
        f"optimal value {plain((result['optimal'] or {}).get('value'))}; all rollouts: {plain(result['to_go']['mean'])} "
        f"[{plain(result['to_go']['low'])}, {plain(result['to_go']['high'])}], "
        f"success {percent(result['success']['rate'])}"
    )
    _footer(what)


def edit_table(what: WhatIf) -> None:
    result = what.result
    print(f"{result['replaced']!r} -> {result['text']!r}, tokens {result['span']} -> {result['new_span']}")
    for part, (before, after) in result["energy"].items():
        print(
            f"mean energy of the {'edited span' if part == 'span' else 'tokens after it'}: {plain(before)} -> {plain(after)}"
        )
    rows = [
        [
            name,
            *(
                f"{percent(row['share'][0].get(k) or 0)} -> {percent(row['share'][1].get(k) or 0)}"
                for k in ("reasoning", "action", "format")
            ),
            " -> ".join("-" if c is None else f"{c:.3g}" for c in row["credit"]),
        ]
        for name, row in result["schemes"].items()
        if not row["missing"]
    ]
    print_table(
        "Gradient share by token kind in the trajectory, and its credit |c|, before -> after",
        ["scheme", "reasoning", "action", "format", "|c|"],
        rows,
    )
    for name, row in result["schemes"].items():
        if row["missing"]:
            print(f"unavailable: {name}: no {', '.join(row['missing'])}")
    _footer(what)


def _footer(what: WhatIf) -> None:
    for badge in what.result.get("badges", []):
        print(f"note: {clean(badge)}")
    print(what.id)


TABLES = {"replay": replay_table, "branch": branch_table, "edit": edit_table}
"""Kind of a what-if -> the function that prints it."""
