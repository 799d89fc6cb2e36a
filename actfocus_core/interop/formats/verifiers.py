"""verifiers: ``traces.jsonl`` of version 1 (one Episode per line), ``results.jsonl`` of version 0.

Version 1: the nodes of a trace form a forest; the ids along a path from root to leaf are the model's input. ``mask`` and
``is_content`` cover all ids of a node, ``logprobs`` and the other scores only those whose mask is true. Without ids, the
messages are tokenised again.

The paths of a trace are one rollout. A node on several paths is trained in the first and context in the others, as in
prime-rl. A trace of an agent that is not trained is not a rollout. prime-rl writes the same episodes and annotates them
(``trace_stream``); ``info`` then has the advantage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import takewhile
from typing import Any

import numpy as np

from actfocus_core.interop.contexts import chained, joined
from actfocus_core.interop.fields import components, described, error_text, number, scalars, total
from actfocus_core.interop.formats.trace_graph import (
    exact_paths,
    leaves_of,
    new_nodes,
    parents_of,
    path_to,
    rejected_attempts,
)
from actfocus_core.interop.messages import Message, messages_of
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import (
    BY_COMPLETION,
    BY_ROLE,
    RECORDED,
    SAMPLED,
    Content,
    LeftOut,
    Sample,
    Tokens,
    digest,
    masked_by,
    on_sampled,
    prompt_and_completion,
    stated_texts,
)
from actfocus_core.trajectory import TokenKind

_V0_FIELDS = {
    "example_id",
    "prompt",
    "completion",
    "task",
    "reward",
    "is_completed",
    "is_truncated",
    "error",
    "stop_condition",
}
_SCORES = {
    "advantages": "advantage",
    "reference_logprobs": "ref_logprob",
    "trainer_logprobs": "trainer_logprob",
    "entropies": "entropy",
    "mismatch_kl": "mismatch_kl",
    "is_masked": "masked",
}
_KIND = {"system": TokenKind.SYSTEM, "user": TokenKind.USER, "tool": TokenKind.USER, "assistant": TokenKind.TEMPLATE}
_LIMITS = {
    "max_turns",
    "max_input_tokens",
    "max_output_tokens",
    "max_total_tokens",
    "max_tokens",
    "max_turns_reached",
    "prompt_too_long",
    "compaction_failed",
}


def matches(fields: dict[str, Any]) -> bool:
    return (
        "traces" in fields
        or {"nodes", "rewards"} <= set(fields)
        or {"example_id", "prompt", "completion"} <= set(fields)
    )


UNTRAINED = "traces of agents that are not trained"
UNSAMPLED = "branches in which nothing new was sampled"
LARGEST = 1e30
"""Bound of an advantage, which excludes infinity and NaN"""
WITHOUT_TRACES, WITHOUT_NODES = "episodes without a trace", "traces without a node"


def samples(record: Record, file: DataFile) -> Iterator[Sample | LeftOut]:
    """Yield every branch of every trace of an episode, or the rollout of a version-0 result."""
    if "traces" in record:
        traces = record.records("traces")
        for trace in traces:
            yield from _branches(trace, record)
        if not traces:
            yield LeftOut(WITHOUT_TRACES)
    elif "nodes" in record:
        yield from _branches(record, record)
    else:
        yield from _result(record)


def _branches(trace: Record, episode: Record) -> Iterator[Sample | LeftOut]:
    agent = trace.record("agent", None)
    if agent and not agent.flag("trainable", True):
        yield LeftOut(UNTRAINED)
        return
    nodes = trace.records("nodes")
    if not nodes:
        yield LeftOut(WITHOUT_NODES)
        return
    rollout, parents = _rollout(trace, episode, agent), parents_of(nodes)
    leaves = leaves_of(parents)
    new_of, exact, rejected = new_nodes(parents, leaves), exact_paths(nodes, parents), rejected_attempts(nodes, leaves)
    tokens, message = cache(lambda n: _node(nodes[n])), cache(lambda n: _message(nodes[n]))

    def is_sampled(n: int, leaf: int) -> bool:
        return bool(tokens(n).sampled.any()) if exact[leaf] else message(n).role == "assistant" and message(n).sampled

    # A branch without a new reply has nothing to train on. A trace with no reply at all is imported, so that the doctor
    # reports it.
    imported = [leaf for leaf in leaves if any(is_sampled(n, leaf) for n in new_of[leaf])] or leaves
    before: list[int] = []
    for leaf in imported:
        new, path = set(new_of[leaf]), path_to(parents, leaf)
        stated = any("sampled" in nodes[n] for n in path)
        prompt = list(takewhile(lambda n: not nodes[n].value.get("sampled"), path))
        content: list[Message] | Tokens
        if exact[leaf]:
            content = joined([tokens(n) if n in new else _as_context(tokens(n)) for n in path])
            content = replace(content, prompt=sum(len(tokens(n).ids) for n in prompt) if stated else None)
        else:
            content = [
                replace(message(n), sampled=message(n).sampled and n in new, in_prompt=stated and n in prompt)
                for n in path
            ]
        shared = [n for n, other in zip(path, before) if n == other] if exact[leaf] else []
        before = path
        has_own = isinstance(content, Tokens) and "advantage" in content.signals
        yield replace(
            rollout,
            content=content,
            rollout=trace.where if len(imported) > 1 else "",
            shared=sum(len(tokens(n).ids) for n in shared),
            mask_by=RECORDED if exact[leaf] or stated else BY_ROLE,
            stated=stated_texts([message(n) for n in path]) if exact[leaf] else (),
            advantage=None if has_own else rollout.advantage,
            trained=leaf not in rejected,
        )
    yield from [LeftOut(UNSAMPLED)] * (len(leaves) - len(imported))


def _rollout(trace: Record, episode: Record, agent: Record | None) -> Sample:
    """What the branches of a trace have in common."""
    task = (trace if "task" in trace else episode).record("task", Record({}, trace.where))
    group, env, run = (episode.record(name, None) for name in ("group", "env", "run"))
    work = run.record("work", None) if run else None
    parts = components(trace, "rewards")
    stop = trace.text("stop_condition", "")
    calls = [call for call in (trace.records("calls") if "calls" in trace else []) if "error" not in call]
    truncated = stop in _LIMITS or bool(calls and calls[-1].value.get("finish_reason") == "length")
    advantage, columns = _of_info(trace, work)
    return Sample(
        trace.where,
        [],
        group.key("id") if group else task.key("key", "") or task.key("hash", "") or digest(task.value),
        step=work.integer("step", None) if work else None,
        env=(env.text("name", "") or env.text("id", "")) if env else "",
        model=_model(agent),
        reward=total(parts),
        rewards=parts,
        stop_reason=stop,
        terminated=not truncated,
        truncated=truncated,
        error=_error(trace, episode),
        columns=columns | scalars(trace.record("metrics", Record({}, trace.where)), ()),
        advantage=advantage,
        agent=agent.text("name", "") if agent else "",
    )


def _of_info(trace: Record, work: Record | None) -> tuple[float | None, dict[str, Any]]:
    """The advantage of the trace, and as columns what prime-rl notes in its ``info`` and in the episode's ``run.work``."""
    info = Record(dict(trace.record("info", Record({}, trace.where)).value), f"{trace.where}: 'info'")
    found = info.value.pop("advantage", None)
    # ``info`` may contain anything: another value is no advantage.
    advantage = float(found) if type(found) in (int, float) and abs(found) < LARGEST else None
    kinds = [info.value.get("kind"), work.value.get("type") if work else None]
    split = next((kind for kind in kinds if kind in ("train", "eval")), None)
    columns = scalars(info, ("kind",) if split else ()) | ({"split": split} if split else {})
    for name, place in [("dispatch", info), ("arrival", info), *([("policy", work)] if work else [])]:
        if isinstance(inner := place.value.get(name), dict):
            columns |= {f"{name}_{key}": value for key, value in scalars(Record(inner, info.where), ()).items()}
    return advantage, columns


def _error(trace: Record, episode: Record) -> str:
    """What ended the trace with an error; empty if nothing did."""
    for record in (trace, episode):
        errors = record.value.get("errors")
        if isinstance(errors, list) and errors:
            return described(errors[0]) or "an error"
        if record.value.get("ok") is False:
            return "not ok"
    return ""


def _message(node: Record) -> Message:
    """The message of a node; an assistant's message that is part of the prompt or out of the loss is not sampled."""
    message = messages_of(Record({"messages": [node.get("message", dict, "a message")]}, node.where), "messages")[0]
    return replace(message, sampled=message.sampled and node.flag("sampled", True))


def _as_context(node: Tokens) -> Tokens:
    """A node that is trained in another branch: its tokens are context here and have no scores."""
    kinds = node.kinds if node.kinds is None else np.where(node.sampled, np.uint8(TokenKind.TEMPLATE), node.kinds)
    blank = np.full(len(node.ids), np.nan, np.float32)
    return Tokens(node.ids, np.zeros(len(node.ids), bool), blank, {}, kinds)


def _node(node: Record) -> Tokens:
    ids = node.ids("token_ids") if "token_ids" in node else np.zeros(0, np.int32)
    mask = node.mask("mask", len(ids)) if node.value.get("mask") else np.zeros(len(ids), bool)
    scores = {}
    for name, ours in [("logprobs", "logprob"), *_SCORES.items()]:
        # A node that was not scored has an empty list.
        if name in node and (node.value[name] or not mask.any()):
            scores[ours] = np.full(len(ids), np.nan, np.float32)
            scores[ours][mask] = node.floats(name, int(mask.sum()))
    weights = node.record("loss_weights", Record({}, node.where))
    for name in weights.value:
        scores[f"loss_weight_{name}"] = weights.floats(name, len(ids))
    logprobs = scores.pop("logprob", np.full(len(ids), np.nan, np.float32))
    return Tokens(ids, mask, logprobs, scores, _kinds(node, ids, mask))


def _kinds(node: Record, ids: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    role = node.record("message").text("role")
    kinds = np.full(len(ids), TokenKind.TEMPLATE, np.uint8)
    if role != "assistant":
        if not node.value.get("is_content"):
            return kinds if not len(ids) else None
        kinds[node.mask("is_content", len(ids))] = _KIND.get(role, TokenKind.USER)
    kinds[mask] = SAMPLED
    return kinds


def _model(agent: Record | None) -> str:
    model = (agent.value.get("config") or {}) if agent else {}
    name = model.get("model") if isinstance(model, dict) else None
    return name if isinstance(name, str) and name.isprintable() else ""


def _result(record: Record) -> Iterator[Sample]:
    """The rollout of a version-0 result; several samples if its steps are several contexts."""
    steps = record.records("trajectory") if "trajectory" in record else []
    exact = bool(steps) and all(step.value.get("tokens") for step in steps)
    text = prompt_and_completion(record, "prompt", "completion")
    contexts: list[tuple[Content, int]] = [(text, 0)]
    if exact:
        contexts = [(tokens, shared) for tokens, shared, _ in chained(map(_turn, steps))]
    truncated = record.flag("is_truncated", False)
    metrics = record.record("metrics", Record({}, record.where))
    for content, shared in contexts:
        yield Sample(
            record.where,
            content,
            record.key("example_id"),
            env=record.text("task", ""),
            reward=number(record, "reward"),
            terminated=record.flag("is_completed", True) and not truncated,
            truncated=truncated,
            rollout=record.where if len(contexts) > 1 else "",
            shared=shared,
            columns=scalars(record, _V0_FIELDS) | scalars(metrics, ()),
            error=error_text(record),
            stop_reason=record.text("stop_condition", "") or "",
            mask_by=masked_by(content, BY_COMPLETION) if isinstance(content, list) else RECORDED,
            stated=stated_texts(text) if exact and isinstance(text, list) else (),
        )


def _turn(step: Record) -> tuple[Tokens, int]:
    """The tokens of one turn, and the length of its prompt."""
    tokens = step.record("tokens")
    prompt, completion = tokens.ids("prompt_ids"), tokens.ids("completion_ids")
    completion_mask = (
        tokens.mask("completion_mask", len(completion))
        if "completion_mask" in tokens
        else np.ones(len(completion), bool)
    )
    logprobs = np.full(len(prompt) + len(completion), np.nan, np.float32)
    if tokens.value.get("completion_logprobs"):
        logprobs[len(prompt) :][completion_mask] = tokens.floats("completion_logprobs", len(completion))[
            completion_mask
        ]
    sampled = np.concatenate([np.zeros(len(prompt), bool), completion_mask])
    signals = {}
    advantage = step.number("advantage", None)
    if advantage is not None:
        signals["advantage"] = on_sampled(advantage, sampled)
    ids = np.concatenate([prompt, completion])
    return Tokens(ids, sampled, logprobs, signals, prompt=len(prompt)), len(prompt)
