"""NeMo-Gym's rollouts: the parameters of a Responses API request, its response, and the reward of the verifier.

Source: ``nemo_gym/rollout_collection.py`` and ``openai_utils.py``, read in November 2026. ``_ng_task_index`` names the prompt. The items
of the response are the policy's and the environment's in turn. Where the server captured tokens, the last item of each reply has
``prompt_token_ids``, ``generation_token_ids`` and ``generation_log_probs``; then these are read and the items are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actfocus_core.interop.contexts import chained, turn
from actfocus_core.interop.fields import error_text, number, scalars
from actfocus_core.interop.messages import Message, as_context, messages_of
from actfocus_core.interop.reading import DataFile, Record
from actfocus_core.interop.samples import BY_ROLE, RECORDED, Content, Sample, Tokens, masked_by, stated_texts

_KNOWN = {"reward", "terminated", "truncated", "error", "_ng_task_index", "_ng_rollout_index"}


def matches(fields: dict[str, Any]) -> bool:
    return {"responses_create_params", "response"} <= set(fields)


def samples(record: Record, file: DataFile) -> Iterator[Sample]:
    request, response = record.record("responses_create_params"), record.record("response")
    output = response.records("output")
    captured = [item for item in output if item.value.get("generation_token_ids")]
    messages = _messages(request, response)
    contexts: list[tuple[Content, int]] = [(messages, 0)]
    if captured:
        contexts = [(tokens, shared) for tokens, shared, _ in chained(map(_turn, captured))]
    agent = record.value.get("agent_ref")
    incomplete = response.value.get("incomplete_details")
    truncated = record.flag("truncated", False) or bool(incomplete)
    for content, shared in contexts:
        yield Sample(
            record.where,
            content,
            record.key("_ng_task_index", ""),
            env=str(agent.get("name", "")) if isinstance(agent, dict) else "",
            model=response.text("model", "") or request.text("model", ""),
            reward=number(record, "reward"),
            terminated=record.flag("terminated", not truncated),
            truncated=truncated,
            rollout=record.where if len(contexts) > 1 else "",
            shared=shared,
            columns=scalars(record, _KNOWN),
            error=error_text(record) or error_text(response),
            stop_reason=str(incomplete.get("reason", "")) if isinstance(incomplete, dict) else "",
            mask_by=masked_by(content, BY_ROLE) if isinstance(content, list) else RECORDED,
            stated=stated_texts(messages) if captured else (),
        )


def _messages(request: Record, response: Record) -> list[Message]:
    """The dialogue as messages: the request's are the prompt."""
    asked = request.value.get("input")
    if isinstance(asked, str):
        request = Record({"input": [{"role": "user", "content": request.text("input")}]}, request.where)
    instructions = request.text("instructions", "")
    first = [{"role": "system", "content": instructions}] if instructions else []
    prompt = Record({"input": [*first, *request.get("input", list, "a string or a list of items")]}, request.where)
    return as_context(messages_of(prompt, "input")) + messages_of(response, "output")


def _turn(item: Record) -> tuple[Tokens, int]:
    """The tokens of one reply with those before it, and the number of the latter."""
    prompt, reply = item.ids("prompt_token_ids"), item.ids("generation_token_ids")
    has_logprobs = item.value.get("generation_log_probs")
    return turn(prompt, reply, item.floats("generation_log_probs", len(reply)) if has_logprobs else None)
