"""Records of the trainers that write exact token ids: verifiers and prime-rl; verifiers' also as messages."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

from tests.interop.dialogues import Block, Rollout, encoded, segments
from tests.interop.layouts import LAYOUTS, completion, flagged, prompt

Row = dict[str, Any]
LOGPROBS, ADVANTAGE = [0.0, -0.25, -1.5, -7.0], 0.75


def logprobs(ids: list[int]) -> list[float]:
    return [LOGPROBS[token % len(LOGPROBS)] for token in ids]


def _nodes(rollout: Rollout, family: str) -> list[Row]:
    nodes: list[Row] = []
    for blocks in segments(family, rollout):
        parent = None
        for block in blocks:
            first = nodes[0] if nodes and parent is None else None
            if first and block.text.startswith(first["text"]):
                # Contexts share the node of the first prompt.
                rest = block.text[len(first["text"]) :]
                block, parent = Block(rest, encoded(family, rest), None), 0
            nodes.append(_node(block, parent))
            parent = len(nodes) - 1
    return [{name: value for name, value in node.items() if name != "text"} for node in nodes]


def _node(block: Block, parent: int | None) -> Row:
    role, ids = "assistant" if block.reply else "user", block.ids
    scored = {"logprobs": logprobs(ids), "advantages": [ADVANTAGE] * len(ids)} if block.sampled else {"logprobs": []}
    return {
        "text": block.text,
        "parent": parent,
        "message": {"role": role, "content": block.text},
        "sampled": bool(block.reply),
        "token_ids": ids,
        "mask": [block.sampled] * len(ids),
        "is_content": [],
        **scored,
    }


def _message_nodes(rollout: Rollout) -> list[Row]:
    before = prompt(rollout, LAYOUTS["openai"])
    own = completion(rollout, LAYOUTS["openai"], flagged("loss_mask"))
    messages = [(message, False) for message in before] + [(m, m["role"] == "assistant") for m in own]
    return [
        {"parent": number - 1 if number else None, "message": message, "sampled": sampled}
        for number, (message, sampled) in enumerate(messages)
    ]


def verifiers(exact: bool) -> Callable[[Rollout, str, list[Rollout]], list[Row]]:
    def rows(rollout: Rollout, family: str, group: list[Rollout]) -> list[Row]:
        scores = {name: score for name, score in (rollout.scores or {}).items() if score is not None}
        trace = {
            "version": 1,
            "nodes": _nodes(rollout, family) if exact else _message_nodes(rollout),
            "rewards": {name: {"score": score, "weight": 1.0} for name, score in scores.items()},
            "agent": {"name": "agent", "trainable": True},
            "errors": [{"type": "ToolError", "message": rollout.error}] if rollout.error else [],
        }
        return [
            {
                "env": {"id": rollout.task.env},
                "group": {"id": rollout.task.number},
                "task": {"type": "T", "data": {}},
                "ok": not rollout.error,
                "errors": [],
                "traces": [trace],
                "run": {"type": "train", "work": {"type": "train", "step": rollout.step}},
            }
        ]

    return rows


def _steps(rollout: Rollout, family: str) -> list[Row]:
    """The turns as version 0 of verifiers stores them, each with its whole prompt."""
    steps = []
    for blocks in segments(family, rollout):
        for number, block in enumerate(blocks):
            if block.reply:
                before = list(chain.from_iterable(b.ids for b in blocks[:number]))
                tokens = {
                    "prompt_ids": before,
                    "prompt_mask": [0] * len(before),
                    "completion_ids": block.ids,
                    "completion_mask": [int(block.sampled)] * len(block.ids),
                    "completion_logprobs": logprobs(block.ids),
                }
                steps.append({"tokens": tokens, "advantage": ADVANTAGE, "reward": 0.0})
    return steps


def results(exact: bool) -> Callable[[Rollout, str, list[Rollout]], list[Row]]:
    def rows(rollout: Rollout, family: str, group: list[Rollout]) -> list[Row]:
        flag = flagged("trainable")
        return [
            {
                "example_id": rollout.task.number,
                "task": rollout.task.env,
                "prompt": prompt(rollout, LAYOUTS["openai"]),
                "completion": completion(rollout, LAYOUTS["openai"], flag),
                "reward": rollout.reward,
                "is_completed": True,
                "error": rollout.error or None,
                "metrics": {},
                **({"trajectory": _steps(rollout, family)} if exact else {}),
            }
        ]

    return rows


def prime_rl(rollout: Rollout, family: str, group: list[Rollout]) -> list[Row]:
    (blocks,) = segments(family, rollout)
    ids = [token for block in blocks for token in block.ids]
    mask = [block.sampled for block in blocks for _ in block.ids]
    return [
        {
            "step": rollout.step,
            "export_step": rollout.step,
            "rank": 0,
            "env_name": rollout.task.env,
            "token_ids": ids,
            "position_ids": [*range(len(ids))],
            "loss_mask": mask,
            "inference_logprobs": [value if in_loss else 0.0 for value, in_loss in zip(logprobs(ids), mask)],
            "advantages": [ADVANTAGE if in_loss else 0.0 for in_loss in mask],
            **({} if rollout.reward is None else {"rewards": [rollout.reward] * len(ids)}),
        }
    ]
