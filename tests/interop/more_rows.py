"""Records of further trainers and benchmarks, as their programs write them, made of the small dialogue of ``files``."""

from __future__ import annotations

from tests.interop.files import FIRST, REPLIES, SECOND, SYSTEM, stream

CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"id": 0}'}}


def flat(tokenizer, reply: int = 0) -> tuple[list[int], list[int]]:
    """The ids of the small dialogue, and 1 where they were sampled."""
    blocks = stream(tokenizer, reply)
    return [i for ids, _ in blocks for i in ids], [int(sampled) for ids, sampled in blocks for _ in ids]


def nemo_rl(tokenizer, number: int = 0) -> dict:
    """A batch of one, padded by two tokens; the third rollout is out of the loss."""
    ids, mask = flat(tokenizer, number % 2)
    row = {
        "content": ["text"],
        "rewards": [float(number)],
        "input_lengths": [len(ids)],
        "token_ids": [[*ids, 0, 0]],
        "token_loss_mask": [[*mask, 0, 0]],
        "sample_loss_mask": [float(number < 2)],
    }
    scores = {"advantages": 0.5, "generation_logprobs": -0.25, "prev_logprobs": -0.5}
    return {**row, **{name: [[value] * (len(ids) + 2)] for name, value in scores.items()}, "idx": number}


def reply(text: str, **tokens) -> dict:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}], **tokens}


def nemo_gym(output: list[dict] | None = None, task: int = 0) -> dict:
    """A rollout with these items, by default those of the small dialogue."""
    turns = [reply(REPLIES[0]), {"type": "message", "role": "user", "content": SECOND}, reply(REPLIES[1])]
    return {
        "responses_create_params": {
            "input": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": FIRST, "type": "message"}],
            "model": "m",
        },
        "response": {"model": "m", "object": "response", "output": turns if output is None else output},
        "reward": 2.0,
        "_ng_task_index": task,
        "_ng_rollout_index": 0,
        "agent_ref": {"name": "walker"},
    }


def atropos(tokenizer) -> dict:
    """A group of two rollouts."""
    both = [flat(tokenizer, number) for number in (0, 1)]
    return {
        "tokens": [ids for ids, _ in both],
        "masks": [[i if m else -100 for i, m in zip(ids, mask)] for ids, mask in both],
        "scores": [1.0, -1.0],
        "advantages": None,
        "ref_logprobs": [],
        "messages": [[], []],
        "inference_logprobs": [[-0.5 if m else 1.0 for m in mask] for _, mask in both],
    }


def tau_messages(task: int) -> list[dict]:
    return [
        {"role": "system", "content": "Policy."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": f"found {task}", "tool_call_id": "c"},
        {"role": "assistant", "content": "Done."},
    ]


def tau(number: int) -> dict:
    """Two trials of each task."""
    one = {"task_id": number // 2, "trial": number % 2, "reward": float(number % 2), "info": {}}
    return {**one, "traj": tau_messages(number // 2)}


def swe_agent() -> dict:
    looked = {"role": "assistant", "content": "I look.", "thought": "I look.", "action": "ls", "tool_calls": [CALL]}
    history = [
        {"role": "system", "content": "You fix bugs.", "agent": "main"},
        {"role": "user", "content": "Fix a.py", "agent": "main", "is_demo": True},
        {**looked, "agent": "main"},
        {"role": "tool", "content": "a.py", "tool_call_ids": ["c"], "agent": "main"},
    ]
    info = {"exit_status": "submitted (exit_cost)"}
    return {"environment": "main", "trajectory": [], "history": history, "info": info}


def token_ids(tokenizer, number: int) -> dict:
    """As a line of ``convert_dump``, or of code of one's own."""
    ids, mask = flat(tokenizer)
    own = [-0.5 if sampled else None for sampled in mask]
    trainer = [-0.75 if sampled else 0.0 for sampled in mask]
    scores = {"logprobs": own, "trainer_logprobs": trainer, "advantages": [0.5 - number] * len(ids)}
    about = {"reward": 1.0 - number, "group": 7, "step": 4, "truncated": bool(number), "difficulty": 3, "success": None}
    return {"token_ids": ids, "loss_mask": mask, **scores, **about}


def prompt_response(number: int) -> dict:
    scores = {"values": [0.1], "response_tokens": ["a"]}
    return {"prompt": "Which door?", "response": REPLIES[number], "reward": 1.0 - number, "step": 3, **scores}


def records(name: str, tokenizer) -> list[dict]:
    """Two records of a format."""
    make = {
        "nemo-rl": lambda number: nemo_rl(tokenizer, number),
        "nemo-gym": lambda number: nemo_gym(task=number),
        "atropos": lambda number: atropos(tokenizer),
        "tau-bench": tau,
        "swe-agent": lambda number: swe_agent(),
        "tokens": lambda number: token_ids(tokenizer, number),
        "prompt-response": prompt_response,
    }[name]
    return [make(0), make(1)]


FORMATS = ("nemo-rl", "nemo-gym", "atropos", "tau-bench", "swe-agent", "tokens", "prompt-response")
