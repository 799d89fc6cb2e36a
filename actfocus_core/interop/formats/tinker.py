"""tinker-cookbook: captured calls (``capture/sample.jsonl``, rows of the capture store), and trajectories of benchmarks.

Source: ``tinker_cookbook/capture/instrument.py``, ``capture/exporter.py``, ``capture/store/client.py``,
``rl/rollout_logging.py`` and ``eval/benchmarks/_types.py``. A captured call has the ids of its prompt and of each of
its samples, with log-probs, and the scope in which it was made: run, iteration, group, trajectory. The calls of a
trajectory are its turns. Rewards stand in the summaries of the same run, per turn and in total. A call outside a
trajectory is a rollout of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from actfocus_core.interop.contexts import chained, turn
from actfocus_core.interop.fields import decoded, error_text, number, scalars, success_of
from actfocus_core.interop.formats import tinker_summaries
from actfocus_core.interop.formats.preparation import READ_ALONG, Prepared
from actfocus_core.interop.formats.tinker_summaries import Summaries
from actfocus_core.interop.gathering import Gathering, Turns
from actfocus_core.interop.messages import Message, messages_of
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import BY_ROLE, LeftOut, Sample, Tokens

_LIMITS = ("max_tokens_reached", "context_overflow")
_TRAJECTORY = {"idx", "benchmark", "example_id", "turns", "reward", "metrics", "logs", "error", "time_seconds"}
_ROW = {"created_at", "cursor", "policy_version", "seq_id", "sampling_session_id", "sample_idx"}
GRADERS = "turns of graders"
WITHOUT_PROMPT = "captured calls without the tokens of their prompt (images, or a prompt that could not be listed)"
WITHOUT_SAMPLE = "captured calls without a sample (errors, or calls that were cancelled)"
OTHER_CALLS = "captured calls that do not sample"
WITHOUT_SUMMARY = "captured trajectories whose rewards no summary states"
WITHOUT_TEXT = (
    "summaries of rollouts, which hold no text (import capture/sample.jsonl of the run, to which they are joined)"
)


def matches(fields: dict[str, Any]) -> bool:
    return _is_captured(fields) or {"benchmark", "example_id", "turns"} <= set(fields)


def companions(path: Path) -> list[Path]:
    """The summaries of the run, which state the rewards of captured trajectories."""
    return list(tinker_summaries.of_run(path))


def beside(fields: dict[str, Any]) -> str | None:
    return READ_ALONG if tinker_summaries.matches(fields) else None


def _is_captured(fields: dict[str, Any]) -> bool:
    row = {"prompt_tokens", "sampled_tokens", "policy_version"}
    return {"kind", "scope", "created_at"} <= set(fields) or row <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample | LeftOut]:
    """The trajectory of a benchmark, or the samples of a captured call, each as a rollout of one turn."""
    if _is_captured(record.value):
        for item in _calls(record):
            yield from [item] if isinstance(item, LeftOut) else _rollout([item[1]], file.path, Summaries())
    else:
        yield _trajectory(record)


def prepared(files: list[DataFile], given: Sequence[str] | None, omissions: Omissions) -> Prepared:
    """Joins the calls of a trajectory, and its rewards."""
    summaries = Summaries((file.path for file in files), omissions)
    gathering = Gathering(files, _captured, lambda calls, file: _rollout(calls, file, summaries))

    def read(record: Record, file: DataFile) -> Iterator[Sample | LeftOut]:
        return gathering.samples(record, file) if _is_captured(record.value) else samples(record, file)

    return Prepared(read, finish=gathering.finish)


# --- captured calls ----------------------------------------------------------------------------


class _Scope(NamedTuple):
    """In which a call was made; equal for the calls of a trajectory."""

    run: str
    attempt: str
    split: str
    purpose: str
    iteration: int | None
    group: int | None
    trajectory: int | None


@dataclass(frozen=True)
class _Call:
    """One sample of a captured call."""

    where: str
    scope: _Scope
    at: float
    """When the call was made, in seconds"""
    tokens: Tokens
    prompt: int
    model: str
    stop: str
    columns: dict[str, Any]


def _captured(record: Record, file: DataFile) -> Turns[_Call]:
    return _calls(record) if _is_captured(record.value) else iter(())


def _calls(record: Record) -> Turns[_Call]:
    """The samples of one line of the capture's file, or the one of a row of its store."""
    if "sampled_tokens" in record.value:
        metadata = decoded(record, "metadata").record("metadata", Record({}, record.where))
        extra = metadata.record("scope", Record({}, record.where))
        sample = Record(
            {"tokens": record.value["sampled_tokens"], "logprobs": record.value.get("logprobs")}, record.where
        )
        yield from _call(
            record, record, sample, metadata.text("stop_reason", ""), record.text("policy_version", ""), extra
        )
        return
    if record.text("kind") != "sample":
        yield LeftOut(OTHER_CALLS)
        return
    scope, found = record.record("scope"), record.records("samples") if "samples" in record else []
    model = record.text("model_path", "") or record.text("base_model", "")
    for sample in found:
        yield from _call(record, scope, sample, sample.text("stop_reason", ""), model, scope)
    if not found:
        yield LeftOut(WITHOUT_SAMPLE)


def _call(record: Record, scope: Record, sample: Record, stop: str, model: str, extra: Record) -> Turns[_Call]:
    """A sample; ``extra``: the scope's names of the user's own."""
    if "prompt_tokens" not in record or "tokens" not in sample:
        yield LeftOut(WITHOUT_SAMPLE if "prompt_tokens" in record else WITHOUT_PROMPT)
        return
    reply = sample.ids("tokens")
    logprobs = sample.floats("logprobs", len(reply)) if "logprobs" in sample else None
    tokens, prompt = turn(record.ids("prompt_tokens"), reply, logprobs)
    run, attempt, split, purpose = (scope.key(name, "") for name in ("run_id", "run_attempt", "split", "purpose"))
    iteration, group, trajectory = (scope.integer(name, None) for name in ("iteration", "group_idx", "traj_idx"))
    made = _Scope(run, attempt, split, purpose, iteration, group, trajectory)
    # A call outside a trajectory is a rollout of its own.
    name = repr(made) if made.trajectory is not None else f"{sample.where} {scope.value.get('sample_idx')}"
    columns = scalars(extra, {*_ROW, "run_id", "run_attempt", "iteration", "group_idx", "traj_idx"})
    yield name, _Call(sample.where, made, record.number("created_at", 0.0), tokens, prompt, model, stop, columns)


def _rollout(calls: list[_Call], file: Path, summaries: Summaries) -> Iterator[Sample]:
    """The samples of a rollout, one per context, with its rewards."""
    calls = sorted(calls, key=lambda call: call.at)
    first, last, scope = calls[0], calls[-1], calls[0].scope
    contexts = chained((call.tokens, call.prompt) for call in calls)
    place = (scope.iteration, scope.group, scope.trajectory)
    summary = None
    if all(number is not None for number in place):
        lengths = [len(call.tokens.ids) - call.prompt for call in calls]
        summary = summaries.find(file, place, scope.split, lengths)  # type: ignore[arg-type]
    for content, shared, turns in contexts:
        yield Sample(
            first.where,
            content,
            "-".join(str(part) for part in (scope.group, scope.purpose) if part not in (None, "")),
            step=scope.iteration,
            run="/".join(filter(None, (scope.run, scope.attempt, scope.split))),
            model=first.model,
            reward=summary.total if summary else math.nan,
            turn_rewards=tuple(summary.rewards[n] for n in turns) if summary else None,
            terminated=last.stop != "length",
            truncated=last.stop == "length",
            rollout=first.where if len(contexts) > 1 else "",
            shared=shared,
            columns=first.columns | (summary.columns if summary else {}),
            stop_reason=last.stop,
            agent=scope.purpose,
            unread=(WITHOUT_SUMMARY,) if summaries and not summary and 0 in turns else (),
        )


# --- benchmarks --------------------------------------------------------------------------------


def _trajectory(record: Record) -> Sample:
    """A trajectory of a benchmark, whose turns are decoded text."""
    turns = record.records("turns")
    said = [turn for turn in turns if turn.text("role") != "grader"]
    messages = messages_of(Record({"turns": [turn.value for turn in said]}, record.where), "turns")
    metrics = record.record("metrics", Record({}, record.where))
    reached = [name for name in _LIMITS if number(metrics, name, 0.0) > 0]
    return Sample(
        record.where,
        _with_prompt(messages),
        record.key("example_id", ""),
        env=record.text("benchmark"),
        reward=number(record, "reward"),
        success=success_of(metrics, ("correct",)),
        terminated=not reached,
        truncated=bool(reached),
        columns=scalars(metrics, ()) | scalars(record, _TRAJECTORY),
        error=error_text(record),
        stop_reason=reached[0] if reached else "",
        mask_by=BY_ROLE,
        unread=(GRADERS,) * (len(turns) - len(said)),
    )


def _with_prompt(messages: list[Message]) -> list[Message]:
    """The messages with those before the first reply as the prompt."""
    first = next((n for n, message in enumerate(messages) if message.role == "assistant"), len(messages))
    return [replace(message, in_prompt=n < first) for n, message in enumerate(messages)]
