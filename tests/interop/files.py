"""Small files as each trainer writes them, made of one little dialogue."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actfocus_core.credit import Batch

SYSTEM, FIRST, SECOND = "You walk on ice.", "P (0,0) G (3,3)", "P (1,0) G (3,3)"
REPLIES = ["<think>go right</think><answer>Right</answer>", "<think>now é🙂</think>\n<answer>Down || Down</answer>"]
FORMATS = ("verifiers", "verifiers-v0", "prime-rl", "verl", "trl", "ragen", "areal", "skyrl", "chat")
EXACT = ("verifiers", "verifiers-v0", "prime-rl")


def messages(reply: int = 0) -> list[dict]:
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": FIRST},
        {"role": "assistant", "content": REPLIES[reply]},
        {"role": "user", "content": SECOND},
        {"role": "assistant", "content": REPLIES[1]},
    ]


def stream(tokenizer, reply: int = 0) -> list[tuple[list[int], bool]]:
    """The dialogue's ids as blocks of (ids, sampled), as a sampler would have seen them."""

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    opening = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{FIRST}<|im_end|>\n<|im_start|>assistant\n"
    following = f"\n<|im_start|>user\n{SECOND}<|im_end|>\n<|im_start|>assistant\n"
    return [
        (encode(opening), False),
        (encode(REPLIES[reply] + "<|im_end|>"), True),
        (encode(following), False),
        (encode(REPLIES[1] + "<|im_end|>"), True),
    ]


def records(name: str, tokenizer) -> list[dict]:
    """Four rollouts: two prompts' worth of two, the second without reward."""
    return [_record(name, tokenizer, number) for number in range(4)]


def _record(name: str, tokenizer, number: int) -> dict:
    group, reply = number // 2, number % 2
    reward = 1.0 if reply == 0 else 0.0
    blocks = stream(tokenizer, reply)
    ids = [i for block, _ in blocks for i in block]
    mask = [sampled for block, sampled in blocks for _ in block]
    logprobs = [-0.25 * (i % 7) for i in range(len(ids))]
    if name == "verifiers":
        return _episode(blocks, group, reply, reward)
    if name == "verifiers-v0":
        cut = len(blocks[0][0]) + len(blocks[1][0]) + len(blocks[2][0])
        first = len(blocks[0][0])
        return {
            "example_id": group,
            "prompt": messages(reply)[:2],
            "completion": messages(reply)[2:],
            "reward": reward,
            "is_completed": True,
            "is_truncated": False,
            "answer": "",
            "metrics": {},
            "trajectory": [_turn(ids[:first], blocks[1][0]), _turn(ids[:cut], blocks[3][0])],
        }
    if name == "prime-rl":
        return {
            "schema_version": 1,
            "step": 3,
            "export_step": 3,
            "rank": 0,
            "micro_step": 0,
            "env_name": "lake",
            "token_ids": ids,
            "position_ids": list(range(len(ids))),
            "loss_mask": mask,
            "advantages": [reward - 0.5 if m else 0.0 for m in mask],
            "inference_logprobs": logprobs,
            "trainer_logprobs": logprobs,
            "entropy": [0.5] * len(ids),
            "mismatch_kl": [None] * len(ids),
            "rewards": [reward] * len(ids),
        }
    if name == "verl":
        return {
            "input": f"system\n{SYSTEM}\nuser\n{FIRST} {group}\nassistant\n",
            "gts": "",
            "score": reward,
            "step": 7,
            "output": f"{REPLIES[reply]}\nuser\n{SECOND}\nassistant\n{REPLIES[1]}",
            "acc": reward,
        }
    if name == "trl":
        return {
            "step": 5,
            "prompt": messages(reply)[:2],
            "completion": messages(reply)[2:],
            "accuracy_reward": reward,
            "format_reward": 0.5,
            "advantage": reward - 0.5,
        }
    if name == "ragen":
        return {
            "custom_id": f"env-{number}",
            "messages": messages(reply),
            "metadata": {
                "env_id": number,
                "group_id": group,
                "num_turns": 2,
                "total_reward": reward,
                "success": bool(reward),
                "tag": "FrozenLake",
                "n_tokens": 9,
            },
        }
    if name == "areal":
        return {
            "task_id": f"t{group}",
            "sample_idx": reply,
            "seqlen": 40,
            "prompt_len": 10,
            "head_version": 2,
            "tail_version": 2,
            "reward": reward,
            "prompt": FIRST,
            "completion": REPLIES[reply],
        }
    if name == "skyrl":
        return {
            "input_prompt": FIRST,
            "output_response": REPLIES[reply],
            "score": [0.0, reward],
            "stop_reason": "stop",
            "env_class": "lake",
            "env_extras": {},
            "data_source": "x",
        }
    return {"messages": messages(reply), "reward": reward, "group": f"g {group}"}


def _turn(prompt: list[int], completion: list[int]) -> dict:
    return {
        "tokens": {
            "prompt_ids": prompt,
            "prompt_mask": [0] * len(prompt),
            "completion_ids": completion,
            "completion_mask": [1] * len(completion),
            "completion_logprobs": [-0.5] * len(completion),
        },
        "advantage": 0.25,
        "reward": 0.0,
    }


def _episode(blocks, group: int, reply: int, reward: float) -> dict:
    dialogue, nodes = messages(reply), []
    # The system message with its header, then each message with the scaffold before it.
    (opening, _), (first, _), (following, _), (second, _) = blocks
    for parent, (message, ids, sampled) in enumerate(
        [
            (dialogue[0], opening[:5], False),
            (dialogue[1], opening[5:], False),
            (dialogue[2], first, True),
            (dialogue[3], following, False),
            (dialogue[4], second, True),
        ],
        -1,
    ):
        nodes.append(
            {
                "parent": parent if parent >= 0 else None,
                "message": message,
                "sampled": sampled,
                "token_ids": ids,
                "mask": [sampled] * len(ids),
                "is_content": [],
                "logprobs": [-0.5] * len(ids) if sampled else [],
                **({"advantages": [0.5] * len(ids), "reference_logprobs": [-0.75] * len(ids)} if sampled else {}),
            }
        )
    trace = {
        "version": 1,
        "id": f"tr{group}{reply}",
        "nodes": nodes,
        "calls": [],
        "metrics": {},
        "rewards": {"goal": {"score": reward, "weight": 1.0}, "style": {"score": 0.5, "weight": 0.0}},
        "agent": {"name": "agent", "config": {"model": "some-model"}},
        "is_completed": True,
    }
    return {
        "id": f"e{group}{reply}",
        "env": {"id": "lake"},
        "task": {"type": "T", "data": {"idx": group}},
        "group": {"id": f"g{group}"},
        "ok": True,
        "errors": [],
        "traces": [trace],
        "run": {"type": "train", "id": "r", "work": {"type": "train", "step": 4}},
    }


def write(name: str, folder: Path, rows: list[dict]) -> Path:
    """A file of these records, named as the trainer names it."""
    if name == "trl":
        path = folder / "completions_00005.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    path = folder / {
        "verifiers": "traces.jsonl",
        "verifiers-v0": "results.jsonl",
        "prime-rl": "rank_0.jsonl",
        "verl": "7.jsonl",
    }.get(name, f"{name}.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def same(a, b, but: tuple[str, ...] = ()) -> None:
    """Two trajectories are equal in every field."""
    for name, value in vars(a).items():
        other = getattr(b, name)
        if name in but:
            continue
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, other, err_msg=name)
            assert value.dtype == other.dtype
        elif name in ("signals", "recorded"):
            assert value.keys() == other.keys()
            for signal in value:
                np.testing.assert_array_equal(value[signal], other[signal])
        elif name == "alternatives" and value is not None:
            np.testing.assert_array_equal(value.ids, other.ids)
            np.testing.assert_array_equal(value.logprobs, other.logprobs)
            assert value.texts == other.texts
        elif isinstance(value, float) and np.isnan(value):
            assert np.isnan(other), name
        elif name == "rewards":
            assert repr(value) == repr(other)
        else:
            assert value == other, name


def advantages(trajectories) -> list[float]:
    """GRPO's, one a trajectory."""
    batch = Batch.of(trajectories)
    return [round(float(batch.grpo()[(batch.index == i) & batch.response].mean()), 3) for i in range(len(trajectories))]
