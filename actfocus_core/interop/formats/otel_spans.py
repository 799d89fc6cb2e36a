"""Spans of OpenTelemetry and their messages, in OTLP's JSON or one object per span.

Attributes are an object, or a list of ``{"key", "value": {"stringValue": ...}}``. Messages are structured or JSON text
in ``gen_ai.input.messages`` and ``gen_ai.output.messages``. Older conventions (1.36 and before) have an event per
message, ``gen_ai.user.message`` and ``gen_ai.choice``; OpenLLMetry has an attribute per field,
``gen_ai.prompt.0.content``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from actfocus_core.interop.fields import decoded
from actfocus_core.interop.messages import Message, messages_of
from actfocus_core.interop.reading import Record

SYSTEM, INPUT, OUTPUT = "gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.output.messages"
EVALUATION, CHOICE = "gen_ai.evaluation.result", "gen_ai.choice"
_MESSAGE_EVENT = re.compile(r"gen_ai\.(system|user|assistant|tool)\.message")
_INDEXED = re.compile(r"gen_ai\.(prompt|completion)\.([0-9]{1,6})\.(role|content|finish_reason)")
_INDEXED_CALL = re.compile(r"gen_ai\.(prompt|completion)\.([0-9]{1,6})\.tool_calls\.([0-9]{1,6})\.(name|arguments)")
_VALUES = ("stringValue", "intValue", "doubleValue", "boolValue", "bytesValue")


@dataclass(frozen=True)
class Span:
    """One span, and what it says about its rollout."""

    record: Record
    attributes: Record
    events: list[tuple[str, Record]]
    """Name and attributes of each"""
    service: str

    @property
    def trace(self) -> str:
        context = self.record.record("context", self.record)
        return context.key("trace_id", "") or context.key("traceId", "")

    @property
    def rollout(self) -> str:
        return self.attributes.key("gen_ai.conversation.id", "") or self.trace or self.record.where

    @property
    def start(self) -> str:
        """When it began, as text that sorts."""
        value = next((self.record.key(n) for n in ("startTimeUnixNano", "start_time") if n in self.record), "")
        return value.zfill(24) if value.isdigit() else value

    @property
    def model(self) -> str:
        names = ("gen_ai.response.model", "gen_ai.request.model")
        return next((self.attributes.text(name) for name in names if name in self.attributes), "")

    @property
    def stop(self) -> str:
        """Why the reply ended."""
        reasons = self.attributes.value.get("gen_ai.response.finish_reasons")
        return str(reasons[0]) if isinstance(reasons, (list, tuple)) and reasons else ""

    @property
    def error(self) -> str:
        status = self.record.record("status", Record({}, self.record.where))
        code = status.value.get("code", status.value.get("status_code"))
        failed = code in (2, "ERROR", "STATUS_CODE_ERROR") or "error.type" in self.attributes
        told = status.text("message", "") or status.text("description", "") or self.attributes.text("error.type", "")
        return (told or "an error") if failed else ""

    @property
    def evaluations(self) -> dict[str, float]:
        """Name -> score."""
        found = [attributes for name, attributes in self.events if name == EVALUATION]
        return {
            event.text("gen_ai.evaluation.name", "score"): event.number("gen_ai.evaluation.score.value")
            for event in found
            if "gen_ai.evaluation.score.value" in event
        }


def spans(record: Record) -> Iterator[Span]:
    """The spans of a document of OTLP, or the span that the record is."""
    name = next((name for name in ("resourceSpans", "resource_spans") if name in record), None)
    if name is None:
        yield _span(record, _attributes(record.record("resource", Record({}, record.where))))
        return
    for resource in record.records(name):
        own = _attributes(resource.record("resource", Record({}, resource.where)))
        for scope in _listed(resource, "scopeSpans", "scope_spans", "instrumentationLibrarySpans"):
            for span in _listed(scope, "spans"):
                yield _span(span, own)


def messages(span: Span) -> tuple[list[Message], list[Message]]:
    """The messages before a call's reply, and the reply; empty if they were not recorded."""
    attributes = span.attributes
    if OUTPUT in attributes or INPUT in attributes:
        told = decoded(attributes, SYSTEM, INPUT, OUTPUT)
        instructions = told.get(SYSTEM, list, "a list of parts", [])
        first = [{"role": "system", "parts": instructions}] if instructions else []
        asked = told.get(INPUT, list, "a list of messages", [])
        return _read(span, [*first, *asked]), _read(span, told.get(OUTPUT, list, "a list of messages", [])[:1])
    before, reply = _of_events(span)
    if not reply:
        before, reply = _of_indexed(attributes)
    return _read(span, before), _read(span, reply[:1])


def _of_events(span: Span) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Messages of events, each with its content in attributes or in a body."""
    before: list[dict[str, Any]] = []
    reply: list[dict[str, Any]] = []
    for name, event in span.events:
        known = _MESSAGE_EVENT.fullmatch(name)
        if not known and name != CHOICE:
            continue
        body = decoded(event, "message", "tool_calls", "body")
        holder = body.record("body", body)
        value = holder.record("message", holder).value if name == CHOICE else holder.value
        kept = {key: value.get(key) for key in ("content", "tool_calls") if value.get(key) is not None}
        (before if known else reply).append({"role": known[1] if known else "assistant", **kept})
    return before, reply


def _of_indexed(attributes: Record) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Messages of attributes with numbers."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    calls: dict[tuple[str, int, int], dict[str, Any]] = {}
    for name, value in attributes.value.items():
        if field := _INDEXED.fullmatch(name):
            found.setdefault((field[1], int(field[2])), {})[field[3]] = value
        elif field := _INDEXED_CALL.fullmatch(name):
            calls.setdefault((field[1], int(field[2]), int(field[3])), {})[field[4]] = value
    for (kind, number, _), call in sorted(calls.items(), key=lambda item: item[0]):
        found.setdefault((kind, number), {}).setdefault("tool_calls", []).append(call)
    for (kind, _), message in found.items():
        message.setdefault("role", "assistant" if kind == "completion" else "user")
    before = [message for (kind, _), message in sorted(found.items(), key=lambda i: i[0]) if kind == "prompt"]
    reply = [message for (kind, _), message in sorted(found.items(), key=lambda i: i[0]) if kind == "completion"]
    return before, reply


def _read(span: Span, items: list[Any]) -> list[Message]:
    return messages_of(Record({"messages": items}, span.record.where), "messages")


# --- attributes --------------------------------------------------------------------------------


def _span(record: Record, resource: Record) -> Span:
    events = [(event.text("name", ""), _attributes(event)) for event in _listed(record, "events")]
    return Span(record, _attributes(record), events, resource.text("service.name", ""))


def _listed(record: Record, *names: str) -> list[Record]:
    name = next((name for name in names if name in record), None)
    return record.records(name) if name else []


def _attributes(record: Record) -> Record:
    """The attributes of a span, event or resource."""
    value = record.get("attributes", (dict, list), "an object or a list of attributes", {})
    if isinstance(value, list):
        pairs = record.records("attributes")
        value = {pair.text("key"): _value(pair.record("value", Record({}, pair.where)).value) for pair in pairs}
    return Record(value, record.where)


def _value(value: Any) -> Any:
    """A value of OTLP's JSON, in which integers are text."""
    if not isinstance(value, dict):
        return value
    for name in _VALUES:
        if name in value:
            inner = value[name]
            if name == "intValue" and isinstance(inner, str) and _INT.fullmatch(inner):
                return int(inner)
            # Another type is refused where the attribute is read.
            return inner if isinstance(inner, str) == (name in ("stringValue", "bytesValue")) else value
    if isinstance(value.get("arrayValue"), dict):
        items = value["arrayValue"].get("values")
        return [_value(item) for item in items] if isinstance(items, list) else []
    if isinstance(value.get("kvlistValue"), dict):
        pairs = value["kvlistValue"].get("values")
        kept = [pair for pair in pairs if isinstance(pair, dict)] if isinstance(pairs, list) else []
        return {str(pair.get("key")): _value(pair.get("value")) for pair in kept}
    return None


_INT = re.compile(r"-?[0-9]{1,19}")
