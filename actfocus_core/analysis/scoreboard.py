"""Credit schemes against the truth. A weight has no sign, so two questions stay apart.

**Where**: does a turn that mattered weigh more? The weight of its action tokens against |A_pi| and
against criticality, over all turns of the batch. **Right**: is the signed credit that of the turn?
The mean effective credit of its action tokens against A_pi, in each prompt group and within each
trajectory. Turns without action tokens are left out and counted. A scheme whose credit does not vary
has no ranking, which is not a correlation of 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from actfocus_core.credit import CONTROLS, HOW_TO_GET, Batch, Credit, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.stats import (
    auroc,
    correlation,
    kendall,
    midranks,
    once,
    percentile_interval,
    resamples,
    rounded,
    stratified_resamples,
)
from actfocus_core.trajectory import TokenKind

LEAST_DISTINCT = 3
"""A trajectory, or a group, with fewer different true values ranks nothing and is skipped."""
TOP = 0.9
"""The turns that matter most: those at or above this quantile."""


@dataclass(frozen=True)
class Truth:
    """What each of a batch's K turns was worth; arrays float64 [K]."""

    advantage: np.ndarray
    """A = Q - V of the turn taken"""
    luck: np.ndarray | None = None
    """r + V(s') - Q: what the dice gave after the turn was chosen"""
    criticality: np.ndarray | None = None
    """standard deviation of perfect play's Q over the legal first actions"""
    replica: np.ndarray | None = None
    """the advantage estimated again, independently"""
    exact: bool = False

    @classmethod
    def of(cls, batch: Batch, oracle: str = "policy") -> Truth:
        """The truth that the batch's signals hold: of the ``policy``, or the optimal one (``oracle``).

        The policy's is exact where its replica is the same everywhere. Where it is an estimate, the
        second one is the truth: schemes read the first, and scored against that they would be
        rewarded for its noise. Raises ActFocusError
        where the signals are missing.
        """
        lacking = [n for n in (f"{oracle}_q", f"{oracle}_v") if not batch.has(n)]
        if lacking:
            raise ActFocusError(f"no {lacking[0]} in these trajectories; {HOW_TO_GET[lacking[0]]}")
        critical = batch.turn_signal("criticality") if batch.has("criticality") else None
        q, v = batch.turn_signal(f"{oracle}_q"), batch.turn_signal(f"{oracle}_v")
        if oracle == "oracle":
            return cls(q - v, _luck(batch, q, v), critical, exact=True)
        again = [f"{oracle}_{x}_replica" for x in "qv"]
        if not all(map(batch.has, again)):
            return cls(q - v, _luck(batch, q, v), critical)
        q2, v2 = map(batch.turn_signal, again)
        exact = bool(np.allclose(q2, q, atol=1e-6) and np.allclose(v2, v, atol=1e-6))
        return cls(q2 - v2, _luck(batch, q2, v2), critical, q - v, exact)

    @property
    def noise_floor(self) -> float | None:
        """Mean |A - its replica|, in units of the return; 0 where exact, None where there is no replica."""
        if self.exact:
            return 0.0
        return None if self.replica is None else float(np.abs(self.replica - self.advantage).mean())


def _luck(batch: Batch, q: np.ndarray, v: np.ndarray) -> np.ndarray | None:
    return None if batch.turn_rewards is None else batch.turn_rewards + batch.following(v) - q


@dataclass(frozen=True)
class Score:
    """One number of the table. ``value`` None: there is none, and ``why`` says why."""

    value: float | None
    low: float | None
    high: float | None
    """95 % bootstrap interval over rollouts, drawn anew within each group with all their segments; of ``right_group`` over
    groups, since rollouts drawn twice would bias the rank correlation inside a small group"""
    n: int
    """turns, groups or rollouts it is over"""
    why: str = ""


@dataclass(frozen=True)
class Row:
    """One scheme. Names of scores: see COLUMNS."""

    name: str
    focus: str
    """what **where** ranks by: ``weight``, or ``credit`` (|c|) where the scheme's signed credit differs
    within a trajectory by more than its weights"""
    scores: dict[str, Score]


COLUMNS = {
    "where_advantage": "Spearman of the weight with |A|, all turns",
    "where_advantage_tau": "Kendall's tau-b of the weight with |A|, all turns",
    "where_advantage_auroc": "AUROC of the weight for the top tenth of |A|",
    "where_criticality": "Spearman of the weight with criticality, all turns",
    "where_criticality_tau": "Kendall's tau-b of the weight with criticality, all turns",
    "where_criticality_auroc": "AUROC of the weight for the top tenth of criticality",
    "right_group": "Spearman of the signed credit with A, mean over groups",
    "right_within": "Spearman of the signed credit with A, mean over rollouts",
    "right_sign": "share of turns with the sign of A, where |A| is above the threshold",
    "luck": "share of |credit| on luck: |luck| / (|A| + |luck|) of each turn, weighted by its |credit|",
}


@dataclass(frozen=True)
class Scoreboard:
    """The table and what must be said with it."""

    rows: list[Row]
    ceiling: Row | None
    """the truth scored as if it were a scheme: its replica where it is an estimate, which shows how
    much of a perfect scheme's score the noise leaves; None where there is no replica"""
    noise_floor: float | None
    exact: bool
    threshold: float
    """|A| above which a sign is asked for"""
    turns: int
    left_out: int
    """turns without action tokens"""
    skipped: int
    """rollouts with fewer than LEAST_DISTINCT different true values: they rank nothing"""
    unscored: dict[str, tuple[str, ...]]
    """scheme -> what it lacks"""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self) | {"columns": COLUMNS}


def scoreboard(
    batch: Batch,
    credits: dict[str, Credit],
    truth: Truth,
    *,
    bootstrap: int = 200,
    seed: int = 0,
    threshold: float | None = None,
) -> Scoreboard:
    """Score every credit against the truth.

    ``threshold``: by default the noise floor. Raises ActFocusError where the truth is not of this
    batch's turns.
    """
    turns = len(batch.turn_owner)
    if truth.advantage.shape != (turns,):
        raise ActFocusError(f"truth of {truth.advantage.shape} turns for a batch of {turns}; they must be as many")
    floor = truth.noise_floor
    threshold = max(floor or 0.0, 1e-9) if threshold is None else threshold
    acted = np.isfinite(batch.turn_mean(batch.kinds, batch.kinds == TokenKind.ACTION))
    judge = _Judge(batch, truth, acted, threshold, bootstrap, seed)
    rows = [judge.row(name, *_of_turns(batch, c)) for name, c in credits.items() if not c.missing]
    best = truth.advantage if truth.exact else truth.replica
    ceiling = None if best is None else judge.row("ceiling", np.abs(best), best, np.abs(best), "credit")
    return Scoreboard(
        rows,
        ceiling,
        floor,
        truth.exact,
        threshold,
        turns,
        int((~acted).sum()),
        int(batch.counted.sum()) - len(judge.rollouts),
        {name: c.missing for name, c in credits.items() if c.missing},
    )


def credits_of(
    batch: Batch, names: list[str], controls: bool = True, params: Mapping[str, dict[str, Any]] = MappingProxyType({})
) -> dict[str, Credit]:
    """Credit of each scheme under its defaults; with ``controls`` its three null controls after it,
    but for a scheme that every control leaves as it is. ``params``: scheme -> parameters that are not
    its defaults, for its controls as well."""
    credits = {}
    for name in names:
        given = params.get(name, {})
        credits[name] = get_scheme(name).compute(batch, **given)
        if not controls or ":" in name or credits[name].missing:
            continue
        null = {f"{control}:{name}": get_scheme(f"{control}:{name}").compute(batch, **given) for control in CONTROLS}
        if any(not np.allclose(c.signed, credits[name].signed) for c in null.values()):
            credits |= null
    return credits


def _of_turns(batch: Batch, credit: Credit) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Of every turn [K]: focus, signed credit, mass; and what the focus is."""
    action, effective = batch.kinds == TokenKind.ACTION, credit.effective()
    own, a = batch.index[batch.response], credit.advantage[batch.response]
    first = np.searchsorted(own, np.arange(len(batch.returns)))
    constant = len(own) == 0 or np.array_equal(a, a[np.minimum(first, len(a) - 1)][own])
    focus = (credit.keep * credit.weight).astype(np.float64) if constant else np.abs(effective)
    mass = np.bincount(
        batch.turn_of[batch.response], np.abs(effective)[batch.response], minlength=len(batch.turn_owner)
    )
    return (
        batch.turn_mean(focus, action),
        batch.turn_mean(effective, action),
        mass,
        "weight" if constant else "credit",
    )


_Unit = tuple[np.ndarray, np.ndarray, np.ndarray]
"""A group or a rollout: see ``_Judge._units``."""


class _Judge:
    """The truth, the resamples, and which turns are asked about."""

    def __init__(self, batch: Batch, truth: Truth, acted: np.ndarray, threshold: float, bootstrap: int, seed: int):
        self.truth, self.acted, self.threshold = truth, acted, threshold
        self.owner = batch.turn_owner[acted]
        self.group = batch.group_of[self.owner]
        draws = np.random.default_rng(seed)
        _, first = np.unique(batch.rollout_of, return_index=True)
        stratum = batch.group_of[first]
        # [1 + B, rollouts]: how often each rollout was drawn; the first row is the batch itself.
        counts = np.vstack([once(len(stratum)), stratified_resamples(stratum, bootstrap, draws)])
        groups = int(batch.group_of.max()) + 1
        group_counts = np.vstack([once(groups), resamples(bootstrap, groups, draws)])
        rollout = batch.rollout_of[self.owner]
        self.turn_counts = counts[:, rollout]
        self.a = rounded(truth.advantage[acted])
        self.targets = {"advantage": np.abs(self.a)}
        if truth.criticality is not None:
            self.targets["criticality"] = rounded(truth.criticality[acted])
        self.target_ranks = {name: midranks(values, self.turn_counts) for name, values in self.targets.items()}
        self.groups, self.rollouts = self._units(self.group, group_counts), self._units(rollout, counts)

    def _units(self, unit: np.ndarray, counts: np.ndarray) -> list[_Unit]:
        """Groups or rollouts with enough different true values: their turns, the ranks of these
        values, and how often each resample drew them."""
        order = np.argsort(unit, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(unit[order])) + 1) if len(unit) else []
        return [
            (where, midranks(self.a[where], once(len(where))), counts[:, unit[where[0]]])
            for where in parts
            if len(np.unique(self.a[where])) >= LEAST_DISTINCT
        ]

    def row(self, name: str, focus: np.ndarray, credit: np.ndarray, mass: np.ndarray, kind: str) -> Row:
        focus, credit, mass = (rounded(v[self.acted]) for v in (focus, credit, mass))
        asked = np.abs(self.a) > self.threshold
        scores = self._where(focus) | {
            "right_group": self._mean_over(self.groups, credit),
            "right_within": self._mean_over(self.rollouts, credit),
            "right_sign": self._share(
                np.sign(credit) == np.sign(self.a),
                asked.astype(float),
                asked,
                f"no turn has |A| above {self.threshold:.3g}",
            ),
            "luck": self._luck(mass),
        }
        return Row(name, kind, {name: scores[name] for name in COLUMNS})

    def _where(self, focus: np.ndarray) -> dict[str, Score]:
        names = [f"where_{what}{kind}" for what in ("advantage", "criticality") for kind in ("", "_tau", "_auroc")]
        if not len(focus) or np.ptp(focus) == 0:
            return dict.fromkeys(names, _none("no ranking"))
        scores = dict.fromkeys(names, _none("not recorded"))
        ranks = midranks(focus, self.turn_counts)
        for what, values in self.targets.items():
            flat = np.ptp(values) == 0
            rho = correlation(ranks, self.target_ranks[what], self.turn_counts)
            area = auroc(ranks, (values >= np.quantile(values, TOP)) & (values > 0), self.turn_counts)
            tau = kendall(focus, values, self.turn_counts)
            for kind, drawn in (("", rho), ("_tau", tau), ("_auroc", area)):
                scores[f"where_{what}{kind}"] = (
                    _none("the truth does not vary") if flat else _score(drawn, len(focus), "too few turns")
                )
        return scores

    def _mean_over(self, units: list[_Unit], credit: np.ndarray) -> Score:
        """Mean over groups or rollouts of Spearman's rho, each as often as it was drawn."""
        if not units:
            return _none(f"none has {LEAST_DISTINCT} different true values")
        ranked = [unit for unit in units if np.ptp(credit[unit[0]]) > 0]
        if not ranked:
            return _none("no ranking")
        rho = np.array(
            [
                correlation(midranks(credit[where], once(len(where))), ranks, once(len(where)))[0]
                for where, ranks, _ in ranked
            ]
        )
        drawn = np.stack([counts for _, _, counts in ranked], axis=1)
        total = drawn.sum(1)
        mean = np.divide(drawn @ rho, total, out=np.full(len(total), np.nan), where=total > 0)
        return _score(mean, len(ranked), "no ranking")

    def _share(self, hit: np.ndarray, mass: np.ndarray, asked: np.ndarray, why: str) -> Score:
        counts = self.turn_counts[:, asked]
        whole = counts @ mass[asked]
        share = np.divide(counts @ (mass * hit)[asked], whole, out=np.full(len(whole), np.nan), where=whole > 0)
        return _score(share, int(asked.sum()), why)

    def _luck(self, mass: np.ndarray) -> Score:
        if self.truth.luck is None:
            return _none("not recorded")
        luck = np.abs(self.truth.luck[self.acted])
        whole = luck + np.abs(self.a)
        share = np.divide(luck, whole, out=np.zeros_like(whole), where=whole > 1e-9)
        return self._share(share, mass, np.ones(len(mass), bool), "all credit is 0")


def _none(why: str) -> Score:
    return Score(None, None, None, 0, why)


def _score(drawn: np.ndarray, n: int, why: str) -> Score:
    """``drawn``: the value itself, then that of every resample."""
    value, low, high = percentile_interval(drawn[0], drawn[1:])
    if not np.isfinite(value):
        return Score(None, None, None, n, why)
    return Score(value, low if np.isfinite(low) else None, high if np.isfinite(high) else None, n)
