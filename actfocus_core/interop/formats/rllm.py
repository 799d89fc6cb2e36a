"""rLLM's episodes, one document each: of training (``EpisodeLogger``), and of evaluation (``EvalEpisodeStore``).

Source: ``rllm/utils/episode_logger.py``, ``rllm/eval/episode_store.py`` and ``rllm/types.py``. An episode has a
trajectory per agent; rollouts of one task by agents of one name are a group. Steps of an evaluation may have the ids
of their prompt and response with log-probs; else their ``chat_completions`` are read, each the dialogue up to its
reply.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from actfocus_core.interop.contexts import chained, dialogues, turn
from actfocus_core.interop.fields import number, scalars, truth
from actfocus_core.interop.messages import Message, messages_of
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import BY_ROLE, RECORDED, Content, LeftOut, Sample, Tokens, digest

_LIMITS = {"max_prompt_length_exceeded", "max_response_length_exceeded", "max_turns_exceeded", "timeout"}
WITHOUT_STEPS = "trajectories without a step"
OTHER_REWARDS = "rewards of steps that do not add up to the reward"


def matches(fields: dict[str, Any]) -> bool:
    return {"trajectories", "is_correct", "termination_reason"} <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample | LeftOut]:
    name = record.key("episode_id", "") or record.key("id", "")
    task = name.split(":")[0] if ":" in name else record.text("task_hash", "") or digest(record.value.get("task"))
    stop = record.text("termination_reason", "") or ""
    # NumPy's booleans are written as text.
    outcome = truth(record.value.get("is_correct"))
    if outcome is None and "is_correct" in record:
        raise record.error("'is_correct'", "is neither true nor false")
    metrics = record.record("metrics", Record({}, record.where))
    for trajectory in record.records("trajectories"):
        steps = trajectory.records("steps")
        if not steps:
            yield LeftOut(WITHOUT_STEPS)
            continue
        reward, agent = number(trajectory, "reward"), trajectory.text("name", "")
        rewards = tuple(step.number("reward", 0.0) for step in steps)
        adds_up = bool(np.isclose(sum(rewards), reward, atol=1e-6))
        contexts = _contexts(steps)
        for content, shared, turns in contexts:
            yield Sample(
                trajectory.where,
                content,
                f"{task}:{agent}" if agent else task,
                step=record.integer("training_step", None),
                reward=reward,
                turn_rewards=tuple(rewards[n] for n in turns) if adds_up else None,
                success=None if stop == "error" else outcome,
                terminated=stop not in _LIMITS,
                truncated=stop in _LIMITS,
                rollout=trajectory.where if len(contexts) > 1 else "",
                shared=shared,
                columns=scalars(metrics, ()) | scalars(trajectory.record("signals", Record({}, record.where)), ()),
                error=stop if stop == "error" else "",
                stop_reason=stop,
                agent=agent,
                mask_by=RECORDED if isinstance(content, Tokens) else BY_ROLE,
                unread=(OTHER_REWARDS,)
                if 0 in turns and not adds_up and any(rewards) and math.isfinite(reward)
                else (),
            )


def _contexts(steps: list[Record]) -> list[tuple[Content, int, list[int]]]:
    """The contexts of a trajectory, each with the tokens it shares with the one before and the numbers of its steps."""
    if all(step.value.get("prompt_ids") and step.value.get("response_ids") for step in steps):
        return [*chained(map(_turn, steps))]
    return [(content, 0, turns) for content, turns in dialogues(map(_messages, steps))]


def _turn(step: Record) -> tuple[Tokens, int]:
    reply = step.ids("response_ids")
    signals = {}
    if isinstance(step.value.get("advantage"), list):
        signals["advantage"] = step.floats("advantage", len(reply))
    elif "advantage" in step:
        signals["advantage"] = np.full(len(reply), step.number("advantage"), np.float32)
    logprobs = step.floats("logprobs", len(reply)) if step.value.get("logprobs") else None
    return turn(step.ids("prompt_ids"), reply, logprobs, signals)


def _messages(step: Record) -> tuple[list[Message], list[Message]]:
    """The messages before a step's reply, and from the reply on."""
    if step.value.get("chat_completions"):
        messages = messages_of(step, "chat_completions")
    else:
        told = [{"role": "user", "content": step.text("observation")}] if "observation" in step else []
        reply = {"role": "assistant", "content": step.text("model_response")}
        messages = messages_of(Record({"messages": [*told, reply]}, step.where), "messages")
    last = max((n for n, message in enumerate(messages) if message.role == "assistant"), default=len(messages))
    return messages[:last], messages[last:]
