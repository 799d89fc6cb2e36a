"""A flat batch of tokens, the input of every credit scheme."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from actfocus_core.advantages import grpo_advantages, last_of_rollout
from actfocus_core.errors import ActFocusError
from actfocus_core.outcomes import numbers
from actfocus_core.signals import OUR_SIGNALS, SIGNALS, signal_values
from actfocus_core.trajectory import Trajectory, response_mask

VALUE_SIGNALS = (
    "value",
    "policy_q",
    "policy_v",
    "oracle_q",
    "oracle_v",
    "policy_q_replica",
    "policy_v_replica",
    "criticality",
    "answer_logprob_before",
    "answer_logprob_after",
)
"""Value estimates in ``Trajectory.signals``, under the same names.

``value``: a critic's value before each token. The others are per turn and stored on all its response tokens: Q of the turn
taken and V of the state before it, under the policy and under optimal play, in environment rewards from that turn on; an
independent second estimate of the policy's (``_replica``); the standard deviation of the optimal Q over the legal actions in
the state (``criticality``); the mean log-prob of the solution's text given the dialogue before the turn, and including it.
"""

HOW_TO_GET = {
    "energy": "`actfocus score` adds it",
    "entropy": "`actfocus score` adds it",
    "centred_energy": "`actfocus score` adds it",
    "shift": "`actfocus score` adds it",
    "nll": "rollouts record it: log-probs of the sampled tokens",
    "policy_entropy": "rollouts record it: entropy of the policy at each sampled token",
    "value": "training with PPO records it",
    "state_key": "turn records contain it",
    "turn_reward": "turn records contain it, if the rewards of the turns sum to the return",
    "success": "rollouts record it, or `actfocus import --success-at` derives it from the reward",
    "policy_q": "`actfocus oracle` adds it",
    "policy_v": "`actfocus oracle` adds it",
    "oracle_q": "`actfocus oracle` adds it",
    "oracle_v": "`actfocus oracle` adds it",
    "answer_logprob_before": "`actfocus oracle --answers` adds it",
    "answer_logprob_after": "`actfocus oracle --answers` adds it",
}
"""Inputs of schemes -> how to obtain them."""


@dataclass(frozen=True)
class Batch:
    """All tokens of a training batch, one trajectory after another: N tokens, n trajectories.

    Response tokens are the tokens in the loss (``Trajectory.loss_mask``); a sampled token outside the loss has kind TEMPLATE
    here, so no scheme counts it. Trajectories of agents that are not trained have no response tokens, are in a separate group,
    and are never ``counted``.

    The K turns are those with response tokens, in token order. Rewards of a turn without response tokens are added to the
    preceding turn, so the rewards of a trajectory still sum to its return.
    """

    kinds: npt.NDArray[np.uint8]
    """uint8 [N], ``TokenKind``; TEMPLATE for a sampled token outside the loss"""
    turns: npt.NDArray[np.int16]
    """int16 [N]"""
    index: npt.NDArray[np.int64]
    """int64 [N], the trajectory of each token"""
    signals: dict[str, npt.NDArray[np.float32]]
    """name -> float32 [N]: the signals of SIGNALS, OUR_SIGNALS and VALUE_SIGNALS that are known at all response tokens"""
    returns: npt.NDArray[np.float64]
    """float64 [n], NaN where unknown"""
    groups: list[str]
    """n prompt names; a prompt that was used in several steps is a separate group in each step"""
    ids: list[str]
    """n trajectory ids"""
    success: npt.NDArray[np.float64]
    """float64 [n], 1 or 0, NaN where unknown"""
    turn_of: npt.NDArray[np.int64]
    """int64 [N], the turn (of K) of each response token, -1 for other tokens"""
    turn_owner: npt.NDArray[np.int64]
    """int64 [K], the trajectory of each turn"""
    turn_rewards: npt.NDArray[np.float64] | None
    """float64 [K], reward plus penalty; None if the turns do not sum to the returns"""
    turn_states: npt.NDArray[np.int64] | None
    """int64 [K], equal for equal states of one prompt; None if states are not recorded"""
    rollouts: list[str] | None = None
    """n names, equal within a group for the segments of one rollout; None: every trajectory is a rollout"""
    trainable: npt.NDArray[np.bool_] | None = None
    """bool [n], False for agents that are not trained; None: all are trained"""

    @classmethod
    def of(cls, trajectories: list[Trajectory]) -> Batch:
        """The batch of some trajectories. Raises ActFocusError if there are none."""
        if not trajectories:
            raise ActFocusError("no trajectories: a batch needs at least one")
        kinds = np.concatenate([t.kinds_in_loss for t in trajectories])
        turns = np.concatenate([t.turns for t in trajectories])
        index = np.repeat(np.arange(len(trajectories)), [len(t) for t in trajectories])
        returns = np.array([t.ret for t in trajectories])
        response = response_mask(kinds)
        turn_of, owner, number = _turn_rows(response, turns, index)
        return cls(
            kinds,
            turns,
            index,
            _recorded(trajectories, response),
            returns,
            _groups(trajectories),
            [t.id for t in trajectories],
            numbers(t.success for t in trajectories),
            turn_of,
            owner,
            _turn_rewards(trajectories, returns, owner, number),
            _turn_states(trajectories, owner, number),
            [t.rollout_key for t in trajectories],
            np.array([t.trainable for t in trajectories], bool),
        )

    @cached_property
    def response(self) -> np.ndarray:
        """bool [N], True for tokens in the loss."""
        return response_mask(self.kinds)

    @cached_property
    def group_of(self) -> npt.NDArray[np.int64]:
        """int64 [n], the index of each trajectory's group, in order of first appearance."""
        numbers = {name: i for i, name in enumerate(dict.fromkeys(self.groups))}
        return np.array([numbers[name] for name in self.groups])

    @cached_property
    def counted(self) -> np.ndarray:
        """bool [n], True for the last trajectory of each rollout, the one counted in group statistics."""
        counted: np.ndarray = self.last == np.arange(len(self.groups))
        return counted if self.trainable is None else counted & self.trainable

    @cached_property
    def last(self) -> npt.NDArray[np.int64]:
        """int64 [n], the last trajectory of each trajectory's rollout; its return is that of the rollout."""
        return last_of_rollout(self.groups, self.rollouts)

    @cached_property
    def rollout_of(self) -> npt.NDArray[np.int64]:
        """int64 [n], the index of each trajectory's rollout, in order of first appearance."""
        numbers = {row: i for i, row in enumerate(dict.fromkeys(self.last.tolist()))}
        return np.array([numbers[row] for row in self.last.tolist()], np.int64)

    @cached_property
    def response_index(self) -> np.ndarray:
        """int64 [N]: index of each token among the response tokens of its rollout; -1 elsewhere.

        The segments of a rollout are concatenated in the order of the batch.
        """
        index = np.full(len(self.kinds), -1)
        index[self.response] = self.index_in_rollout(self.index[self.response])
        return index

    def index_in_rollout(self, owner: np.ndarray) -> npt.NDArray[np.int64]:
        """int64 [m]: index of each item among the items of its rollout; ``owner`` [m], ascending: the items' trajectories."""
        sizes = np.bincount(owner, minlength=len(self.groups))
        before = np.zeros(len(sizes), np.int64)
        so_far: dict[int, int] = {}
        for row, (rollout, size) in enumerate(zip(self.rollout_of.tolist(), sizes.tolist())):
            before[row] = so_far.get(rollout, 0)
            so_far[rollout] = before[row] + size
        index: npt.NDArray[np.int64] = before[owner] + np.arange(len(owner)) - (np.cumsum(sizes) - sizes)[owner]
        return index

    @cached_property
    def turn_first(self) -> npt.NDArray[np.int64]:
        """int64 [K], index in the batch of each turn's first response token."""
        where = np.flatnonzero(self.response)
        return where[np.searchsorted(self.turn_of[where], np.arange(len(self.turn_owner)))]

    @cached_property
    def turn_last(self) -> np.ndarray:
        """bool [K], True for the last turn of its trajectory."""
        return np.append(self.turn_owner[1:] != self.turn_owner[:-1], True)[: len(self.turn_owner)]

    def has(self, name: str) -> bool:
        """Whether the batch has an input of schemes (a key of HOW_TO_GET)."""
        if name == "success":
            return bool(np.isfinite(self.success if self.trainable is None else self.success[self.trainable]).all())
        recorded = {"turn_reward": self.turn_rewards, "state_key": self.turn_states}
        return recorded[name] is not None if name in recorded else name in self.signals

    def grpo(self, std: bool = True) -> np.ndarray:
        """float32 [N]: the GRPO advantage of the rollout on its response tokens, 0 elsewhere."""
        advantages = grpo_advantages(self.returns, self.groups, std, self.rollouts)
        return np.where(self.response, advantages[self.index], np.float32(0))

    def turn_mean(self, values: np.ndarray, of: np.ndarray | None = None) -> np.ndarray:
        """float64 [K]: mean of ``values`` [N] over each turn's response tokens, restricted to the mask ``of`` if given.

        NaN for a turn without such tokens.
        """
        chosen = self.response if of is None else self.response & of
        row, turns = self.turn_of[chosen], len(self.turn_owner)
        count = np.bincount(row, minlength=turns)
        total = np.bincount(row, np.asarray(values, np.float64)[chosen], minlength=turns)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def turn_signal(self, name: str) -> npt.NDArray[np.float64]:
        """float64 [K]: a signal at each turn's first response token, which is predicted from the prompt."""
        return self.signals[name][self.turn_first].astype(np.float64)

    def broadcast(self, values: np.ndarray) -> np.ndarray:
        """Broadcast one value per turn [K] to its response tokens: float32 [N], 0 elsewhere."""
        out = np.zeros(len(self.kinds), np.float32)
        out[self.response] = values[self.turn_of[self.response]]
        return out

    def following(self, values: np.ndarray, end: float = 0.0) -> np.ndarray:
        """float64 [K]: the value of the next turn of the trajectory, or ``end`` after its last turn."""
        return np.where(self.turn_last, end, np.append(values[1:], end)[: len(values)])


def _groups(trajectories: list[Trajectory]) -> list[str]:
    """The group of each trajectory; trajectories of an agent that is not trained are in a separate group."""
    steps: dict[str, set[int]] = {}
    for t in trajectories:
        steps.setdefault(t.group, set()).add(t.step)
    return [
        t.group
        + (f", step {t.step}" if len(steps[t.group]) > 1 else "")
        + ("" if t.trainable else f", {t.agent or 'an agent'} (not trained)")
        for t in trajectories
    ]


def _turn_rows(response: np.ndarray, turns: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """turn_of [N], and owner [K] and turn number [K] of the turns."""
    owner, number = index[response], turns[response]
    new = np.ones(len(owner), bool)
    new[1:] = (owner[1:] != owner[:-1]) | (number[1:] != number[:-1])
    turn_of = np.full(len(index), -1)
    turn_of[response] = np.cumsum(new) - 1
    return turn_of, owner[new], number[new]


def _turn_rewards(
    trajectories: list[Trajectory], returns: np.ndarray, owner: np.ndarray, number: np.ndarray
) -> np.ndarray | None:
    rewards = np.zeros(len(owner))
    ends = np.searchsorted(owner, np.arange(len(trajectories) + 1))
    for t, first, last in zip(trajectories, ends, ends[1:]):
        if first == last:
            continue
        row = np.searchsorted(number[first:last], np.arange(len(t.turn_records)), side="right") - 1
        np.add.at(rewards, first + np.maximum(row, 0), [r.reward + r.penalty for r in t.turn_records])
    total = np.bincount(owner, rewards, minlength=len(trajectories))
    whole = np.isclose(total, returns, atol=1e-6) | (np.diff(ends) == 0)
    return rewards if whole.all() else None


def _turn_states(trajectories: list[Trajectory], owner: np.ndarray, number: np.ndarray) -> np.ndarray | None:
    numbers: dict[tuple[str, int, str], int] = {}
    states = np.empty(len(owner), np.int64)
    for row, (i, turn) in enumerate(zip(owner.tolist(), number.tolist())):
        t = trajectories[i]
        if not 0 <= turn < len(t.turn_records) or not t.turn_records[turn].state_key:
            return None
        states[row] = numbers.setdefault((t.group, t.step, t.turn_records[turn].state_key), len(numbers))
    return states


def _recorded(trajectories: list[Trajectory], response: np.ndarray) -> dict[str, np.ndarray]:
    columns = {name: [signal_values(t, name) for t in trajectories] for name in (*SIGNALS, *OUR_SIGNALS)}
    columns |= {
        name: [t.signals[name] for t in trajectories]
        for name in VALUE_SIGNALS
        if all(name in t.signals for t in trajectories)
    }
    signals = {name: np.concatenate(column) for name, column in columns.items()}
    return {name: values for name, values in signals.items() if np.isfinite(values[response]).all()}
