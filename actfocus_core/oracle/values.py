"""The truth of stored turns as signals, which the schemes and the scoreboard read.

Every value belongs to a turn and stands on its response tokens, NaN elsewhere. Values are expected
returns from that turn on, penalties included.

* ``oracle_v``, ``oracle_q``: of perfect play before the turn, and after giving its answer; exact.
* ``criticality``: how much the first action matters there: the population standard deviation of
  Q* over the legal ones; exact.
* ``policy_v``, ``policy_q``: the same of the policy itself, given the very dialogue so far;
  ``_n`` rollouts behind it (0: exact), ``_half`` the width of half its 95 % interval, ``_replica`` a
  second estimate that shares no rollout with the first.
* ``answer_logprob_before``, ``answer_logprob_after``: mean log-prob of the solution's actions, written
  without thinking, before the turn and after it. For A2TGPO, whose answer is a question's;
  here (ours) it is an optimal turn of the state, the likeliest of the first SOLUTIONS. When the
  episode is over nothing remains to be said: 0 after a success, UNSOLVED after a failure, NaN where neither is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from actfocus_core.dialogue import ANSWER, SEPARATOR, THINK, encode_parts
from actfocus_core.envs import Env, make_env
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle.policy import Estimate, ExactValues, Position, Table, outcomes, position_values
from actfocus_core.oracle.turns import TOLERANCE, answers, get_oracle, judge, optimal_values, restore_turn
from actfocus_core.policy import Policy
from actfocus_core.trajectory import TokenKind, Trajectory

SOLUTIONS = 4
"""Optimal turns tried at most."""
UNSOLVED = -50.0
"""Log-prob of a solution where there is none any more: a probability of 0 in float32."""
_AT_THE_END = {True: 0.0, False: UNSOLVED, None: math.nan}
"""Success -> log-prob of the rest of the solution after the last turn"""

Progress = Callable[[int, int], None]


def add_optimal(
    trajectories: list[Trajectory], env_options: dict[str, Any], on_progress: Progress | None = None
) -> None:
    """Add ``oracle_q``, ``oracle_v``, ``criticality`` in place.

    Raises ActFocusError where there is no oracle, or where the environment under these options
    does not do what the trajectories say it did.
    """
    known: dict[Hashable, float] = {}
    for done, t in enumerate(trajectories, 1):
        rows = []
        for k, env, given in _turns(t, env_options):
            key = env.world_key(), _state(env)
            if key not in known:
                known[key] = float(np.std(list(optimal_values(env).actions.values()) or [0.0]))
            verdict = judge(env, given)
            _demand_same(t, k, verdict.actions, env)
            rows.append((verdict.value + verdict.skill, verdict.value, known[key]))
        _put(t, rows, ("oracle_q", "oracle_v", "criticality"))
        if on_progress:
            on_progress(done, len(trajectories))


def add_policy(
    trajectories: list[Trajectory],
    policy: Policy | Table,
    rollouts: int = 16,
    *,
    env_options: dict[str, Any],
    temperature: float = 1.0,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> None:
    """Add ``policy_q``, ``policy_v`` and what belongs to them in place.

    ``policy``: one whose probabilities are known gives exact values. Of a language model V is the
    mean return of fresh rollouts from the turn on, the same for turns of a group that were
    reached by the same tokens; Q follows from what the answer does: exactly where it ends the
    episode, as its reward plus V of the next turn where nothing is left to chance, else from
    fresh rollouts behind the answer. ``on_progress(done, total)`` counts rollouts. Raises as
    ``add_optimal`` and ``position_values`` do.
    """
    found = (
        _estimates(trajectories, policy, rollouts, env_options, temperature, seed, on_progress)
        if isinstance(policy, Policy)
        else _exact(trajectories, policy, env_options)
    )
    for t, turns in zip(trajectories, found):
        for part, estimates in zip("qv", zip(*turns) if turns else ((), ())):
            rows = [(e.value, e.replica, e.n, e.half) for e in estimates]
            _put(t, rows, [f"policy_{part}{end}" for end in ("", "_replica", "_n", "_half")])


def add_answers(
    trajectories: list[Trajectory], policy: Policy, *, env_options: dict[str, Any], on_progress: Progress | None = None
) -> None:
    """Add ``answer_logprob_before``, ``answer_logprob_after`` in place.

    Raises ActFocusError where a dialogue and its solution are longer than the policy can read.
    """
    from actfocus_core.signals import score

    rows: dict[Hashable, list[Trajectory]] = {}
    keys: list[list[Hashable]] = []
    for t in trajectories:
        keys.append([])
        for k, env, _ in _turns(t, env_options):
            key = _dialogue(t, k, env)
            keys[-1].append(key)
            if key not in rows:
                rows[key] = [_with_solution(t, k, actions, policy) for actions in solutions(env)]
    score([row for several in rows.values() for row in several], policy, on_progress=on_progress)
    best = {
        key: max((float(row.signals["ref_logprob"][row.response_mask].mean()) for row in several), default=UNSOLVED)
        for key, several in rows.items()
    }
    for t, own in zip(trajectories, keys):
        before = [best[key] for key in own]
        after = [*before[1:], _AT_THE_END[t.success]]
        _put(t, list(zip(before, after)), ("answer_logprob_before", "answer_logprob_after"))


def solutions(env: Env) -> list[tuple[str, ...]]:
    """The first SOLUTIONS optimal turns of the present state, in the order of its legal actions; none
    longer than it need be."""
    oracle, legal = get_oracle(env), env.legal_actions()
    value = oracle.value(env)
    found: list[tuple[str, ...]] = []
    prefixes: list[tuple[str, ...]] = [()]
    for _ in range(min(env.options.actions_per_turn, env.actions_left)):
        longer = [
            (*prefix, action)
            for prefix in prefixes
            for action in legal
            if oracle.prefix_value(env, (*prefix, action)) >= value - TOLERANCE
        ]
        ends = [turn for turn in longer if oracle.turn_value(env, turn) >= value - TOLERANCE]
        found += ends
        prefixes = [prefix for prefix in longer if prefix not in set(ends)]
        if len(found) >= SOLUTIONS:
            break
    return found[:SOLUTIONS]


def _turns(t: Trajectory, env_options: dict[str, Any]) -> Iterator[tuple[int, Env, list[str]]]:
    """Every turn of a trajectory: its number, the environment before it, its answer's actions."""
    env = make_env(t.env, **env_options)
    for k, given in enumerate(answers(t)):
        yield k, restore_turn(env, t, k), given


def _demand_same(t: Trajectory, k: int, actions: list[str], env: Env) -> None:
    """The environment after turn k, played again, is where the stored trajectory went."""
    record, following = t.turn_records[k], t.turn_records[k + 1 : k + 2]
    if actions[: len(record.actions)] != list(record.actions) or (
        following and following[0].state_key != env.state_key()
    ):
        raise ActFocusError(
            f"{t.id}: turn {k} played again leads elsewhere than the trajectory went; were the "
            "environment's options others?"
        )


def _state(env: Env) -> Hashable:
    return env.state_key(), env.turn, env.actions_left


def _dialogue(t: Trajectory, k: int, env: Env) -> Hashable:
    """What V of the policy depends on: the prompt, the very tokens so far, the state."""
    return t.group, t.token_ids[: _first(t, k)].tobytes(), _state(env)


def _first(t: Trajectory, k: int) -> int:
    """Where the reply of turn k begins."""
    written = np.flatnonzero((t.turns == k) & t.response_mask)
    if not len(written):
        raise ActFocusError(f"{t.id}: turn {k} has no sampled tokens; only rollouts played here can be judged")
    return int(written[0])


def _put(t: Trajectory, rows: Sequence[tuple[float, ...]], names: Sequence[str]) -> None:
    """One row of values a turn, onto its response tokens."""
    for name, column in zip(names, zip(*rows) if rows else [()] * len(names)):
        t.signals[name] = np.full(len(t), np.nan, np.float32)
        for k, value in enumerate(column):
            t.signals[name][(t.turns == k) & t.response_mask] = value


def _exact(
    trajectories: list[Trajectory], table: Table, env_options: dict[str, Any]
) -> list[list[tuple[Estimate, Estimate]]]:
    """(Q, V) of every turn of every trajectory, each world walked through once."""
    worlds: dict[Hashable, ExactValues] = {}
    found: list[list[tuple[Estimate, Estimate]]] = []
    for t in trajectories:
        found.append([])
        for _, env, given in _turns(t, env_options):
            exact = worlds.setdefault(env.world_key(), ExactValues(table))
            found[-1].append((_known(exact.turn(env, tuple(given))), _known(exact.value(env))))
    return found


def _known(value: float) -> Estimate:
    return Estimate(value, 0, value, value, value)


def _estimates(
    trajectories: list[Trajectory],
    policy: Policy,
    rollouts: int,
    env_options: dict[str, Any],
    temperature: float,
    seed: int,
    on_progress: Progress | None,
) -> list[list[tuple[Estimate, Estimate]]]:
    """(Q, V) of every turn of every trajectory."""
    positions: dict[Hashable, Position] = {}
    plans = []
    for t in trajectories:
        plan: list[tuple[Hashable, float, Hashable | None]] = []
        for k, env, given in _turns(t, env_options):
            here = _dialogue(t, k, env)
            positions.setdefault(here, (t, k, False))
            ends = outcomes(env, tuple(given))
            if all(after.terminated or after.truncated for _, after, _ in ends) or (
                len(ends) == 1 and k + 1 == len(t.turn_records)
            ):
                # The episode is over, if only because the model's context was.
                plan.append((here, sum(p * gain for p, _, gain in ends), None))
            elif len(ends) == 1:
                plan.append((here, ends[0][2], "next"))
            else:
                answered = (here, t.token_ids[: _end(t, k)].tobytes())
                positions.setdefault(answered, (t, k, True))
                plan.append((here, 0.0, answered))
        plans.append(plan)
    known = dict(
        zip(
            positions,
            position_values(
                list(positions.values()),
                policy,
                rollouts,
                env_options=env_options,
                temperature=temperature,
                seed=seed,
                on_progress=on_progress,
            ),
        )
    )
    found = []
    for plan in plans:
        values = [known[here] for here, _, _ in plan]
        found.append(
            [
                (_known(gain) if then is None else _plus(gain, values[k + 1] if then == "next" else known[then]), v)
                for k, ((_, gain, then), v) in enumerate(zip(plan, values))
            ]
        )
    return found


def _end(t: Trajectory, k: int) -> int:
    return int(np.flatnonzero((t.turns == k) & t.response_mask)[-1]) + 1


def _plus(gain: float, e: Estimate) -> Estimate:
    return Estimate(e.value + gain, e.n, e.low + gain, e.high + gain, e.replica + gain)


def _with_solution(t: Trajectory, k: int, actions: tuple[str, ...], policy: Policy) -> Trajectory:
    """The dialogue up to turn k and a reply that gives these actions; only they are response tokens."""
    chat, first = policy.chat, _first(t, k)
    opener = ("" if chat.opens_thinking else THINK[0]) + THINK[1] + ANSWER[0]
    [reply] = encode_parts(
        chat.tokenizer,
        [
            [
                (opener, TokenKind.TEMPLATE),
                (f" {SEPARATOR} ".join(actions), TokenKind.ACTION),
                (ANSWER[1], TokenKind.TEMPLATE),
            ]
        ],
    )
    size = first + len(reply.ids)
    return replace(
        t,
        token_ids=np.array([*t.token_ids[:first], *reply.ids], np.int32),
        kinds=np.array([TokenKind.TEMPLATE] * first + reply.kinds, np.uint8),
        turns=np.zeros(size, np.int16),
        logprobs=np.full(size, np.nan),
        texts=[""] * size,
        signals={},
        alternatives=None,
    )
