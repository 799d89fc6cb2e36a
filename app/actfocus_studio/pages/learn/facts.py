"""Named values of the loaded run, which lessons compare and reveal.

Every fact is computed from the open run with the setting of the sidebar. A fact that cannot be computed is None and
shown as "unavailable".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from actfocus_core.analysis.diagnostics import action_bottleneck, gradient_mass
from actfocus_core.analysis.scoreboard import Truth, scoreboard
from actfocus_core.counterfactual.store import WhatIf
from actfocus_core.counterfactual.walkthrough import walkthrough
from actfocus_core.credit import Batch, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.outcomes import mean_known
from actfocus_core.runs import Run
from actfocus_core.signals import signal_values
from actfocus_core.stats import spearman
from actfocus_core.trajectory import TokenKind, Trajectory
from actfocus_studio.data.view import View
from actfocus_studio.jobs.experiments import Experiments
from actfocus_studio.jobs.experiments.evaluations import final_evaluations

CONTROL = "shuffle"
"""The null control of the lesson on limitations: the same weights on other tokens."""


class Loaded:
    """The view that is open; everything is read lazily, when a fact needs it."""

    def __init__(
        self,
        run: Run,
        view: View,
        batch: Callable[[], Batch],
        experiments: Experiments | None = None,
        whatif: Callable[[], WhatIf] | None = None,
    ):
        self.run, self.view, self._batch, self.experiments, self._whatif = run, view, batch, experiments, whatif

    @cached_property
    def batch(self) -> Batch:
        """The rollouts of the step, except those without a return."""
        return self._batch()

    @cached_property
    def trajectory(self) -> Trajectory:
        references = self.run.references(self.view.step) if self.view.step is not None else []
        return self.run.trajectory(
            self.view.trajectory, self.view.reference if self.view.reference in references else None
        )

    @cached_property
    def groups(self) -> dict:
        return action_bottleneck(self.batch, bootstrap=2)

    @cached_property
    def board(self) -> dict[str, float | None]:
        """Scheme -> Spearman's rho between its weight and |A| of a turn, under the policy's values."""
        names = ["actfocus", f"{CONTROL}:actfocus"]
        credits = {name: get_scheme(name).compute(self.batch, **self.setting) for name in names}
        rows = scoreboard(self.batch, credits, Truth.of(self.batch), bootstrap=2).rows
        return {row.name: row.scores["where_advantage"].value for row in rows}

    @property
    def setting(self) -> dict:
        return {"alpha": self.view.alpha, "beta": self.view.beta, "signal": self.view.signal}

    def mass(self, alpha: float, beta: float) -> dict:
        credit = get_scheme("actfocus").compute(self.batch, **(self.setting | {"alpha": alpha, "beta": beta}))
        if credit.missing:
            raise ActFocusError(f"{credit.missing[0]} was not recorded")
        return gradient_mass(self.batch.kinds, credit.weight)

    def energy(self, kind: TokenKind, of: Callable[[np.ndarray], float]) -> float | None:
        """A statistic of energy over all tokens of one kind."""
        values = self.batch.signals["energy"][self.batch.kinds == kind]
        return float(of(values)) if len(values) else None

    def token(self, values: np.ndarray) -> float | None:
        at = self.view.token
        return None if at is None or at >= len(self.trajectory) else float(values[at])

    @cached_property
    def motion(self) -> dict:
        """The update shown step by step on this trajectory. Raises ActFocusError where there is none."""
        if self._whatif is None or not self.view.motion:
            raise ActFocusError("no update is shown step by step")
        steps = walkthrough(self._whatif(), self.view.trajectory, self.view.motion)
        return {
            name: np.array(steps[step][column], float)
            for name, step, column in (("change", "logprobs", "change"), ("loss", "loss", "values"))
        }

    def moved(self, kind: TokenKind) -> float | None:
        """Mean change in log-prob over the tokens of one kind in this trajectory."""
        change = self.motion["change"][self.trajectory.kinds == kind]
        return float(change.mean()) if len(change) else None

    def race(self, scheme: str) -> float | None:
        """Mean over seeds of a scheme's success rate in the last evaluation; None where a finished run has none."""
        if self.experiments is None or not self.view.race:
            return None
        runs = self.experiments.look(self.view.race, {})["runs"]
        finals = list(final_evaluations(self.experiments.runs_dir, runs).get(scheme, {}).values())
        return float(np.mean(finals)) if finals and None not in finals else None


@dataclass(frozen=True)
class Fact:
    """A value with its title, unit and number of decimals. With unit %, ``of`` returns a fraction."""

    title: str
    unit: str
    digits: int
    of: Callable[[Loaded], float | None]

    def value(self, loaded: Loaded) -> float | None:
        """The value in the fact's unit, None where it cannot be computed for this run."""
        try:
            value = self.of(loaded)
        except (ActFocusError, LookupError):
            return None
        return (
            None
            if value is None or not math.isfinite(value)
            else 100 * float(value)
            if self.unit == "%"
            else float(value)
        )

    def shown(self, value: float | None) -> str:
        """The value as text, with its unit."""
        if value is None:
            return "unavailable"
        text = f"{value:z,.{self.digits}f}".replace("-", "\u2212")
        return f"{text} {self.unit}" if self.unit else text


def _tokens(kind: TokenKind):
    return lambda x: float((x.batch.kinds == kind).sum() / x.batch.response.sum())


def _mass(kind: str, alpha: float | None = None, beta: float | None = None):
    return lambda x: x.mass(x.view.alpha if alpha is None else alpha, x.view.beta if beta is None else beta)["kinds"][
        kind
    ]["mass_share"]


def _rho(part: str, name: str = "rho"):
    return lambda x: {(r["signal"], r["part"]): r[name] for r in x.groups["correlations"]}["energy", part]


def _sigma_share(x: Loaded) -> float:
    return float(np.mean([g["sigma"] == 0 for g in x.groups["groups"]]))


def _token_weight(x: Loaded) -> float | None:
    if x.batch.has(x.view.signal) and x.view.token is not None and x.view.token < len(x.trajectory):
        tokens = np.flatnonzero(x.batch.index == x.batch.ids.index(x.trajectory.id))
        weights = get_scheme("actfocus").compute(x.batch, **x.setting).weight
        return float(weights[tokens[x.view.token]])
    return None


def _top(x: Loaded) -> float | None:
    if x.trajectory.alternatives is None or x.view.token is None:
        return None
    logprobs = x.trajectory.alternatives.logprobs
    return x.token(np.exp(np.where(np.isnan(logprobs), -np.inf, logprobs).max(axis=1)))


def _against(x: Loaded) -> float | None:
    """Among tokens with nonzero gradient, the fraction that moved against it."""
    pushed = np.nan_to_num(x.motion["loss"]) != 0
    return float((x.motion["change"] * x.motion["loss"] > 0)[pushed].mean()) if pushed.any() else None


def _energy_against_surprise(x: Loaded) -> float:
    chosen = x.batch.kinds == TokenKind.ACTION
    return float(spearman(x.batch.signals["energy"][chosen], x.batch.signals["nll"][chosen])[0])


FACTS: dict[str, Fact] = {
    "turns": Fact("turns in this trajectory", "", 0, lambda x: len(x.trajectory.turn_records)),
    "tokens": Fact("tokens in this trajectory", "", 0, lambda x: len(x.trajectory)),
    "written": Fact("response tokens in this trajectory", "", 0, lambda x: int(x.trajectory.response_mask.sum())),
    "return": Fact("return of this trajectory", "", 2, lambda x: x.trajectory.ret),
    "rollouts": Fact("rollouts in the batch", "", 0, lambda x: int(x.batch.counted.sum())),
    "success": Fact("success rate of the batch", "%", 0, lambda x: mean_known(x.batch.success[x.batch.counted]).value),
    "action_share": Fact("share of action tokens among response tokens", "%", 1, _tokens(TokenKind.ACTION)),
    "reasoning_share": Fact("share of reasoning tokens among response tokens", "%", 1, _tokens(TokenKind.REASONING)),
    "format_share": Fact("share of format tokens among response tokens", "%", 1, _tokens(TokenKind.FORMAT)),
    "action_mass": Fact("share of weight on actions, current setting", "%", 1, _mass("action")),
    "reasoning_mass": Fact("share of weight on reasoning, current setting", "%", 1, _mass("reasoning")),
    "action_mass_uniform": Fact("share of weight on actions under Uniform", "%", 1, _mass("action", 1.0, 0.0)),
    "action_mass_role": Fact("share of weight on actions, alpha 0.1 and beta 0", "%", 1, _mass("action", 0.1, 0.0)),
    "action_mass_energy": Fact("share of weight on actions, alpha 1 and beta 0.5", "%", 1, _mass("action", 1.0, 0.5)),
    "action_mass_actfocus": Fact("share of weight on actions under ActFocus", "%", 1, _mass("action", 0.1, 0.5)),
    "effective_tokens": Fact(
        "effective tokens, current setting", "", 0, lambda x: x.mass(x.view.alpha, x.view.beta)["effective_tokens"]
    ),
    "response_tokens": Fact("response tokens in the batch", "", 0, lambda x: int(x.batch.response.sum())),
    "energy_action": Fact("mean energy of action tokens", "", 2, lambda x: x.energy(TokenKind.ACTION, np.mean)),
    "energy_reasoning": Fact(
        "mean energy of reasoning tokens", "", 2, lambda x: x.energy(TokenKind.REASONING, np.mean)
    ),
    "energy_spread": Fact(
        "standard deviation of energy over action tokens", "", 2, lambda x: x.energy(TokenKind.ACTION, np.std)
    ),
    "token_energy": Fact("energy of the pinned token", "", 2, lambda x: x.token(signal_values(x.trajectory, "energy"))),
    "token_entropy": Fact(
        "entropy of the reference at the pinned token",
        "nats",
        2,
        lambda x: x.token(signal_values(x.trajectory, "entropy")),
    ),
    "token_top": Fact("probability of the reference's most likely token at the pinned position", "%", 0, _top),
    "token_weight": Fact("weight of the pinned token", "", 2, _token_weight),
    "groups": Fact("groups in the batch", "", 0, lambda x: len(x.groups["groups"])),
    "zero_spread": Fact("share of groups with equal returns", "%", 0, _sigma_share),
    "rho_action": Fact("Spearman's rho of return standard deviation and action energy", "", 2, _rho("action")),
    "rho_reasoning": Fact("Spearman's rho of return standard deviation and reasoning energy", "", 2, _rho("reasoning")),
    "rho_partial": Fact("partial rho for actions given the success rate", "", 2, _rho("action", "partial")),
    "energy_surprise": Fact(
        "Spearman's rho of energy and surprise over action tokens", "", 2, _energy_against_surprise
    ),
    "score_actfocus": Fact(
        "Spearman's rho of ActFocus weights and |A| over turns", "", 2, lambda x: x.board["actfocus"]
    ),
    "score_shuffled": Fact(
        "Spearman's rho of permuted weights and |A| over turns", "", 2, lambda x: x.board[f"{CONTROL}:actfocus"]
    ),
    "moved_action": Fact(
        "mean change in log-prob of action tokens in the update", "", 4, lambda x: x.moved(TokenKind.ACTION)
    ),
    "moved_reasoning": Fact(
        "mean change in log-prob of reasoning tokens in the update", "", 4, lambda x: x.moved(TokenKind.REASONING)
    ),
    "moved_against": Fact("share of tokens that moved against their own gradient", "%", 0, _against),
    "race_uniform": Fact("success rate of Uniform in the last evaluation", "%", 0, lambda x: x.race("uniform")),
    "race_actfocus": Fact("success rate of ActFocus in the last evaluation", "%", 0, lambda x: x.race("actfocus")),
}
