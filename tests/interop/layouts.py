"""The layouts of messages: a dialogue as OpenAI, the Responses API, Anthropic, ShareGPT and LLaMA-Factory write it."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from typing import Any

from tests.interop.dialogues import Reply, Rollout

Messages = list[dict[str, Any]]
Said = tuple[tuple[str, str], ...]
Layout = tuple[str, Callable[[Reply, str], Messages], Callable[[str, str, str], dict[str, Any]]]
"""The name of the field, (reply, name of its calls) -> messages, and (role, text, name of its call) -> message"""


def prompt(rollout: Rollout, layout: Layout) -> Messages:
    """The messages before the first reply."""
    _, reply, other = layout
    messages = [other("system", rollout.task.system, "")] if rollout.task.system else []
    for turn in rollout.task.examples:
        messages += [*said(turn.said, other), *reply(turn.reply, "")]
    return messages + said(rollout.turns[0].said, other)


def completion(rollout: Rollout, layout: Layout, flag: Callable[[Messages, bool], None] | None = None) -> Messages:
    """The messages from the first reply on; ``flag`` marks those of a reply as in the loss or out of it."""
    _, reply, other = layout
    messages: Messages = []
    for number, turn in enumerate(rollout.turns):
        messages += said(turn.said, other, f"c{number - 1}") if number else []
        own = reply(turn.reply, f"c{number}")
        if flag:
            flag(own, turn.reply.in_loss)
        messages += own
    return messages


def said(texts: Said, other: Callable[[str, str, str], dict[str, Any]], call: str = "") -> Messages:
    return [other(role, text, f"{call}.{number}") for number, (role, text) in enumerate(texts)]


def flagged(name: str) -> Callable[[Messages, bool], None]:
    """Marks the messages of a reply that is out of the loss in a field of this name."""

    def flag(messages: Messages, in_loss: bool) -> None:
        for message in messages:
            if not in_loss:
                message[name] = 0 if name != "trainable" else False

    return flag


def _plain(reply: Reply, call: str) -> Messages:
    return [{"role": "assistant", "content": reply.written}]


def _plain_other(role: str, text: str, call: str) -> dict[str, Any]:
    return {"role": role, "content": text}


def _openai(reply: Reply, call: str) -> Messages:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.thought:
        message["reasoning_content"] = reply.thought
    if reply.calls:
        message["tool_calls"] = [
            {
                "id": f"{call}.{number}",
                "type": "function",
                "function": {"name": made.name, "arguments": json.dumps(made.arguments)},
            }
            for number, made in enumerate(reply.calls)
        ]
    return [message]


def _repeating(reply: Reply, call: str) -> Messages:
    """As servers that leave the reasoning in the content and repeat it."""
    (message,) = _openai(reply, call)
    if reply.thought:
        message["content"] = f"<think>\n{reply.thought}\n</think>\n{reply.text}"
        message["reasoning"] = reply.thought
    return [message]


def _openai_other(role: str, text: str, call: str) -> dict[str, Any]:
    return {"role": role, "content": text} | ({"tool_call_id": call} if role == "tool" else {})


def _responses(reply: Reply, call: str) -> Messages:
    items: Messages = []
    if reply.thought:
        items.append({"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": reply.thought}]})
    if reply.text:
        part = {"type": "output_text", "text": reply.text, "annotations": []}
        items.append({"type": "message", "role": "assistant", "content": [part]})
    return items + [
        {
            "type": "function_call",
            "call_id": f"{call}.{number}",
            "name": made.name,
            "arguments": json.dumps(made.arguments),
        }
        for number, made in enumerate(reply.calls)
    ]


def _responses_other(role: str, text: str, call: str) -> dict[str, Any]:
    if role == "tool":
        return {"type": "function_call_output", "call_id": call, "output": text}
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}


def _anthropic(reply: Reply, call: str) -> Messages:
    parts: list[dict[str, Any]] = []
    if reply.thought:
        parts.append({"type": "thinking", "thinking": reply.thought, "signature": "c2ln"})
    if reply.text:
        parts.append({"type": "text", "text": reply.text})
    for made, number in zip(reply.calls, count()):
        parts.append({"type": "tool_use", "id": f"{call}.{number}", "name": made.name, "input": made.arguments})
    return [{"role": "assistant", "content": parts}]


def _anthropic_other(role: str, text: str, call: str) -> dict[str, Any]:
    if role != "tool":
        return {"role": role, "content": [{"type": "text", "text": text}] if role == "user" else text}
    result = {"type": "tool_result", "tool_use_id": call, "content": [{"type": "text", "text": text}]}
    return {"role": "user", "content": [result]}


def _sharegpt(reply: Reply, call: str) -> Messages:
    """A message of calls holds nothing else but reasoning before them."""
    if not reply.calls:
        return [{"from": "gpt", "value": reply.written}]
    calls = [made.object for made in reply.calls]
    value = json.dumps(calls if len(calls) > 1 else calls[0], ensure_ascii=False)
    thought = f"<think>\n{reply.thought}\n</think>\n" if reply.thought else ""
    return [{"from": "function_call", "value": thought + value}]


def _sharegpt_other(role: str, text: str, call: str) -> dict[str, Any]:
    return {"from": {"user": "human", "tool": "observation"}.get(role, role), "value": text}


def _llama_factory(reply: Reply, call: str) -> Messages:
    parts = [("reasoning", reply.thought), ("text", reply.text)]
    parts += [("tool_call", json.dumps(made.object, ensure_ascii=False)) for made in reply.calls]
    return [{"role": "assistant", "content": [{"type": kind, "value": value} for kind, value in parts if value]}]


def _llama_factory_other(role: str, text: str, call: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "value": text}]}


PLAIN: Layout = ("messages", _plain, _plain_other)
LAYOUTS: dict[str, Layout] = {
    "plain": PLAIN,
    "openai": ("messages", _openai, _openai_other),
    "repeating": ("messages", _repeating, _openai_other),
    "responses": ("messages", _responses, _responses_other),
    "anthropic": ("messages", _anthropic, _anthropic_other),
    "sharegpt": ("conversations", _sharegpt, _sharegpt_other),
    "llama-factory": ("messages", _llama_factory, _llama_factory_other),
}
