"""Harbor's trajectories in ATIF: ``TRIAL/agent/trajectory.json``, with the reward in ``TRIAL/result.json``.

Source: ``harbor/models/trajectories``, ``models/trial`` and ``agents/terminus_2`` of Harbor 0.26. A step of the agent
is a reply, followed by what the environment answered. Its metrics may have the ids of the prompt and of the completion
with log-probs. Steps copied from an earlier trajectory, and those without a call of the model, were not sampled.
Continuations (``trajectory.cont-1.json``) and embedded trajectories of sub-agents are contexts of the same rollout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from actfocus_core.interop.contexts import chained, turn
from actfocus_core.interop.fields import scalars
from actfocus_core.interop.formats import atif_trials
from actfocus_core.interop.formats.atif_trials import Trial, first_record
from actfocus_core.interop.formats.preparation import READ_ALONG
from actfocus_core.interop.logprobs import parsed_pieces
from actfocus_core.interop.messages import Message, messages_of
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import BY_ROLE, RECORDED, Content, LeftOut, Sample, Tokens, masked_by
from actfocus_core.interop.scored import LOGPROB, Scored

HEAD = "trajectory.json"
NAMED = "files of continuations and sub-agents, which are read with the trajectory that names them"
MISSING = "continuations and sub-agents that are named but are not beside the trajectory"
USERS = "trajectories of simulated users"
UNREAD_LOGPROBS = "log-probs without token ids"
MOST_DOCUMENTS = 1000
_ROLES = {"system": "system", "user": "user"}


def matches(fields: dict[str, Any]) -> bool:
    return {"schema_version", "agent", "steps"} <= set(fields)


def companions(path: Path) -> list[Path]:
    """The result of the trial."""
    result, _ = atif_trials.result_of(path)
    return [result] if result else []


def beside(fields: dict[str, Any]) -> str | None:
    return READ_ALONG if atif_trials.matches(fields) else None


def samples(record: Record, file: DataFile) -> Iterator[Sample | LeftOut]:
    folder = file.path.parent
    if folder.name == "user-agent":
        yield LeftOut(USERS)
        return
    head = first_record(folder / HEAD) if file.path.name != HEAD and (folder / HEAD).is_file() else None
    if head is not None and matches(head.value) and file.path.name in _family(head, folder)[1]:
        yield LeftOut(NAMED)
        return
    documents, _, missing = _family(record, folder)
    parts = [part for document in documents for part in (document, *_embedded(document))]
    contexts = [(part, *context) for part in parts for context in _contexts(part)]
    trial = atif_trials.of(file.path)
    for number, (part, content, shared, unread) in enumerate(contexts):
        yield (
            _sample(part, content, trial, unread + (MISSING,) * (0 if number else missing))
            if len(contexts) == 1
            else replace(
                _sample(part, content, trial, unread + (MISSING,) * (0 if number else missing)),
                rollout=record.where,
                shared=shared,
            )
        )


def _sample(part: Record, content: Content, trial: Trial, unread: tuple[str, ...]) -> Sample:
    agent = part.record("agent")
    return Sample(
        part.where,
        content,
        trial.group,
        env=trial.source,
        model=agent.text("model_name", ""),
        reward=trial.reward,
        rewards=trial.rewards,
        terminated=not trial.timed_out,
        truncated=trial.timed_out,
        columns=scalars(part.record("final_metrics", Record({}, part.where)), ()) | trial.columns,
        error=trial.error,
        stop_reason=trial.stop,
        agent=agent.text("name", ""),
        mask_by=masked_by(content, BY_ROLE) if isinstance(content, list) else RECORDED,
        unread=unread + trial.unread,
    )


def _family(record: Record, folder: Path) -> tuple[list[Record], set[str], int]:
    """The trajectory with those in its folder that continue it and those of its sub-agents, in the order in which they
    are named; the names of their files; and how many are missing."""
    documents, names, missing = [record], {HEAD}, 0
    for document in documents:
        for name in _named(document):
            if name in names:
                continue
            following = first_record(folder / name) if Path(name).name == name else None
            if following is None or not matches(following.value) or len(documents) > MOST_DOCUMENTS:
                missing += 1
            else:
                names.add(name)
                documents.append(following)
    return documents, names, missing


def _named(document: Record) -> Iterator[str]:
    """The files that a trajectory names: of its sub-agents, then of what continues it."""
    for step in document.records("steps"):
        observation = step.record("observation", None)
        for result in observation.records("results") if observation and "results" in observation else ():
            for reference in result.records("subagent_trajectory_ref") if "subagent_trajectory_ref" in result else ():
                if "trajectory_path" in reference and "trajectory_id" not in reference:
                    yield reference.text("trajectory_path")
    if "continued_trajectory_ref" in document:
        yield document.text("continued_trajectory_ref")


def _embedded(part: Record) -> Iterator[Record]:
    """The trajectories of the sub-agents of a trajectory, and of theirs."""
    for inner in part.records("subagent_trajectories") if "subagent_trajectories" in part else ():
        yield inner
        yield from _embedded(inner)


# --- steps -------------------------------------------------------------------------------------


def _contexts(part: Record) -> list[tuple[Content, int, tuple[str, ...]]]:
    """The contexts of a trajectory, each with the tokens it shares with the one before, and what was not read."""
    steps = part.records("steps")
    sampled = [step for step in steps if step.text("source") == "agent" and _is_sampled(step)]
    metrics = [step.record("metrics", Record({}, step.where)) for step in sampled]
    if sampled and all(m.value.get("prompt_token_ids") and m.value.get("completion_token_ids") for m in metrics):
        return [(tokens, shared, ()) for tokens, shared, _ in chained(map(_turn, metrics))]
    unread = sum(bool(m.value.get("logprobs")) and not m.value.get("completion_token_ids") for m in metrics)
    return [([message for step in steps for message in _messages(step)], 0, (UNREAD_LOGPROBS,) * unread)]


def _is_sampled(step: Record) -> bool:
    """Whether the step is one call of the model, made in this trajectory."""
    return not step.flag("is_copied_context", False) and step.integer("llm_call_count", 1) > 0


def _turn(metrics: Record) -> tuple[Tokens, int]:
    reply = metrics.ids("completion_token_ids")
    return turn(metrics.ids("prompt_token_ids"), reply, _logprobs(metrics, len(reply)))


def _logprobs(metrics: Record, length: int) -> np.ndarray | None:
    return metrics.floats("logprobs", length) if metrics.value.get("logprobs") else None


def _messages(step: Record) -> list[Message]:
    """The messages of a step: a reply or another message, and the results that follow."""
    source = step.text("source")
    if source != "agent" and source not in _ROLES:
        raise step.error("'source'", f"is {source[:40]!r}; it must be agent, user or system")
    first: dict[str, Any] = {"role": _ROLES.get(source, "assistant"), "content": step.value.get("message")}
    if source == "agent":
        calls = step.records("tool_calls") if "tool_calls" in step else []
        first["reasoning_content"] = step.text("reasoning_content", None)
        first["tool_calls"] = [{"name": c.text("function_name"), "arguments": c.value.get("arguments")} for c in calls]
        if "is_copied_context" in step or "llm_call_count" in step:
            first["sampled"] = _is_sampled(step)
    found = messages_of(Record({"messages": [first]}, step.where), "messages")
    observation = step.record("observation", None)
    results = observation.records("results") if observation and "results" in observation else []
    answers = [
        {"role": "tool" if "source_call_id" in result else "user", "content": result.value.get("content")}
        for result in results
        if "content" in result
    ]
    if source == "agent":
        found = [replace(message, scored=_scored(step, parsed_pieces(first))) for message in found]
    return found + messages_of(Record({"messages": answers}, step.where), "messages")


def _scored(step: Record, pieces: tuple[str, ...]) -> Scored | None:
    """The tokens of a reply whose prompt is not given as ids."""
    metrics = step.record("metrics", Record({}, step.where))
    if not metrics.value.get("completion_token_ids") or not _is_sampled(step) or step.integer("llm_call_count", 1) > 1:
        return None
    ids = metrics.ids("completion_token_ids").tolist()
    logprobs = _logprobs(metrics, len(ids))
    return Scored(tuple(ids), {} if logprobs is None else {LOGPROB: logprobs}, pieces)
