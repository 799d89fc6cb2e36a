"""A run of an agent that calls tools, as another trainer's: no pictures, several contexts, calls that fail."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from actfocus_core.runs import Run
from actfocus_core.trajectory import TokenKind, Trajectory, Turn

SYSTEM, USER, TEMPLATE, REASONING, ACTION, FORMAT = TokenKind
HOSTILE = "<img src=x onerror=window.__pwn=1>"
PIECES = re.compile(r"<\|\w+\|>|</?tool_\w+>|\{\"?|\"?\w+\"?:?|\s+|.", re.S)
TOOL = {
    "type": "function",
    "function": {"name": "search", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}},
}
ORDER = {
    "orders": [{"id": "W1", "items": [{"sku": HOSTILE, "price": 12.5}], "note": "\N{GRINNING FACE} sent"}],
    "total": 1,
}


def make_tool_run(path: Path, long: int = 0) -> Run:
    """Two groups of two rollouts, the second rollout of the first group with a second context; ``long``: turns of the last one."""
    rng = np.random.default_rng(5)
    run = Run.create(path, {"command": "import", "format": "chat"}, {"name": "an agent"})
    batch = [
        _rollout(
            "00000-a-00",
            rng,
            [
                ("search", {"q": "order of mei"}, json.dumps(ORDER, ensure_ascii=False)),
                ("pay", {"id": "W1"}, "Error: no such order"),
            ],
        ),
        *_branched(rng),
        _rollout(
            "00000-b-00",
            rng,
            [("search", {"q": HOSTILE}, '{"error": null, "hits": 0}'), ("bad", None, "That was no call.")],
            error="timeout",
        ),
        _rollout(
            "00000-b-01",
            rng,
            [("search", {"q": str(k)}, json.dumps(ORDER, ensure_ascii=False)) for k in range(max(long, 1))],
        ),
    ]
    run.add_trajectories(0, batch)
    run.annotate(0, "scripted", batch)
    return run


def _branched(rng: np.random.Generator) -> list[Trajectory]:
    calls = [("search", {"q": "a"}, "found"), ("search", {"q": "b"}, "nothing")]
    first = _rollout("00000-a-01", rng, calls, agent="planner", rollout_id="00000-a-01")
    second = _rollout(
        "00000-a-01.1", rng, [calls[0], ("pay", {"id": "c"}, "done")], agent="worker", rollout_id="00000-a-01"
    )
    shared = next(i for i, (a, b) in enumerate(zip(first.texts, second.texts)) if a != b)
    second.segment, second.parent = 1, (0, shared)
    second._check_segment()
    return [first, second]


def _rollout(id: str, rng: np.random.Generator, calls: list, error: str = "", **facts: str) -> Trajectory:
    parts: list[tuple[str, int, int]] = [
        ("<|im_start|>system\n", TEMPLATE, -1),
        (f"Policy.\n<tools>\n{json.dumps(TOOL)}\n</tools>", SYSTEM, -1),
        ("<|im_end|>\n<|im_start|>user\n", TEMPLATE, -1),
        ("Where is my order?", USER, 0),
        ("<|im_end|>\n<|im_start|>assistant\n", TEMPLATE, 0),
    ]
    records = []
    for k, (name, arguments, result) in enumerate(calls):
        call = json.dumps({"name": name, "arguments": arguments}) if arguments is not None else '{"name": "bad", "arg'
        valid = arguments is not None
        parts += [
            ("I look it up.\n", REASONING, k),
            ("<tool_call>\n", FORMAT, k),
            (call, ACTION if valid else FORMAT, k),
            ("\n</tool_call>" if valid else "", FORMAT, k),
            ("<|im_end|>", FORMAT, k),
            ("\n<|im_start|>user\n" + "<tool_response>\n" * valid, TEMPLATE, k + 1),
            (result, USER, k + 1),
            ("\n</tool_response>" * valid + "<|im_end|>\n<|im_start|>assistant\n", TEMPLATE, k + 1),
        ]
        records.append(Turn("", call, [call] if valid else [], valid, 0.0, 0.0, f"{id}-{k}", {}))
    last = len(calls)
    parts += [("It was sent.", FORMAT, last), ("<|im_end|>", FORMAT, last)]
    success = id.endswith("0")
    records.append(Turn("", "It was sent.", [], True, float(success), 0.0, f"{id}-end", {}))
    pieces = [(piece, kind, turn) for text, kind, turn in parts for piece in PIECES.findall(text)]
    kinds = np.array([kind for _, kind, _ in pieces], np.uint8)
    n = len(pieces)
    signals = {f"ref_{name}": rng.normal(0, 1, n).astype(np.float32) for name in ("energy", "entropy", "logprob")}
    return Trajectory(
        id=id,
        token_ids=rng.integers(0, 999, n),
        kinds=kinds,
        turns=[turn for _, _, turn in pieces],
        logprobs=np.where(kinds >= REASONING, -0.5, np.nan),
        texts=[piece for piece, _, _ in pieces],
        turn_records=records,
        signals=signals,
        group=id[:7],
        rollout=int(id[8:10]),
        reward=float(success),
        rewards={"correct": (float(success), 1.0), "style": (float("nan"), 0.5)},
        success=success,
        terminated=not error,
        error=error,
        stop_reason="stop" if not error else "",
        **facts,
    )
