"""The reporting card: what the numbers of this report estimate, and how they were obtained."""

from __future__ import annotations

from collections import Counter
from typing import Any

from markupsafe import Markup

from actfocus_core.analysis.scoreboard import Scoreboard
from actfocus_core.credit import SCHEMES, Scheme
from actfocus_core.outcomes import rollouts_of
from actfocus_core.reports.templating import html
from actfocus_core.runs import Run
from actfocus_core.trajectory import Trajectory

GRPO_ADVANTAGE = ("uniform", "actfocus", "role_only", "energy_only", "top_entropy", "rest")
"""Schemes that weight tokens and leave GRPO's advantage as it is."""


def draw(
    run: Run,
    step: int,
    trajectories: list[Trajectory],
    rows: list[dict[str, Any]],
    boards: dict[str, Scoreboard],
    reference: str | None,
    bootstrap: int,
) -> Markup:
    """The reporting card proposed by the survey arXiv 2604.09459."""
    schemes = {row["scheme"]: SCHEMES[row["scheme"]] for row in rows}
    rollouts = rollouts_of(trajectories)
    sizes = sorted(set(Counter(t.group for t in rollouts).values()))
    return html(
        "sections/card.html.j2",
        units=_grouped(schemes, "unit"),
        evidence=_grouped(schemes, "evidence"),
        env=run.metadata.env or trajectories[0].env or "not recorded",
        rollouts=len(rollouts),
        step=step,
        sizes=" or ".join(map(str, sizes)),
        sampling=_sampling(run),
        policy=run.metadata.model_name or "not recorded",
        reference=reference or "none",
        bootstrap=bootstrap,
        truth=", ".join(f"{name} ({'exact' if b.exact else 'Monte Carlo'})" for name, b in boards.items()),
        noise_floors={
            name: "unknown" if b.noise_floor is None else f"{b.noise_floor:.3g}" for name, b in boards.items()
        },
        other_advantages=", ".join(scheme.title for name, scheme in schemes.items() if name not in GRPO_ADVANTAGE),
    )


def _sampling(run: Run) -> str:
    """Temperature and seed of the rollouts, those that are recorded."""
    config = run.metadata.config
    stated = {"temperature": config.temperature, "seed": config.seed}
    return ", ".join(f"{name} {value}" for name, value in stated.items() if value is not None)


def _grouped(schemes: dict[str, Scheme], attribute: str) -> str:
    """Titles of the schemes by the value of one attribute: "token: A, B; turn: C"."""
    titles: dict[str, list[str]] = {}
    for scheme in schemes.values():
        titles.setdefault(getattr(scheme, attribute), []).append(scheme.title)
    return "; ".join(f"{value}: {', '.join(names)}" for value, names in titles.items())
