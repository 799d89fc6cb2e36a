"""What the run is: its rollouts in one line, its settings, its returns."""

from __future__ import annotations

from html import escape

import numpy as np

from actfocus_core.reports import svg
from actfocus_core.reports.elements import section, table
from actfocus_core.runs import Run
from actfocus_core.trajectory import TokenKind, Trajectory


def summary(run: Run, step: int, trajectories: list[Trajectory], reference: str | None) -> str:
    """The heading of the page, and the batch in one paragraph."""
    kinds = np.concatenate([t.kinds for t in trajectories])
    response = kinds >= TokenKind.REASONING
    share = (kinds == TokenKind.ACTION).sum() / max(response.sum(), 1)
    success = np.mean([t.success for t in trajectories])
    return (
        f"<h1>{escape(run.name)}</h1><p>Step {step}: {len(trajectories)} rollouts of "
        f"{len({t.group for t in trajectories})} prompts, {success:.1%} successful; {response.sum()} response tokens, "
        f"{share:.1%} of them actions. Reference model: {escape(reference or 'none')}.</p>"
    )


def settings(run: Run, reference: str | None) -> str:
    """Configuration, model and versions, one row a setting."""
    # The file as it is, entries that are unknown here too.
    info = run.info
    flat = {
        "run": run.name,
        "created": info.get("created"),
        "reference": reference or "none",
        **_flat("config", info.get("config") or {}),
        **_flat("model", info.get("model") or {}),
        **_flat("version", info.get("versions") or {}),
    }
    rows = table(["setting", "value"], [[k, str(v)] for k, v in flat.items()])
    return section("Settings", f"<details open><summary>{len(flat)} settings</summary>{rows}</details>")


def returns(run: Run, trajectories: list[Trajectory]) -> str:
    """A histogram of the batch's returns and, where the run has several steps, their means over training."""
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
    return section("Returns", charts)


def _flat(prefix: str, value: object) -> dict[str, object]:
    """Nested settings as dotted names."""
    if isinstance(value, dict):
        return {k: v for name, inner in value.items() for k, v in _flat(f"{prefix}.{name}", inner).items()}
    if isinstance(value, list) and len(value) > 8:
        value = f"{value[0]} … {value[-1]} ({len(value)})"
    return {prefix: value}
