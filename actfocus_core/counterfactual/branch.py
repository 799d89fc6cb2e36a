"""Counterfactual branches of a stored trajectory: it is continued from one of its turns or tokens, and the outcomes form a tree.

The environment is restored from the stored state, and the token stream continues from its exact ids. Forced text is
tokenised separately and inserted; the policy samples what follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from actfocus_core.counterfactual.store import WhatIf
from actfocus_core.dialogue import (
    SEPARATOR,
    THINK,
    encode_parts,
    find_spans,
    split_actions,
    template_ids,
)
from actfocus_core.envs import Env, make_env
from actfocus_core.envs.base import stable_seed
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle import judge, optimal_values
from actfocus_core.oracle.turns import ORACLES, answers
from actfocus_core.policy import Policy
from actfocus_core.policy.loading import trained_options
from actfocus_core.policy.sampler import CachedSampler, Reply
from actfocus_core.rollout import Episode, play_to_end
from actfocus_core.runs import Run
from actfocus_core.signals import score
from actfocus_core.stats import mean_interval, wilson_interval
from actfocus_core.trajectory import TokenKind, Trajectory


def branch(
    run: Run,
    id: str,
    policy: Policy,
    turn: int | None = None,
    *,
    token: int | None = None,
    rollouts: int = 8,
    action: str | None = None,
    text: str | None = None,
    end: bool | None = None,
    common_random_numbers: bool = False,
    temperature: float = 1.0,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> WhatIf:
    """Continue a trajectory from a turn, ``rollouts`` times.

    ``token``: the index in the stream of a response token; the response up to it is kept, and everything from it on is
    sampled again. ``action``: replaces the answer of the turn and keeps its reasoning. ``text``: replaces the reply, or
    continues it at ``token``; ``end``: whether the turn ends after it (by default where no token is given) or the policy
    continues. ``common_random_numbers``: the environment draws the random numbers of the stored trajectory; otherwise
    each rollout draws its own. ``policy``: the one that sampled the step is ``history.policy_before``; another must share
    its tokenizer.

    The result: ``to_go`` (return from this turn on), ``return`` and ``success`` with 95 % intervals (Student's t;
    Wilson); ``earlier``, the return before this turn; ``original``, the turn as it was stored; ``optimal``: the value of
    the state and of every legal action under optimal play, None where the environment has no oracle; ``tree``: a node
    for every distinct outcome of the turn (actions, validity, next state), the most frequent first: ``actions, valid,
    count, share, to_go, return, success, ids, ended, optimal`` (exact V* before, Q* of the actions, V* after), and the
    nodes of the next turn in ``children``. ``to_go`` of a node counts from its own turn. The trajectories are the
    outcomes; forced tokens have the log-probs of the policy. Raises ActFocusError for a turn, token or action that is not
    there, or a policy with another tokenizer. Nothing is written.
    """
    t, env = _state(run, id, policy)
    turn, token = _place(t, turn, token)
    if rollouts < 1:
        raise ActFocusError(f"rollouts={rollouts}: must be 1 or more")
    if action is not None and (text is not None or token is not None):
        raise ActFocusError("an action replaces the whole answer of a turn; do not give text or token with it")
    env.restore(t.turn_records[turn].state)
    check_tokenizer(t, policy)
    forced = _forced_reply(t, turn, token, action, text, token is None if end is None else end, policy, env)
    episodes = []
    for r in range(rollouts):
        copy = env.clone()
        # A rollout index that no stored rollout has, so the environment draws fresh random numbers.
        copy.rollout = stable_seed("branch", seed, t.id, turn, r) >> 11
        episode = Episode.resume(copy, policy, t, turn, seed)
        if common_random_numbers:
            copy.rollout = t.rollout
        if forced is not None:
            episode.prefill(forced, policy.context)
        episodes.append(episode)
    outcomes = play_to_end(episodes, CachedSampler(policy, temperature), policy.context, on_progress=on_progress)
    outcomes = [replace(o, id=f"{t.id}~{r}", group=t.group, rollout=r) for r, o in enumerate(outcomes)]
    _fill_signals(outcomes, t, turn, forced, policy)
    earlier = sum(r.reward + r.penalty for r in t.turn_records[:turn])
    stored = t.turn_records[turn]
    request = {
        "trajectory": t.id,
        "turn": turn,
        "token": token,
        "action": action,
        "text": text,
        "end": end,
        "rollouts": rollouts,
        "same_dice": common_random_numbers,
        "temperature": temperature,
        "seed": seed,
        "policy": policy.fingerprint,
    }
    result = {
        "policy": policy.name,
        "forced": "" if forced is None else "".join(policy.chat.texts(forced.ids)),
        "earlier": earlier,
        **_figures(outcomes, turn),
        "original": {
            "actions": stored.actions,
            "valid": stored.valid,
            "to_go": t.ret - earlier,
            "return": t.ret,
            "success": t.success,
            "optimal": _value(env, t, turn),
        },
        "optimal": _optimal(env, stored.state),
        "tree": _tree(outcomes, turn, env),
    }
    return WhatIf("branch", request, result, outcomes)


def env_of(run: Run, t: Trajectory, policy: Policy) -> Env:
    """The environment of a trajectory, with the options of its run. Raises ActFocusError for an unknown environment."""
    metadata = run.metadata
    stored = metadata.env_options
    if stored is not None and not metadata.config.adds_to_model_options:
        return make_env(t.env, **stored)
    # The policy's options are the best guess if the run of another program has none, or if the initial model of the
    # training no longer exists.
    defaults = policy.env_options
    if stored is not None and metadata.model_name:
        defaults = trained_options(metadata.model_name) or defaults
    return make_env(t.env, **defaults.get(t.env, {}) | (stored or {}))


def check_tokenizer(t: Trajectory, policy: Policy) -> None:
    """Raise ActFocusError where the policy's tokenizer decodes the responses of a trajectory to other text than is stored."""
    where = np.flatnonzero(t.response_mask)
    known = t.token_ids.max() < policy.model.get_input_embeddings().weight.shape[0]
    if not known or "".join(policy.chat.texts(t.token_ids[where].tolist())) != "".join(t.texts[i] for i in where):
        raise ActFocusError(
            f"{t.id}: was not written with the tokenizer of {policy.name}, which decodes its ids differently"
        )


def encoded(text: str, policy: Policy) -> tuple[list[int], list[str]]:
    """The ids and texts of a part of a reply. Raises ActFocusError where it contains a token of the chat template."""
    segment = encode_parts(policy.tokenizer, [[(text, TokenKind.FORMAT)]])[0]
    foreign = [piece for id, piece in zip(segment.ids, segment.texts) if id in template_ids(policy.tokenizer)]
    if foreign:
        raise ActFocusError(f"text: {foreign[0]!r} is a token of the chat template; remove it")
    return segment.ids, segment.texts


# --- where to branch -------------------------------------------------------------------------


def _state(run: Run, id: str, policy: Policy) -> tuple[Trajectory, Env]:
    t = run.trajectory(id)
    env = env_of(run, t, policy)
    try:
        for record in t.turn_records:
            env.restore(record.state)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise ActFocusError(
            f"{run.path}: trajectory {id}: its turns were stored without a state that can be restored"
        ) from None
    return t, env


def _place(t: Trajectory, turn: int | None, token: int | None) -> tuple[int, int | None]:
    """The turn, and the token or None if it is the first of the turn."""
    if token is not None:
        if not 0 <= token < len(t) or not t.response_mask[token]:
            raise ActFocusError(
                f"{t.id}: token {token} is not a response token; the trajectory has {len(t)} tokens, "
                f"the first response token is {int(np.flatnonzero(t.response_mask)[0])}"
            )
        if turn not in (None, int(t.turns[token])):
            raise ActFocusError(f"{t.id}: token {token} belongs to turn {t.turns[token]}, not to turn {turn}")
        turn = int(t.turns[token])
    if turn is None or not 0 <= turn < len(t.turn_records):
        raise ActFocusError(f"{t.id}: has no turn {turn}; it has 0 to {len(t.turn_records) - 1}")
    where = _written(t, turn)
    if not len(where):
        raise ActFocusError(f"{t.id}: the policy wrote nothing in turn {turn}")
    return turn, None if token == where[0] else token


def _written(t: Trajectory, turn: int) -> np.ndarray:
    """int64: the positions of the response tokens of a turn."""
    return np.flatnonzero((t.turns == turn) & t.response_mask)


# --- the forced reply ------------------------------------------------------------------------


def _forced_reply(
    t: Trajectory,
    turn: int,
    token: int | None,
    action: str | None,
    text: str | None,
    end: bool,
    policy: Policy,
    env: Env,
) -> Reply | None:
    """The forced beginning of the turn's reply, or all of it; None: the policy samples everything."""
    if token is None and action is None and text is None:
        return None
    where = _written(t, turn)
    before = where[where < token].tolist() if token is not None else []
    ids = t.token_ids[before].tolist()
    if action is not None:
        ids, closed = _with_action(t, where, action, policy, env), True
    else:
        ids += encoded(text, policy)[0] if text else []
        closed = end and text is not None
        ids += [policy.chat.end_id] if closed else []
    if text == "" and not closed:
        raise ActFocusError("text: is empty; give some, or omit it to let the policy write")
    limit = min(env.options.response_tokens, policy.context - int(where[0]))
    if len(ids) > limit:
        raise ActFocusError(f"text: the reply would have {len(ids)} tokens; there is room for {limit}")
    unknown = np.full(len(ids), np.nan, np.float32)
    logprobs = unknown.copy()
    logprobs[: len(before)] = t.logprobs[before]
    return Reply(ids, logprobs, unknown, closed)


def _with_action(t: Trajectory, where: np.ndarray, action: str, policy: Policy, env: Env) -> list[int]:
    """The ids of the stored reply with another answer; the other ids are kept where the answer consists of whole tokens."""
    names = split_actions(action)
    unknown = [name for name in names if env.parse(name) is None]
    if unknown or not names:
        legal = env.legal_actions()
        raise ActFocusError(
            f"action {(unknown or [action])[0]!r}: is not an action of {env.name}; legal now: "
            f"{', '.join(legal[:12])}{' ...' if len(legal) > 12 else ''}; separate several by {SEPARATOR}"
        )
    ids, texts = t.token_ids[where].tolist(), [t.texts[i] for i in where]
    inside = np.flatnonzero(t.kinds[where] == TokenKind.ACTION)
    if len(inside):
        new = [*ids[: inside[0]], *encoded(action, policy)[0], *ids[inside[-1] + 1 :]]
        if _answer(policy, new) == action:
            return new
    # There is no answer, or it shares a token with its tags: the reply is rebuilt around the reasoning.
    text, opened = "".join(texts), policy.chat.opens_thinking
    thought = find_spans(text, opened).reasoning
    head = text[: thought[1]] if thought else "" if opened else THINK[0]
    return [*encoded(f"{head}</think><answer>{action}</answer>", policy)[0], policy.chat.end_id]


def _answer(policy: Policy, ids: list[int]) -> str | None:
    text = "".join(policy.chat.texts(ids))
    span = find_spans(text, policy.chat.opens_thinking).answer
    return text[slice(*span)] if span else None


def _fill_signals(outcomes: list[Trajectory], t: Trajectory, turn: int, forced: Reply | None, policy: Policy) -> None:
    """Fill in the stored entropies before the turn, and the policy's log-probs and entropies of forced tokens; in place."""
    first = int(_written(t, turn)[0])
    known = t.signals.get("entropy", np.full(len(t), np.nan, np.float32))[:first]
    span = slice(first, first + len(forced.ids) if forced else first)
    scored = score([replace(outcomes[0], signals={})], policy)[0] if forced else None
    for o in outcomes:
        o.signals["entropy"][:first] = known
        if scored is not None:
            missing = np.isnan(o.logprobs[span])
            o.logprobs[span][missing] = scored.signals["ref_logprob"][span][missing]
            o.signals["entropy"][span] = scored.signals["ref_entropy"][span]


# --- the tree --------------------------------------------------------------------------------


def _tree(outcomes: list[Trajectory], turn: int, env: Env) -> list[dict[str, Any]]:
    """A node for every distinct outcome of a turn, the most frequent first; see ``branch``."""
    groups: dict[tuple[Any, ...], list[Trajectory]] = {}
    for t in outcomes:
        record, ended = t.turn_records[turn], turn + 1 == len(t.turn_records)
        led_to = (t.success, t.terminated) if ended else t.turn_records[turn + 1].state_key
        groups.setdefault((tuple(record.actions), record.valid, record.reward, ended, led_to), []).append(t)
    nodes = []
    for (actions, valid, _, ended, _), members in sorted(groups.items(), key=lambda item: -len(item[1])):
        nodes.append(
            {
                "actions": list(actions),
                "valid": valid,
                "count": len(members),
                "share": len(members) / len(outcomes),
                **_figures(members, turn),
                "ids": [t.id for t in members],
                "ended": ended,
                "optimal": _value(env, members[0], turn),
                "children": [] if ended else _tree(members, turn + 1, env),
            }
        )
    return nodes


def _figures(outcomes: list[Trajectory], turn: int) -> dict[str, Any]:
    """Means and intervals of the return from a turn on, of the whole return, and of the success rate."""
    whole = np.array([t.ret for t in outcomes])
    to_go = np.array([sum(r.reward + r.penalty for r in t.turn_records[turn:]) for t in outcomes])
    wins = sum(t.success is True for t in outcomes)
    rate, low, high = wilson_interval(wins / len(outcomes), len(outcomes))
    return {
        "to_go": _mean(to_go),
        "return": _mean(whole),
        "success": {"rate": rate, "low": low, "high": high},
    }


def _mean(values: np.ndarray) -> dict[str, float | None]:
    """Mean and interval; if all n values are equal the interval has zero width, which is not evidence of zero variance."""
    (mean, low, high), n = mean_interval(values), len(values)
    return {"mean": mean, "low": low if n > 1 else None, "high": high if n > 1 else None, "n": n}


def _optimal(env: Env, state: dict[str, Any]) -> dict[str, Any] | None:
    if env.name not in ORACLES:
        return None
    env.restore(state)
    values = optimal_values(env)
    return {"value": values.value, "actions": values.actions, "facts": values.facts}


def _value(env: Env, t: Trajectory, turn: int) -> dict[str, float] | None:
    """The value under optimal play before a turn, of its actions, and after it."""
    if env.name not in ORACLES:
        return None
    env.restore(t.turn_records[turn].state)
    judged = judge(env, answers(t)[turn])
    return {
        "before": judged.value,
        "turn": judged.value + judged.skill,
        "after": judged.after,
        "luck": judged.luck,
    }
