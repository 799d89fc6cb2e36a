"""Inspect's logs: ``.eval`` archives, and JSON.

Source: ``inspect_ai/log/_log.py``, ``log/_recorders/eval.py``, ``model/_chat_message.py`` and ``scorer/_metric.py``. An
archive has a JSON member per sample and epoch; the reader yields each with the header of the log. A sample is the
group, its epochs are the rollouts. C, P, I and N are the scores 1, 0.5, 0 and 0. Where a sample has several scores,
the log does not say which is the reward: it is the sum of those that the user names, else unknown. Log-probs stand in
the outputs of the model, which name the message. Other events, such as dialogues of sub-agents, are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from actfocus_core.errors import ActFocusError
from actfocus_core.interop.fields import NAN, error_text, scalars, truth
from actfocus_core.interop.formats.preparation import Prepared
from actfocus_core.interop.logprobs import parsed_pieces, scored
from actfocus_core.interop.messages import Message, messages_of
from actfocus_core.interop.omissions import Omissions
from actfocus_core.interop.reading import DataFile, Record, read_records
from actfocus_core.interop.samples import RECORDED, LeftOut, Sample, masked_by
from actfocus_core.interop.scored import Scored
from actfocus_core.runs.provenance import Source
from actfocus_core.trajectory import Component

ATTACHMENT = "attachment://"
WITHOUT_MESSAGES = "samples without a message"
WITHOUT_SAMPLES = "logs without samples"
SEVERAL_SCORES = (
    "sets of several scores, of which the log does not say which is the reward (--reward-columns names them)"
)
NO_NUMBERS = "scores that are no number"
_VALUES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_OUTCOMES = {"C": True, "I": False, "N": False}
_LIMITS = ("max_tokens", "model_length")


def matches(fields: dict[str, Any]) -> bool:
    return {"version", "status", "eval"} <= set(fields)


def prepared(files: list[DataFile], given: Sequence[str] | None, omissions: Omissions) -> Prepared:
    """``samples`` with the scores whose sum is the reward. Raises ActFocusError for one that the first sample lacks."""
    if given is None:
        return Prepared(samples)
    logs = (log for file in files for log in read_records(file.path, Omissions()))
    scored = (log.records("samples") for log in logs if "samples" in log)
    first = next((sample for found in scored for sample in found if sample.value.get("messages")), None)
    names = _scores(first)[0] if first else {}
    missing = next((name for name in given if name not in names), None)
    if missing is not None or not given:
        shown = ", ".join(names) or "the scores, of which there are none"
        raise ActFocusError(
            f"{files[0].path}: no score {missing or ''!r} that is a number; choose reward columns from {shown}"
        )
    chosen = tuple(dict.fromkeys(given))
    return Prepared(partial(samples, chosen=chosen), {"reward_columns": list(chosen), "reward_columns_by": "given"})


def samples(record: Record, file: DataFile, chosen: tuple[str, ...] = ()) -> Iterator[Sample | LeftOut]:
    """The samples of a log; ``chosen``: the scores whose sum is the reward."""
    evaluation = record.record("eval")
    found = record.records("samples") if "samples" in record else []
    for sample in found:
        if sample.value.get("messages"):
            yield _sample(sample, evaluation, chosen)
        else:
            yield LeftOut(WITHOUT_MESSAGES)
    if not found:
        yield LeftOut(WITHOUT_SAMPLES)


def _sample(record: Record, evaluation: Record, chosen: tuple[str, ...]) -> Sample:
    messages = _messages(record)
    output = record.record("output", Record({}, record.where))
    choices = output.records("choices") if "choices" in output else []
    stop = choices[0].text("stop_reason", "") if choices else ""
    limit = record.record("limit", None)
    scores, outcome, unread = _scores(record)
    counted = chosen or (tuple(scores) if len(scores) == 1 else ())
    if len(scores) > 1 and not chosen:
        unread += (SEVERAL_SCORES,)
    truncated = limit is not None or stop in _LIMITS
    return Sample(
        record.where,
        messages,
        record.key("id"),
        env=evaluation.text("task", ""),
        run=evaluation.text("eval_id", "") or evaluation.text("run_id", ""),
        model=evaluation.text("model", ""),
        reward=sum(scores.get(name, NAN) for name in counted) if counted else NAN,
        rewards={name: Component(score, 1.0 if name in counted else NAN) for name, score in scores.items()},
        rewards_by=Source(how="derived", rule=f"the sum of {', '.join(chosen)}, as given") if chosen else RECORDED,
        success=outcome,
        terminated=not truncated,
        truncated=truncated,
        columns=scalars(record.record("metadata", Record({}, record.where)), ()) | {"epoch": record.integer("epoch")},
        error=error_text(record),
        stop_reason=limit.text("type", "") if limit else stop,
        mask_by=masked_by(messages),
        unread=unread,
    )


# --- scores ------------------------------------------------------------------------------------


def _scores(record: Record) -> tuple[dict[str, float], bool | None, tuple[str, ...]]:
    """The scores by name, the outcome if exactly one of them states one, and what was not read."""
    empty = Record({}, record.where)
    scores = record.record("scores", empty)
    if "score" in record and not scores.value:
        scores = Record({"score": record.value["score"]}, record.where)
    values: dict[str, Any] = {}
    for name in scores.value:
        value = scores.record(name, empty).value.get("value")
        inner = value if isinstance(value, dict) else {"": value}
        values |= {f"{name}/{key}" if key else name: one for key, one in inner.items()}
    numbers = {name: _number(value) for name, value in values.items()}
    known = {name: value for name, value in numbers.items() if value is not None}
    outcomes = [_OUTCOMES[v] if isinstance(v, str) else v for v in values.values() if _states_outcome(v)]
    return known, outcomes[0] if len(outcomes) == 1 else None, (NO_NUMBERS,) * (len(numbers) - len(known))


def _states_outcome(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value in _OUTCOMES)


def _number(value: Any) -> float | None:
    """A score as a number, as Inspect's own metrics read it; NaN is not scored, None is no number."""
    if isinstance(value, str):
        if value in _VALUES:
            return _VALUES[value]
        outcome = truth(value)
        if outcome is not None:
            return float(outcome)
        try:
            return float(value)
        except ValueError:
            return None
    if value is None:
        return NAN
    try:
        return float(value) if isinstance(value, (bool, int, float)) else None
    except OverflowError:
        return None


# --- messages ----------------------------------------------------------------------------------


def _messages(record: Record) -> list[Message]:
    attachments = record.record("attachments", Record({}, record.where)).value
    known = _logprobs(record)
    found: list[Message] = []
    for item in record.records("messages"):
        value = dict(item.value)
        if value.get("role") == "assistant" and isinstance(value.get("source"), str):
            value["sampled"] = value["source"] != "input"
        value["content"] = _content(value.get("content"), attachments)
        if value.get("tool_calls"):
            value["tool_calls"] = [
                {"name": call.text("function"), "arguments": call.value.get("arguments")}
                for call in item.records("tool_calls")
            ]
        added = messages_of(Record({"messages": [value]}, item.where), "messages")
        scores = known.get(item.text("id", ""))
        scores = scores and replace(scores, pieces=parsed_pieces(value))
        found += [replace(m, scored=scores) if m.role == "assistant" else m for m in added]
    return found


def _content(content: Any, attachments: dict[str, Any]) -> Any:
    """A content with its attachments, and without reasoning that is encrypted."""
    if isinstance(content, str) and content.startswith(ATTACHMENT):
        return attachments.get(content.removeprefix(ATTACHMENT), content)
    if isinstance(content, list):
        return [_part(part, attachments) for part in content]
    return content


def _part(part: Any, attachments: dict[str, Any]) -> Any:
    if not isinstance(part, dict):
        return part
    if part.get("type") == "reasoning" and part.get("redacted"):
        return {"type": "encrypted reasoning"}
    text = _content(part.get("text"), attachments)
    return part | {"text": text} if "text" in part else part


def _logprobs(record: Record) -> dict[str, Scored]:
    """Id of a message -> the tokens of the model's output with this message."""
    outputs = [record.record("output", Record({}, record.where))]
    for event in record.records("events") if "events" in record else ():
        if event.value.get("event") == "model" and "output" in event:
            outputs.append(event.record("output"))
    known = {}
    for output in outputs:
        for choice in output.records("choices") if "choices" in output else ():
            name = choice.record("message", Record({}, choice.where)).text("id", "")
            if name and (tokens := scored(choice)) is not None:
                known[name] = tokens
    return known
