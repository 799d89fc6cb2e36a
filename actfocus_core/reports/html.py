"""A run as one HTML file: it opens offline, holds no script, and asks no address.

What comes from the run (configuration, names, the tokens themselves) enters as escaped text.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from actfocus_core import __version__
from actfocus_core.analysis.comparison import compare
from actfocus_core.analysis.diagnostics import LEAST_GROUPS, action_bottleneck
from actfocus_core.analysis.scoreboard import (
    COLUMNS,
    LEAST_DISTINCT,
    Row,
    Score,
    Scoreboard,
    Truth,
    credits_of,
    scoreboard,
)
from actfocus_core.credit import HOW_TO_GET, SCHEMES, Batch, Scheme, get_scheme, token_weights
from actfocus_core.errors import ActFocusError
from actfocus_core.paths import appearing
from actfocus_core.reports import svg
from actfocus_core.reports.token_html import shown
from actfocus_core.runs import Run
from actfocus_core.trajectory import TokenKind, Trajectory

LIMITS = (
    "Energy is a proxy: it says where the reference model was unsure, not which token mattered. Only the oracle "
    "compares with what an action was worth.",
    "Energy needs raw logits and compares only inside one reference model: a constant added to a position's logits "
    "moves it and changes no probability. The z-score over the batch removes an offset of all positions alone; the "
    "centred energy (ours) removes it a position.",
    "The mean and deviation behind a weight belong to this batch. A trajectory has other weights in another batch.",
    "Most of the move of gradient mass comes from alpha: compare ActFocus with role only and energy only.",
    "Mass here is nominal: the coefficient on the gradient of a token's log-probability at ratio 1. How long those "
    "gradients are, and what clipping does later, is another matter.",
    "A small alpha raises the effective step of every action token: compare schemes at equal gradient norm too.",
    "The action bottleneck correlates groups, not tokens. Where returns take two values, sigma is a function of the "
    "success rate, so any signal that follows difficulty correlates with it.",
)

HEADS = {
    "where_advantage": "where: rho with |A|",
    "where_advantage_tau": "where: tau with |A|",
    "where_advantage_auroc": "where: AUROC, top |A|",
    "where_criticality": "where: rho with criticality",
    "where_criticality_tau": "where: tau with criticality",
    "where_criticality_auroc": "where: AUROC, top criticality",
    "right_group": "right: rho in the group",
    "right_within": "right: rho in the rollout",
    "right_sign": "right: same sign",
    "luck": "mass on luck",
}
"""Short names of the scoreboard's columns."""

STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#d0d7de;--soft:#57606a;--blue:0,114,178}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--line:#30363d;--soft:#9da7b3;--blue:86,180,233}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid var(--line)}
table{border-collapse:collapse;font-size:.85rem;display:block;overflow-x:auto}
th,td{text-align:left;padding:.2rem .7rem .2rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:pre}summary{cursor:pointer;color:var(--soft)}.soft,figcaption{color:var(--soft)}
figure{margin:1.2rem 0}svg{width:100%;height:auto;font-size:12px}svg text{fill:var(--ink)}svg line{stroke:var(--soft)}
svg circle{fill:rgb(var(--blue));fill-opacity:.7}.line{fill:none;stroke:rgb(var(--blue));stroke-width:2}
.fill-reasoning{fill:#E69F00}.fill-action{fill:#0072B2}.fill-format{fill:#CC79A7}.fill-bar{fill:rgb(var(--blue))}
.key span{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}
.key .reasoning{background:#E69F00}.key .action{background:#0072B2}.key .format{background:#CC79A7}
.stream{white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.7 ui-monospace,monospace;border:1px solid var(--line);padding:.8rem}
.stream .k3{border-bottom:2px solid #E69F00}.stream .k4{border-bottom:2px solid #0072B2}.stream .k5{border-bottom:2px solid #CC79A7}
.stream .k0,.stream .k1,.stream .k2{color:var(--soft)}
"""


def write_report(
    run: Run, out: Path, step: int, reference: str | None = None, *, bootstrap: int = 200
) -> dict[str, Any]:
    """Write the report of one step's batch to ``out``, which appears whole or not at all.

    Replaces an earlier file. Returns what was written: path, bytes, schemes with and without
    numbers. Raises ActFocusError for a step or reference that is not there, or a path that
    cannot be written.
    """
    text, facts = render(run, step, reference, bootstrap=bootstrap)
    try:
        with appearing(out) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ActFocusError(f"{out}: cannot be written ({error.strerror})") from None
    return {"report": str(out), "bytes": len(text.encode()), **facts}


def render(run: Run, step: int, reference: str | None = None, *, bootstrap: int = 200) -> tuple[str, dict[str, Any]]:
    """The HTML, and what it holds: ``schemes`` with numbers, ``unavailable`` ones, and whether ``scored``."""
    trajectories = run.trajectories(step, reference)
    batch = Batch.of(trajectories)
    table = compare(batch, credits_of(batch, list(SCHEMES), controls=False))
    rows = [row for row in table["schemes"] if not row["missing"]]
    missing = {row["scheme"]: row["missing"] for row in table["schemes"] if row["missing"]}
    found = action_bottleneck(batch, bootstrap=bootstrap)
    boards = {
        name: scoreboard(
            batch, credits_of(batch, [r["scheme"] for r in rows]), Truth.of(batch, oracle), bootstrap=bootstrap
        )
        for name, oracle in (("the policy's advantage", "policy"), ("perfect play", "oracle"))
        if batch.has(f"{oracle}_q") and batch.has(f"{oracle}_v")
    }
    names = run.references(step)
    used = reference or (names[0] if names else None)
    sections = [
        _summary(run, step, trajectories, used),
        _settings(run, used),
        _returns(run, trajectories),
        _schemes(table, rows, missing),
        _bottleneck(found),
        *(_board(name, b) for name, b in boards.items()),
        "" if boards else _section("Against the truth", f"<p>Unavailable: {escape(HOW_TO_GET['policy_q'])}.</p>"),
        _stream(trajectories, batch),
        _card(run, step, trajectories, rows, boards, used, bootstrap),
        _section("Limits", "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in LIMITS) + "</ul>"),
    ]
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f"content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f'<meta name="viewport" content="width=device-width"><title>{escape(run.name)}: token credit</title>'
        f"<style>{STYLE}</style></head><body>{''.join(sections)}"
        f'<p class="soft">Written by actfocus {escape(__version__)}.</p></body></html>\n'
    )
    return page, {"schemes": [r["scheme"] for r in rows], "unavailable": sorted(missing), "scored": sorted(boards)}


# --- sections ----------------------------------------------------------------------------------


def _summary(run: Run, step: int, trajectories: list[Trajectory], reference: str | None) -> str:
    kinds = np.concatenate([t.kinds for t in trajectories])
    response = kinds >= TokenKind.REASONING
    share = (kinds == TokenKind.ACTION).sum() / max(response.sum(), 1)
    success = np.mean([t.success for t in trajectories])
    return (
        f"<h1>{escape(run.name)}</h1><p>Step {step}: {len(trajectories)} rollouts of "
        f"{len({t.group for t in trajectories})} prompts, {success:.1%} successful; {response.sum()} response tokens, "
        f"{share:.1%} of them actions. Reference model: {escape(reference or 'none')}.</p>"
    )


def _settings(run: Run, reference: str | None) -> str:
    info = run.info
    flat = {
        "run": run.name,
        "created": info.get("created"),
        "reference": reference or "none",
        **_flat("config", info.get("config") or {}),
        **_flat("model", info.get("model") or {}),
        **_flat("version", info.get("versions") or {}),
    }
    table = _table(["setting", "value"], [[k, str(v)] for k, v in flat.items()])
    return _section("Settings", f"<details open><summary>{len(flat)} settings</summary>{table}</details>")


def _returns(run: Run, trajectories: list[Trajectory]) -> str:
    charts = svg.histogram("Returns of this step's rollouts", np.array([t.ret for t in trajectories]), "return")
    index = run.index()
    if index["step"].nunique() > 1:
        by_step = index.groupby("step")
        charts += svg.lines(
            "Over training",
            np.array(sorted(by_step.groups), float),
            {"success": by_step["success"].mean().to_numpy(float), "return": by_step["return"].mean().to_numpy(float)},
            "step",
            "mean of the rollouts",
        )
    return _section("Returns", charts)


def _schemes(table: dict[str, Any], rows: list[dict[str, Any]], missing: dict[str, list[str]]) -> str:
    key = (
        '<p class="key soft">Share of the credit |c| by kind of token:<span class="reasoning"></span>reasoning'
        '<span class="action"></span>action<span class="format"></span>format</p>'
    )
    bars = svg.stacked_bars(
        "Effective credit by kind of token, every scheme on the same rollouts",
        [
            (
                SCHEMES[r["scheme"]].title,
                {k: r["credit"]["kinds"][k]["mass_share"] for k in ("reasoning", "action", "format")},
            )
            for r in rows
        ],
    )
    lines = []
    for r in rows:
        scheme = SCHEMES[r["scheme"]]
        lines.append(
            [
                scheme.title,
                scheme.description,
                f"{scheme.source} ({scheme.read})",
                ", ".join(f"{k} {v}" for k, v in r["params"].items() if v is not None) or "none",
                _share(r["kinds"]["action"]["mass_share"]),
                _share(r["credit"]["kinds"]["action"]["mass_share"]),
                f"{r['credit']['effective_tokens']:.0f}",
                _share(r["sign_flips"]),
                _num(table["spearman"][r["scheme"]]["uniform"]),
            ]
        )
    lacking = "".join(
        f"<li>{escape(SCHEMES[name].title)}: no {escape(', '.join(needs))}; {escape(HOW_TO_GET[needs[0]])}</li>"
        for name, needs in missing.items()
    )
    return _section(
        "Schemes",
        key
        + bars
        + _table(
            [
                "scheme",
                "what it does",
                "source (read in)",
                "settings",
                "weight on actions",
                "credit on actions",
                "effective tokens",
                "signs against Uniform flipped",
                "Spearman with Uniform",
            ],
            lines,
            numbers=5,
        )
        + (f"<p>Unavailable on this run:</p><ul>{lacking}</ul>" if lacking else ""),
    )


def _bottleneck(found: dict[str, Any]) -> str:
    groups = [g for g in found["groups"] if g.get("energy_action") is not None]
    chart = (
        svg.scatter(
            "Each prompt's spread of returns and its mean action energy",
            np.array([g["energy_action"] for g in groups]),
            np.array([g["sigma"] for g in groups]),
            [g["group"] for g in groups],
            "mean energy of action tokens",
            "sigma of the returns",
        )
        if groups
        else ""
    )
    lines = [
        [
            r["signal"],
            r["part"],
            str(r["n"]),
            r["why"] or f"{_num(r['rho'])} [{_num(r['low'])}, {_num(r['high'])}]",
            "" if r["p"] is None else f"{r['p']:.2g}",
            _num(r["rho_success"]),
            "" if r["why"] else f"{_num(r['partial'])} [{_num(r['partial_low'])}, {_num(r['partial_high'])}]",
        ]
        for r in found["correlations"]
    ]
    confound = found["confound"]
    said = (
        f"<p>The confound: sigma itself has rho {_num(confound['rho_success'])} with the groups' success rate p and "
        f"{_num(confound['rho_spread'])} with p(1-p)"
        + ("; returns take two values here, so sigma is a function of p." if confound["binary"] else ".")
        + "</p>"
    )
    missing = f'<p class="soft">Not recorded: {escape(", ".join(found["missing"]))}.</p>' if found["missing"] else ""
    few = "" if len(found["groups"]) >= LEAST_GROUPS else f"<p>Under {LEAST_GROUPS} groups no correlation is given.</p>"
    return _section(
        "Action bottleneck",
        chart
        + few
        + _table(
            [
                "signal",
                "tokens",
                "groups",
                "rho with sigma [95 %]",
                "p",
                "rho with success",
                "rho given success [95 %]",
            ],
            lines,
            numbers=5,
        )
        + said
        + missing,
    )


def _board(name: str, board: Scoreboard) -> str:
    def scored(rows: list[Row]) -> str:
        lines = [[_title(row.name), row.focus, *(_score(row.scores[c]) for c in COLUMNS)] for row in rows]
        return _table(["scheme", "ranked by", *(HEADS[c] for c in COLUMNS)], lines, numbers=len(COLUMNS))

    schemes = [*(row for row in board.rows if ":" not in row.name), *([board.ceiling] if board.ceiling else [])]
    controls = [row for row in board.rows if ":" in row.name]
    floor = "unknown, there is no replica" if board.noise_floor is None else f"{board.noise_floor:.3g}"
    meaning = "".join(f"<li>{escape(HEADS[column])}: {escape(text)}</li>" for column, text in COLUMNS.items())
    folded = (
        f"<details><summary>{len(controls)} null controls</summary>{scored(controls)}</details>" if controls else ""
    )
    return _section(
        f"Against {name}",
        scored(schemes)
        + folded
        + (
            f"<p>Values are {'exact' if board.exact else 'estimates'}; noise floor (mean |A - its replica|) {floor}; signs are "
            f"asked for where |A| is above {board.threshold:.3g}. {board.left_out} of {board.turns} turns have no action and are "
            f"left out; {board.skipped} trajectories have fewer than {LEAST_DISTINCT} different true values and rank nothing. "
            f"The ceiling is the truth itself, or where it is an estimate an independent second one, as a scheme. Brackets: 95 % bootstrap intervals over "
            f'trajectories.</p><ul class="soft">{meaning}</ul>'
        ),
    )


def _stream(trajectories: list[Trajectory], batch: Batch) -> str:
    """One rollout of the group whose returns spread most, shaded by its ActFocus weights."""
    spread = {g: np.std(batch.returns[batch.group_of == batch.group_of[i]]) for i, g in enumerate(batch.groups)}
    t = trajectories[batch.groups.index(max(spread, key=spread.__getitem__))]
    own = batch.index == batch.ids.index(t.id)
    credit = get_scheme("actfocus").compute(batch)
    weight = (token_weights(batch.kinds, None, 0.1, 0) if credit.missing else credit.weight)[own]
    shade = weight / max(weight.max(), 1e-9)
    tokens = "".join(
        f'<span class="k{kind}"'
        + (f' style="background:rgba(var(--blue),{0.6 * s:.2f})"' if kind >= 3 else "")
        + f">{escape(shown(text))}</span>"
        for text, kind, s in zip(t.texts, t.kinds.tolist(), shade)
    )
    name = "role only, as energy is not recorded" if credit.missing else "ActFocus"
    return _section(
        "One rollout",
        f"<p>{escape(t.id)}, return {t.ret:.3g}; the bluer, the more weight ({name}).</p>"
        f'<div class="stream">{tokens}</div>',
    )


def _card(
    run: Run,
    step: int,
    trajectories: list[Trajectory],
    rows: list[dict[str, Any]],
    boards: dict[str, Scoreboard],
    reference: str | None,
    bootstrap: int,
) -> str:
    """The reporting card of the survey arXiv 2604.09459."""
    config = run.info.get("config") or {}
    schemes = [SCHEMES[r["scheme"]] for r in rows]
    sizes = sorted({sum(t.group == g for t in trajectories) for g in {t.group for t in trajectories}})
    sampled = ", ".join(f"{name} {config[name]}" for name in ("temperature", "seed") if name in config)
    truth = ", ".join(f"{name} ({'exact' if b.exact else 'Monte-Carlo'})" for name, b in boards.items())
    lines = [
        [
            "Unit and estimand",
            _listed(schemes, "unit") + ". Estimand: the effective credit c, the coefficient on the "
            "gradient of a token's log-probability at ratio 1.",
        ],
        [
            "Effective state",
            "The token stream exactly as sampled, up to the token; GiGPO and CARL: the environment's "
            f"state key. Environment {config.get('env') or trajectories[0].env or 'not recorded'}.",
        ],
        ["Source of intervention", _listed(schemes, "evidence") + "."],
        [
            "Downstream protocol",
            f"{len(trajectories)} rollouts of step {step}, {' or '.join(map(str, sizes))} a prompt"
            + (f"; {sampled}" if sampled else "")
            + f"; policy {(run.info.get('model') or {}).get('name') or 'not recorded'}; "
            f"reference {reference or 'none'}.",
        ],
        [
            "Support and uncertainty",
            f"95 % intervals from {bootstrap} bootstrap resamples. Ground truth: {truth or 'none'}. "
            + " ".join(
                f"Noise floor of {name}: {'unknown' if b.noise_floor is None else format(b.noise_floor, '.3g')}."
                for name, b in boards.items()
            ),
        ],
        [
            "Optimisation interface",
            "Clipped surrogate; weights divide by their sum over the mini-batch, Dr.GRPO by a constant; "
            "A2TGPO clips a turn's ratio, the others a token's. Schemes that change the advantage: "
            + ", ".join(
                s.title
                for s, r in zip(schemes, rows)
                if r["scheme"] not in ("uniform", "actfocus", "role_only", "energy_only", "top_entropy", "rest")
            )
            + ".",
        ],
    ]
    return _section(
        "Reporting card", '<p class="soft">After the survey arXiv 2604.09459.</p>' + _table(["", ""], lines)
    )


# --- parts --------------------------------------------------------------------------------------


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _table(columns: list[str], rows: Iterable[list[str]], numbers: int = 0) -> str:
    """``numbers``: how many of the last columns are numbers. Every cell is escaped."""
    first = len(columns) - numbers
    head = "".join(f"<th>{escape(c)}</th>" for c in columns)
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=n' if i >= first else ''}>{escape(cell)}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _flat(prefix: str, value: object) -> dict[str, object]:
    """Nested settings as dotted names."""
    if isinstance(value, dict):
        return {k: v for name, inner in value.items() for k, v in _flat(f"{prefix}.{name}", inner).items()}
    if isinstance(value, list) and len(value) > 8:
        value = f"{value[0]} … {value[-1]} ({len(value)})"
    return {prefix: value}


def _listed(schemes: list[Scheme], attribute: str) -> str:
    values = dict.fromkeys(getattr(s, attribute) for s in schemes)
    return "; ".join(f"{v}: {', '.join(s.title for s in schemes if getattr(s, attribute) == v)}" for v in values)


def _title(name: str) -> str:
    """How a row of a scoreboard is called: a scheme, a null control of one, or the ceiling."""
    control, _, scheme = name.rpartition(":")
    return "the truth itself" if name == "ceiling" else f"{SCHEMES[scheme].title}{f', {control}' if control else ''}"


def _score(score: Score) -> str:
    if score.value is None:
        return score.why
    around = "" if score.low is None else f"\n[{score.low:.2f}, {score.high:.2f}]"
    return f"{score.value:.2f}{around}"


def _num(value: float | None) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.3f}"


def _share(value: float) -> str:
    return f"{value:.1%}" if np.isfinite(value) else "-"
