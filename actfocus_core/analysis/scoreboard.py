"""Scores of credit schemes against the true advantages of turns. Weights have no sign, so there are two questions.

**Where**: do turns that matter have more weight? The weight of their action tokens is correlated with |A_pi| and with
criticality, over all turns of the batch. **Right**: is the signed credit correct? The mean effective credit of the action
tokens of a turn is correlated with A_pi, within each prompt group and within each trajectory. Turns without action tokens are
excluded and counted. A scheme with constant credit has no ranking, which is not a correlation of 0.
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
    percentile_interval,
    resamples,
    rounded,
    stratified_resamples,
    unit_counts,
)
from actfocus_core.trajectory import TokenKind

MIN_DISTINCT = 3
"""Rollouts and groups with fewer distinct true values have no ranking and are skipped."""
TOP = 0.9
"""Quantile above which a turn counts as important for AUROC."""


@dataclass(frozen=True)
class Truth:
    """The true values of the K turns of a batch; arrays are float64 [K]."""

    advantage: np.ndarray
    """A = Q - V of the turn taken"""
    luck: np.ndarray | None = None
    """r + V(s') - Q: the effect of the environment's randomness after the turn was chosen"""
    criticality: np.ndarray | None = None
    """standard deviation of the optimal Q over the legal first actions"""
    replica: np.ndarray | None = None
    """a second, independent estimate of the advantage"""
    exact: bool = False

    @classmethod
    def of(cls, batch: Batch, oracle: str = "policy") -> Truth:
        """The truth from the signals of a batch, under the ``policy`` or under optimal play (``oracle``).

        Values of the policy are exact if both estimates agree everywhere. Otherwise the second estimate is the truth: schemes
        read the first, and scoring against it would reward them for its noise. Raises ActFocusError if signals are missing.
        """
        lacking = [n for n in (f"{oracle}_q", f"{oracle}_v") if not batch.has(n)]
        if lacking:
            raise ActFocusError(f"no {lacking[0]} in these trajectories; {HOW_TO_GET[lacking[0]]}")
        critical = batch.turn_signal("criticality") if batch.has("criticality") else None
        q, v = batch.turn_signal(f"{oracle}_q"), batch.turn_signal(f"{oracle}_v")
        if oracle == "oracle":
            return cls(q - v, _luck(batch, q, v), critical, exact=True)
        replicas = [f"{oracle}_{x}_replica" for x in "qv"]
        if not all(map(batch.has, replicas)):
            return cls(q - v, _luck(batch, q, v), critical)
        q2, v2 = map(batch.turn_signal, replicas)
        exact = bool(np.allclose(q2, q, atol=1e-6) and np.allclose(v2, v, atol=1e-6))
        return cls(q2 - v2, _luck(batch, q2, v2), critical, q - v, exact)

    @property
    def noise_floor(self) -> float | None:
        """Mean |A - replica|, in units of the return; 0 if exact, None without a replica."""
        if self.exact:
            return 0.0
        return None if self.replica is None else float(np.abs(self.replica - self.advantage).mean())


def _luck(batch: Batch, q: np.ndarray, v: np.ndarray) -> np.ndarray | None:
    return None if batch.turn_rewards is None else batch.turn_rewards + batch.following(v) - q


@dataclass(frozen=True)
class Score:
    """One number of the table. If ``value`` is None, ``why`` gives the reason."""

    value: float | None
    low: float | None
    high: float | None
    """95 % bootstrap interval over rollouts with all their segments, resampled within each group; for ``right_group`` over
    groups, since duplicated rollouts would bias the rank correlation within a small group"""
    n: int
    """number of turns, groups or rollouts"""
    why: str = ""


@dataclass(frozen=True)
class Row:
    """The scores of one scheme, by the names of COLUMNS."""

    name: str
    focus: str
    """the quantity that the **where** scores rank: ``weight``, or ``credit`` (|c|) if the advantages of the scheme vary within
    a trajectory"""
    scores: dict[str, Score]


COLUMNS = {
    "where_advantage": "Spearman correlation of the weight with |A|, all turns",
    "where_advantage_tau": "Kendall's tau-b of the weight with |A|, all turns",
    "where_advantage_auroc": "AUROC of the weight for the top tenth of |A|",
    "where_criticality": "Spearman correlation of the weight with criticality, all turns",
    "where_criticality_tau": "Kendall's tau-b of the weight with criticality, all turns",
    "where_criticality_auroc": "AUROC of the weight for the top tenth of criticality",
    "right_group": "Spearman correlation of the signed credit with A, mean over groups",
    "right_within": "Spearman correlation of the signed credit with A, mean over rollouts",
    "right_sign": "fraction of turns whose credit has the sign of A, where |A| is above the threshold",
    "luck": "share of |credit| on luck: |luck| / (|A| + |luck|) of each turn, weighted by its |credit|",
}


@dataclass(frozen=True)
class Scoreboard:
    """The table of scores, and the figures needed to interpret it."""

    rows: list[Row]
    ceiling: Row | None
    """the truth scored as if it were a scheme. For an estimate its other replica is scored, which gives the score of a perfect
    scheme under this noise; None without a replica"""
    noise_floor: float | None
    exact: bool
    threshold: float
    """|A| above which the sign of the credit is scored"""
    turns: int
    left_out: int
    """number of turns without action tokens"""
    skipped: int
    """number of rollouts with fewer than MIN_DISTINCT distinct true values"""
    unscored: dict[str, tuple[str, ...]]
    """scheme -> its missing inputs"""

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

    ``bootstrap``: number of resamples. ``threshold``: by default the noise floor. Raises ActFocusError if the truth does not
    have one value per turn of the batch.
    """
    turns = len(batch.turn_owner)
    if truth.advantage.shape != (turns,):
        raise ActFocusError(f"truth of {truth.advantage.shape} turns for a batch of {turns}; the numbers must be equal")
    floor = truth.noise_floor
    threshold = max(floor or 0.0, 1e-9) if threshold is None else threshold
    acted = np.isfinite(batch.turn_mean(batch.kinds, batch.kinds == TokenKind.ACTION))
    scorer = _Scorer(batch, truth, acted, threshold, bootstrap, seed)
    rows = [scorer.row(name, *_of_turns(batch, c)) for name, c in credits.items() if not c.missing]
    best = truth.advantage if truth.exact else truth.replica
    ceiling = None if best is None else scorer.row("ceiling", np.abs(best), best, np.abs(best), "credit")
    return Scoreboard(
        rows,
        ceiling,
        floor,
        truth.exact,
        threshold,
        turns,
        int((~acted).sum()),
        int(batch.counted.sum()) - len(scorer.rollouts),
        {name: c.missing for name, c in credits.items() if c.missing},
    )


def credits_of(
    batch: Batch, names: list[str], controls: bool = True, params: Mapping[str, dict[str, Any]] = MappingProxyType({})
) -> dict[str, Credit]:
    """The credit of each scheme, followed by that of its three null controls if ``controls``.

    Controls are omitted if all of them leave the credit unchanged. ``params``: scheme -> parameters in place of its defaults,
    also for its controls.
    """
    credits = {}
    for name in names:
        options = params.get(name, {})
        credits[name] = get_scheme(name).compute(batch, **options)
        if not controls or ":" in name or credits[name].missing:
            continue
        null = {f"{control}:{name}": get_scheme(f"{control}:{name}").compute(batch, **options) for control in CONTROLS}
        if any(not np.allclose(c.signed, credits[name].signed) for c in null.values()):
            credits |= null
    return credits


def _of_turns(batch: Batch, credit: Credit) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Per turn [K]: focus, signed credit, sum of |credit|; and the name of the focus (``Row.focus``)."""
    action, effective = batch.kinds == TokenKind.ACTION, credit.effective()
    trajectory, a = batch.index[batch.response], credit.advantage[batch.response]
    first = np.searchsorted(trajectory, np.arange(len(batch.returns)))
    constant = len(trajectory) == 0 or np.array_equal(a, a[np.minimum(first, len(a) - 1)][trajectory])
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
"""A group or a rollout; see ``_Scorer._units``."""


class _Scorer:
    """The truth, the bootstrap resamples, and the mask of scored turns."""

    def __init__(self, batch: Batch, truth: Truth, acted: np.ndarray, threshold: float, bootstrap: int, seed: int):
        self.truth, self.acted, self.threshold = truth, acted, threshold
        self.owner = batch.turn_owner[acted]
        self.group = batch.group_of[self.owner]
        draws = np.random.default_rng(seed)
        _, first = np.unique(batch.rollout_of, return_index=True)
        stratum = batch.group_of[first]
        # [1 + B, rollouts]: the counts of each rollout; the first row is the batch itself.
        counts = np.vstack([unit_counts(len(stratum)), stratified_resamples(stratum, bootstrap, draws)])
        groups = int(batch.group_of.max()) + 1
        group_counts = np.vstack([unit_counts(groups), resamples(bootstrap, groups, draws)])
        rollout = batch.rollout_of[self.owner]
        self.turn_counts = counts[:, rollout]
        self.a = rounded(truth.advantage[acted])
        self.targets = {"advantage": np.abs(self.a)}
        if truth.criticality is not None:
            self.targets["criticality"] = rounded(truth.criticality[acted])
        self.target_ranks = {name: midranks(values, self.turn_counts) for name, values in self.targets.items()}
        self.groups, self.rollouts = self._units(self.group, group_counts), self._units(rollout, counts)

    def _units(self, unit: np.ndarray, counts: np.ndarray) -> list[_Unit]:
        """Groups or rollouts with enough distinct true values: their turns, the ranks of these values, and their counts in
        every resample."""
        order = np.argsort(unit, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(unit[order])) + 1) if len(unit) else []
        return [
            (where, midranks(self.a[where], unit_counts(len(where))), counts[:, unit[where[0]]])
            for where in parts
            if len(np.unique(self.a[where])) >= MIN_DISTINCT
        ]

    def row(self, name: str, focus: np.ndarray, credit: np.ndarray, mass: np.ndarray, kind: str) -> Row:
        focus, credit, mass = (rounded(v[self.acted]) for v in (focus, credit, mass))
        large = np.abs(self.a) > self.threshold
        scores = self._where(focus) | {
            "right_group": self._mean_over(self.groups, credit),
            "right_within": self._mean_over(self.rollouts, credit),
            "right_sign": self._share(
                np.sign(credit) == np.sign(self.a),
                large.astype(float),
                large,
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
        """Mean of Spearman's rho over groups or rollouts, weighted by their counts."""
        if not units:
            return _none(f"none has {MIN_DISTINCT} distinct true values")
        ranked = [unit for unit in units if np.ptp(credit[unit[0]]) > 0]
        if not ranked:
            return _none("no ranking")
        rho = np.array(
            [
                correlation(midranks(credit[where], unit_counts(len(where))), ranks, unit_counts(len(where)))[0]
                for where, ranks, _ in ranked
            ]
        )
        drawn = np.stack([counts for _, _, counts in ranked], axis=1)
        total = drawn.sum(1)
        mean = np.divide(drawn @ rho, total, out=np.full(len(total), np.nan), where=total > 0)
        return _score(mean, len(ranked), "no ranking")

    def _share(self, hit: np.ndarray, mass: np.ndarray, included: np.ndarray, why: str) -> Score:
        counts = self.turn_counts[:, included]
        total = counts @ mass[included]
        share = np.divide(counts @ (mass * hit)[included], total, out=np.full(len(total), np.nan), where=total > 0)
        return _score(share, int(included.sum()), why)

    def _luck(self, mass: np.ndarray) -> Score:
        if self.truth.luck is None:
            return _none("not recorded")
        luck = np.abs(self.truth.luck[self.acted])
        total = luck + np.abs(self.a)
        share = np.divide(luck, total, out=np.zeros_like(total), where=total > 1e-9)
        return self._share(share, mass, np.ones(len(mass), bool), "all credit is 0")


def _none(why: str) -> Score:
    return Score(None, None, None, 0, why)


def _score(drawn: np.ndarray, n: int, why: str) -> Score:
    """``drawn``: the value of the sample, followed by those of the resamples."""
    value, low, high = percentile_interval(drawn[0], drawn[1:])
    if not np.isfinite(value):
        return Score(None, None, None, n, why)
    return Score(value, low if np.isfinite(low) else None, high if np.isfinite(high) else None, n)
