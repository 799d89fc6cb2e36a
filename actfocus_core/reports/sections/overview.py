"""What the run is: a summary of the batch, the run's settings, and its returns."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from actfocus_core.outcomes import rollout_rows, rollouts_of, success_rate
from actfocus_core.reports import svg
from actfocus_core.reports.templating import html
from actfocus_core.runs import Run
from actfocus_core.trajectory import TokenKind, Trajectory

LIST_MAX = 8
"""Longest list among the settings that is written out in full."""


def summary(run: Run, step: int, trajectories: list[Trajectory], reference: str | None) -> Markup:
    """The heading of the page and one paragraph about the batch."""
    kinds = np.concatenate([t.kinds for t in trajectories])
    response_tokens = int((kinds >= TokenKind.REASONING).sum())
    actions = int((kinds == TokenKind.ACTION).sum()) / max(response_tokens, 1)
    success = success_rate(trajectories)
    return html(
        "sections/summary.html.j2",
        run=run.name,
        step=step,
        rollouts=len(rollouts_of(trajectories)),
        prompts=len({t.group for t in trajectories}),
        success=f"{success.mean:.1%} successful" if success.known else "success unknown",
        unknown=success.unknown if success.known else 0,
        response_tokens=f"{response_tokens:,}",
        actions=f"{actions:.1%}",
        reference=reference or "none",
    )


def settings(run: Run, reference: str | None) -> Markup:
    """Configuration, model and versions as a table with one row per setting."""
    # The raw file, so that entries unknown to this version are shown too.
    info = run.info
    values = {
        "run": run.name,
        "created": info.get("created"),
        "reference": reference or "none",
        **_flatten("config", info.get("config") or {}),
        **_flatten("model", info.get("model") or {}),
        **_flatten("version", info.get("versions") or {}),
    }
    return html("sections/settings.html.j2", settings=[[name, str(value)] for name, value in values.items()])


def returns(run: Run, trajectories: list[Trajectory]) -> Markup:
    """A histogram of the batch's returns and, for a run of several steps, their mean at each step."""
    known = np.array([t.ret for t in rollouts_of(trajectories) if np.isfinite(t.ret)])
    charts = [svg.histogram("Returns of the rollouts of this step", known, "return")] if len(known) else []
    index = rollout_rows(run.index())
    if index["step"].nunique() > 1:
        by_step = index.groupby("step")
        means = {
            name: by_step[column].mean().to_numpy(float, na_value=np.nan)
            for name, column in (("success rate", "success"), ("mean return", "return"))
        }
        steps = np.array(sorted(by_step.groups), float)
        charts.append(svg.lines("Training curves", steps, means, "training step", "mean over rollouts"))
    return html("sections/returns.html.j2", charts=charts)


def _flatten(prefix: str, value: object) -> dict[str, object]:
    """Nested settings as dotted names; a long list as its two ends and its length."""
    if isinstance(value, dict):
        return {k: v for name, inner in value.items() for k, v in _flatten(f"{prefix}.{name}", inner).items()}
    if isinstance(value, list) and len(value) > LIST_MAX:
        value = f"{value[0]} … {value[-1]} ({len(value)})"
    return {prefix: value}
