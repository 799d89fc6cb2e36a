"""Live numbers of what is loaded, by name: what lessons compare and reveal.

Every fact is computed from the run that is open, with the setting of the sidebar; what cannot be
known there is None and reads "unavailable".
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

EVALUATED = "eval/t1/success"
"""Success on the evaluation prompts at temperature 1, as the Train page shows it."""
CONTROL = "shuffle"
"""The null control of the lesson on controls: the same weights on other tokens."""


class Loaded:
    """What a page has open, read as far as a fact asks for it."""

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
        """The rollouts of the step that have a return."""
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
        """Scheme -> Spearman of its weight with |A| of the turn, under the policy's own values."""
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
        """A statistic of the energy of all tokens of one kind."""
        values = self.batch.signals["energy"][self.batch.kinds == kind]
        return float(of(values)) if len(values) else None

    def token(self, values: np.ndarray) -> float | None:
        at = self.view.token
        return None if at is None or at >= len(self.trajectory) else float(values[at])

    @cached_property
    def motion(self) -> dict:
        """The update that is in slow motion on this trajectory, step by step. Raises ActFocusError where none is."""
        if self._whatif is None or not self.view.motion:
            raise ActFocusError("no update is in slow motion")
        steps = walkthrough(self._whatif(), self.view.trajectory, self.view.motion)
        return {
            name: np.array(steps[step][column], float)
            for name, step, column in (("change", "logprobs", "change"), ("loss", "loss", "values"))
        }

    def moved(self, kind: TokenKind) -> float | None:
        """Mean change of the log-prob of this trajectory's tokens of a kind."""
        change = self.motion["change"][self.trajectory.kinds == kind]
        return float(change.mean()) if len(change) else None

    def race(self, scheme: str) -> float | None:
        """Mean over seeds of the last evaluation of a scheme's runs."""
        if self.experiments is None or not self.view.race:
            return None
        last = [
            [value for value in run["columns"].get(EVALUATED, ()) if value is not None]
            for run in self.experiments.look(self.view.race, {})["runs"]
            if run["scheme"] == scheme and run["state"] == "finished"
        ]
        return float(np.mean([values[-1] for values in last])) if last and all(last) else None


@dataclass(frozen=True)
class Fact:
    """A number with a name. Shares are in per cent."""

    title: str
    unit: str
    digits: int
    of: Callable[[Loaded], float | None]

    def value(self, loaded: Loaded) -> float | None:
        """The number, None where this run cannot tell."""
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
        own = np.flatnonzero(x.batch.index == x.batch.ids.index(x.trajectory.id))
        weights = get_scheme("actfocus").compute(x.batch, **x.setting).weight
        return float(weights[own[x.view.token]])
    return None


def _top(x: Loaded) -> float | None:
    if x.trajectory.alternatives is None or x.view.token is None:
        return None
    logprobs = x.trajectory.alternatives.logprobs
    return x.token(np.exp(np.where(np.isnan(logprobs), -np.inf, logprobs).max(axis=1)))


def _against(x: Loaded) -> float | None:
    """Of the tokens that the loss pushed at all, those that moved the other way."""
    pushed = np.nan_to_num(x.motion["loss"]) != 0
    return float((x.motion["change"] * x.motion["loss"] > 0)[pushed].mean()) if pushed.any() else None


def _energy_against_surprise(x: Loaded) -> float:
    chosen = x.batch.kinds == TokenKind.ACTION
    return float(spearman(x.batch.signals["energy"][chosen], x.batch.signals["nll"][chosen])[0])


FACTS: dict[str, Fact] = {
    "turns": Fact("turns of this trajectory", "", 0, lambda x: len(x.trajectory.turn_records)),
    "tokens": Fact("tokens of this trajectory", "", 0, lambda x: len(x.trajectory)),
    "written": Fact("tokens of it that the policy wrote", "", 0, lambda x: int(x.trajectory.response_mask.sum())),
    "return": Fact("its return", "", 2, lambda x: x.trajectory.ret),
    "rollouts": Fact("rollouts of the batch", "", 0, lambda x: int(x.batch.counted.sum())),
    "success": Fact("of them that succeeded", "%", 0, lambda x: mean_known(x.batch.success[x.batch.counted]).value),
    "action_share": Fact("action tokens among those written", "%", 1, _tokens(TokenKind.ACTION)),
    "reasoning_share": Fact("reasoning tokens among those written", "%", 1, _tokens(TokenKind.REASONING)),
    "format_share": Fact("format tokens among those written", "%", 1, _tokens(TokenKind.FORMAT)),
    "action_mass": Fact("of the weight on actions, as set", "%", 1, _mass("action")),
    "reasoning_mass": Fact("of the weight on reasoning, as set", "%", 1, _mass("reasoning")),
    "action_mass_uniform": Fact("of the weight on actions under Uniform", "%", 1, _mass("action", 1.0, 0.0)),
    "action_mass_role": Fact("of the weight on actions with alpha 0.1 and beta 0", "%", 1, _mass("action", 0.1, 0.0)),
    "action_mass_energy": Fact("of the weight on actions with alpha 1 and beta 0.5", "%", 1, _mass("action", 1.0, 0.5)),
    "action_mass_actfocus": Fact("of the weight on actions under ActFocus", "%", 1, _mass("action", 0.1, 0.5)),
    "effective_tokens": Fact(
        "effective tokens, as set", "", 0, lambda x: x.mass(x.view.alpha, x.view.beta)["effective_tokens"]
    ),
    "response_tokens": Fact("tokens that the policy wrote in the batch", "", 0, lambda x: int(x.batch.response.sum())),
    "energy_action": Fact("mean energy of the action tokens", "", 2, lambda x: x.energy(TokenKind.ACTION, np.mean)),
    "energy_reasoning": Fact(
        "mean energy of the reasoning tokens", "", 2, lambda x: x.energy(TokenKind.REASONING, np.mean)
    ),
    "energy_spread": Fact(
        "standard deviation of the energy of the action tokens", "", 2, lambda x: x.energy(TokenKind.ACTION, np.std)
    ),
    "token_energy": Fact("energy of the pinned token", "", 2, lambda x: x.token(signal_values(x.trajectory, "energy"))),
    "token_entropy": Fact(
        "entropy of the reference there", "", 2, lambda x: x.token(signal_values(x.trajectory, "entropy"))
    ),
    "token_top": Fact("probability of the reference's first choice there", "%", 0, _top),
    "token_weight": Fact("weight of the pinned token", "", 2, _token_weight),
    "groups": Fact("groups of the batch", "", 0, lambda x: len(x.groups["groups"])),
    "zero_spread": Fact("groups whose returns are all equal", "%", 0, _sigma_share),
    "rho_action": Fact("Spearman of the spread with the energy of actions", "", 2, _rho("action")),
    "rho_reasoning": Fact("Spearman of the spread with the energy of reasoning", "", 2, _rho("reasoning")),
    "rho_partial": Fact("the same for actions, given the success rate", "", 2, _rho("action", "partial")),
    "energy_surprise": Fact("Spearman of energy and surprise of the action tokens", "", 2, _energy_against_surprise),
    "score_actfocus": Fact("Spearman of ActFocus' weight with |A| of the turn", "", 2, lambda x: x.board["actfocus"]),
    "score_shuffled": Fact("the same with the weights shuffled", "", 2, lambda x: x.board[f"{CONTROL}:actfocus"]),
    "moved_action": Fact(
        "mean change of log-prob of its action tokens in the update", "", 4, lambda x: x.moved(TokenKind.ACTION)
    ),
    "moved_reasoning": Fact(
        "mean change of log-prob of its reasoning tokens in the update", "", 4, lambda x: x.moved(TokenKind.REASONING)
    ),
    "moved_against": Fact("of its tokens that moved against their own push", "%", 0, _against),
    "race_uniform": Fact("last evaluation of Uniform in this race", "%", 0, lambda x: x.race("uniform")),
    "race_actfocus": Fact("last evaluation of ActFocus in this race", "%", 0, lambda x: x.race("actfocus")),
}
