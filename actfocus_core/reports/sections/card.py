"""The reporting card: what the numbers of this report estimate, and how they were obtained."""

from __future__ import annotations

from typing import Any

from actfocus_core.analysis.scoreboard import Scoreboard
from actfocus_core.credit import SCHEMES, Scheme
from actfocus_core.reports.elements import section, table
from actfocus_core.runs import Run
from actfocus_core.trajectory import Trajectory


def draw(
    run: Run,
    step: int,
    trajectories: list[Trajectory],
    rows: list[dict[str, Any]],
    boards: dict[str, Scoreboard],
    reference: str | None,
    bootstrap: int,
) -> str:
    """The reporting card of the survey arXiv 2604.09459."""
    metadata = run.metadata
    stated = {"temperature": metadata.config.temperature, "seed": metadata.config.seed}
    schemes = [SCHEMES[r["scheme"]] for r in rows]
    sizes = sorted({sum(t.group == g for t in trajectories) for g in {t.group for t in trajectories}})
    sampled = ", ".join(f"{name} {value}" for name, value in stated.items() if value is not None)
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
            f"state key. Environment {metadata.env or trajectories[0].env or 'not recorded'}.",
        ],
        ["Source of intervention", _listed(schemes, "evidence") + "."],
        [
            "Downstream protocol",
            f"{len(trajectories)} rollouts of step {step}, {' or '.join(map(str, sizes))} a prompt"
            + (f"; {sampled}" if sampled else "")
            + f"; policy {metadata.model_name or 'not recorded'}; "
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
    return section("Reporting card", '<p class="soft">After the survey arXiv 2604.09459.</p>' + table(["", ""], lines))


def _listed(schemes: list[Scheme], attribute: str) -> str:
    values = dict.fromkeys(getattr(s, attribute) for s in schemes)
    return "; ".join(f"{v}: {', '.join(s.title for s in schemes if getattr(s, attribute) == v)}" for v in values)
