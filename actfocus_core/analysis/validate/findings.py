"""``Finding`` and ``Report``: what was found in rollouts, how often, and where."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from actfocus_core.analysis.validate.rules import RULES, SEVERITIES

EXAMPLES = 5
"""Number of example ids stored per finding."""


class Hit(NamedTuple):
    """A rule that applies to a rollout, a group or a run."""

    rule: str
    example: str
    """Id of the trajectory, or name of the group or run"""
    detail: str = ""


@dataclass
class Finding:
    """A problem, and how often it was found."""

    check: str
    """The name of its rule"""
    severity: str
    message: str
    """The problem, its consequence and how to correct it."""
    count: int = 0
    of: int = 0
    """The number of trajectories checked, or of groups for a check of groups."""
    examples: list[str] = field(default_factory=list)
    """Up to EXAMPLES trajectory ids, or group names."""
    threshold: float | None = None
    unit: str = ""
    """What the threshold counts"""


@dataclass
class Report:
    """The findings of a run."""

    trajectories: int
    tokens: int
    findings: list[Finding]
    """Ordered by severity, errors first, and then by decreasing frequency."""
    mask: str = "unknown"
    """How it is known which tokens were sampled: recorded, derived or guessed, with the rule; unknown: not stated"""

    @property
    def healthy(self) -> bool:
        """Whether there is no finding of severity ``error``."""
        return all(finding.severity != "error" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "healthy": self.healthy}


class Findings:
    """Collects hits by rule."""

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}

    def __contains__(self, rule: str) -> bool:
        return rule in self._found

    def add(self, hit: Hit) -> None:
        rule = RULES[hit.rule]
        finding = self._found.get(rule.name)
        if finding is None:
            message = rule.message(hit.detail)
            finding = Finding(rule.name, rule.severity, message, threshold=rule.threshold, unit=rule.unit)
            self._found[rule.name] = finding
        finding.count += 1
        if len(finding.examples) < EXAMPLES:
            finding.examples.append(hit.example)

    def report(self, trajectories: int, tokens: int, groups: int, mask: str) -> Report:
        of = {"rollouts": trajectories, "groups": groups, "run": 1}
        for finding in self._found.values():
            finding.of = of[RULES[finding.check].counts]
        order = sorted(self._found.values(), key=lambda f: (SEVERITIES.index(RULES[f.check].severity), -f.count))
        return Report(trajectories, tokens, order, mask)
