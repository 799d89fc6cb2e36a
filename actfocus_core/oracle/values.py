"""Oracle values of stored turns as token signals, for credit schemes and the scoreboard.

Every value belongs to a turn and is stored on its response tokens, NaN elsewhere. Values are expected returns from that
turn on, including penalties.

* ``oracle_v``, ``oracle_q``: values under perfect play, before the turn and after its answer; exact.
* ``criticality``: how much the first action matters in the state, the population standard deviation of Q* over the legal
  actions; exact.
* ``policy_v``, ``policy_q``: the same values under the policy, given the exact dialogue so far. ``_n``: number of rollouts
  (0: exact). ``_half``: half-width of the 95 % interval. ``_replica``: a second estimate from independent rollouts.
* ``answer_logprob_before``, ``answer_logprob_after``: mean log-prob of a solution's actions, written without reasoning,
  before and after the turn. For A2TGPO, whose tasks are questions with an answer; here (ours) the answer is an optimal
  turn of the state, the most likely of the first SOLUTIONS. After the end of the episode it is 0 for a success, UNSOLVED
  for a failure, and NaN if the outcome is unknown.
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
"""Maximum number of optimal turns considered."""
UNSOLVED = -50.0
"""Log-prob assigned if no solution exists; its probability is negligible in float32."""
_AFTER_EPISODE = {True: 0.0, False: UNSOLVED, None: math.nan}
"""Success -> log-prob of the answer after the last turn."""

Progress = Callable[[int, int], None]


def add_optimal(
    trajectories: list[Trajectory], env_options: dict[str, Any], on_progress: Progress | None = None
) -> None:
    """Add ``oracle_q``, ``oracle_v``, ``criticality`` in place.

    Raises ActFocusError if the environment has no oracle, or if it does not reproduce the stored trajectories under these
    options.
    """
    criticality: dict[Hashable, float] = {}
    for done, t in enumerate(trajectories, 1):
        rows = []
        for k, env, answer in _turns(t, env_options):
            key = env.world_key(), _state(env)
            if key not in criticality:
                criticality[key] = float(np.std(list(optimal_values(env).actions.values()) or [0.0]))
            label = judge(env, answer)
            _check_reproduced(t, k, label.actions, env)
            rows.append((label.value + label.skill, label.value, criticality[key]))
        _store(t, rows, ("oracle_q", "oracle_v", "criticality"))
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
    """Add ``policy_q``, ``policy_v`` and their ``_replica``, ``_n``, ``_half`` in place.

    ``policy``: a policy with known probabilities gives exact values. For a language model, V is the mean return of fresh
    rollouts from the turn on, shared by turns of a group with identical tokens. Q depends on the answer: it is exact if
    the answer ends the episode, its reward plus V of the next turn if its outcome is deterministic, and otherwise the mean
    return of fresh rollouts after the answer. ``on_progress(done, total)`` counts rollouts. Raises like ``add_optimal``
    and ``position_values``.
    """
    values = (
        _estimates(trajectories, policy, rollouts, env_options, temperature, seed, on_progress)
        if isinstance(policy, Policy)
        else _exact(trajectories, policy, env_options)
    )
    for t, turns in zip(trajectories, values):
        for letter, estimates in zip("qv", zip(*turns) if turns else ((), ())):
            rows = [(e.value, e.replica, e.n, e.half_width) for e in estimates]
            _store(t, rows, [f"policy_{letter}{suffix}" for suffix in ("", "_replica", "_n", "_half")])


def add_answers(
    trajectories: list[Trajectory], policy: Policy, *, env_options: dict[str, Any], on_progress: Progress | None = None
) -> None:
    """Add ``answer_logprob_before``, ``answer_logprob_after`` in place.

    Raises ActFocusError if a dialogue with its solution exceeds the policy's context.
    """
    from actfocus_core.signals import score

    rows: dict[Hashable, list[Trajectory]] = {}
    keys: list[list[Hashable]] = []
    for t in trajectories:
        keys.append([])
        for k, env, _ in _turns(t, env_options):
            key = _dialogue_key(t, k, env)
            keys[-1].append(key)
            if key not in rows:
                rows[key] = [_with_solution(t, k, actions, policy) for actions in solutions(env)]
    score([row for solution_rows in rows.values() for row in solution_rows], policy, on_progress=on_progress)
    best = {
        key: max(
            (float(row.signals["ref_logprob"][row.response_mask].mean()) for row in solution_rows), default=UNSOLVED
        )
        for key, solution_rows in rows.items()
    }
    for t, turn_keys in zip(trajectories, keys):
        before = [best[key] for key in turn_keys]
        after = [*before[1:], _AFTER_EPISODE[t.success]]
        _store(t, list(zip(before, after)), ("answer_logprob_before", "answer_logprob_after"))


def solutions(env: Env) -> list[tuple[str, ...]]:
    """The first SOLUTIONS optimal turns of the present state, in the order of its legal actions; no optimal turn is
    extended by further actions."""
    oracle, legal = get_oracle(env), env.legal_actions()
    value = oracle.value(env)
    optimal_turns: list[tuple[str, ...]] = []
    prefixes: list[tuple[str, ...]] = [()]
    for _ in range(min(env.options.actions_per_turn, env.actions_left)):
        longer = [
            (*prefix, action)
            for prefix in prefixes
            for action in legal
            if oracle.prefix_value(env, (*prefix, action)) >= value - TOLERANCE
        ]
        complete = [turn for turn in longer if oracle.turn_value(env, turn) >= value - TOLERANCE]
        optimal_turns += complete
        prefixes = [prefix for prefix in longer if prefix not in set(complete)]
        if len(optimal_turns) >= SOLUTIONS:
            break
    return optimal_turns[:SOLUTIONS]


def _turns(t: Trajectory, env_options: dict[str, Any]) -> Iterator[tuple[int, Env, list[str]]]:
    """(turn, environment before the turn, actions of its answer) for every turn of a trajectory."""
    env = make_env(t.env, **env_options)
    for k, answer in enumerate(answers(t)):
        yield k, restore_turn(env, t, k), answer


def _check_reproduced(t: Trajectory, k: int, actions: list[str], env: Env) -> None:
    """Raise ActFocusError unless the replayed turn k has the stored actions and leads to the stored next state."""
    record, next_records = t.turn_records[k], t.turn_records[k + 1 : k + 2]
    if actions[: len(record.actions)] != list(record.actions) or (
        next_records and next_records[0].state_key != env.state_key()
    ):
        raise ActFocusError(
            f"{t.id}: turn {k} played again leads to another state than the stored one; check the "
            "options of the environment"
        )


def _state(env: Env) -> Hashable:
    return env.state_key(), env.turn, env.actions_left


def _dialogue_key(t: Trajectory, k: int, env: Env) -> Hashable:
    """The arguments of the policy's V: the prompt, the exact tokens so far, the state."""
    return t.group, t.token_ids[: _reply_start(t, k)].tobytes(), _state(env)


def _reply_start(t: Trajectory, k: int) -> int:
    """The index of the first token of turn k's reply."""
    sampled = np.flatnonzero((t.turns == k) & t.response_mask)
    if not len(sampled):
        raise ActFocusError(f"{t.id}: turn {k} has no sampled tokens; only rollouts of this product can be judged")
    return int(sampled[0])


def _store(t: Trajectory, rows: Sequence[tuple[float, ...]], names: Sequence[str]) -> None:
    """Store one row of values for each turn, on its response tokens."""
    for name, column in zip(names, zip(*rows) if rows else [()] * len(names)):
        t.signals[name] = np.full(len(t), np.nan, np.float32)
        for k, value in enumerate(column):
            t.signals[name][(t.turns == k) & t.response_mask] = value


def _exact(
    trajectories: list[Trajectory], table: Table, env_options: dict[str, Any]
) -> list[list[tuple[Estimate, Estimate]]]:
    """(Q, V) of every turn of every trajectory; the values of a world are shared."""
    worlds: dict[Hashable, ExactValues] = {}
    values: list[list[tuple[Estimate, Estimate]]] = []
    for t in trajectories:
        values.append([])
        for _, env, answer in _turns(t, env_options):
            exact = worlds.setdefault(env.world_key(), ExactValues(table))
            values[-1].append((_exact_estimate(exact.turn(env, tuple(answer))), _exact_estimate(exact.value(env))))
    return values


def _exact_estimate(value: float) -> Estimate:
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
        plan: list[tuple[Hashable, float, Hashable | None]] = []  # (key of V, reward, source of the value after it)
        for k, env, answer in _turns(t, env_options):
            before = _dialogue_key(t, k, env)
            positions.setdefault(before, (t, k, False))
            turn_outcomes = outcomes(env, tuple(answer))
            if all(after.terminated or after.truncated for _, after, _ in turn_outcomes) or (
                len(turn_outcomes) == 1 and k + 1 == len(t.turn_records)
            ):
                # The episode ends here, possibly because the model's context is exhausted.
                plan.append((before, sum(p * reward for p, _, reward in turn_outcomes), None))
            elif len(turn_outcomes) == 1:
                plan.append((before, turn_outcomes[0][2], "next"))
            else:
                answered = (before, t.token_ids[: _reply_end(t, k)].tobytes())
                positions.setdefault(answered, (t, k, True))
                plan.append((before, 0.0, answered))
        plans.append(plan)
    estimates = dict(
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
    values = []
    for plan in plans:
        v = [estimates[before] for before, _, _ in plan]
        q = [
            _exact_estimate(reward)
            if after is None
            else _plus(reward, v[k + 1] if after == "next" else estimates[after])
            for k, (_, reward, after) in enumerate(plan)
        ]
        values.append(list(zip(q, v)))
    return values


def _reply_end(t: Trajectory, k: int) -> int:
    """The index after the last token of turn k's reply."""
    return int(np.flatnonzero((t.turns == k) & t.response_mask)[-1]) + 1


def _plus(reward: float, e: Estimate) -> Estimate:
    return Estimate(e.value + reward, e.n, e.low + reward, e.high + reward, e.replica + reward)


def _with_solution(t: Trajectory, k: int, actions: tuple[str, ...], policy: Policy) -> Trajectory:
    """The dialogue up to turn k followed by a reply with these actions; only the actions are response tokens."""
    chat, first = policy.chat, _reply_start(t, k)
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
