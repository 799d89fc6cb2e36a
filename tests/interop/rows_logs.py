"""Records of traces, logged calls and evaluations, as their programs write them, made of the small dialogue of ``files``."""

from __future__ import annotations

import json

from tests.interop.files import FIRST, REPLIES, SYSTEM, messages, stream

CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"id": 0}'}}


def turns(tokenizer, reply: int = 0) -> list[tuple[list[int], list[int]]]:
    """The ids before each reply, and those of the reply."""
    blocks = [ids for ids, _ in stream(tokenizer, reply)]
    return [(blocks[0], blocks[1]), ([*blocks[0], *blocks[1], *blocks[2]], blocks[3])]


def flat(tokenizer, reply: int = 0) -> tuple[list[int], list[bool]]:
    """The ids of the small dialogue, and whether they were sampled."""
    blocks = stream(tokenizer, reply)
    return [i for ids, _ in blocks for i in ids], [sampled for ids, sampled in blocks for _ in ids]


def pieces(tokenizer, text: str) -> list[dict]:
    """The tokens of a text as OpenAI returns them, each with the log-prob -0.25."""
    encoded = tokenizer(text, add_special_tokens=False)["input_ids"]
    backend = tokenizer.backend_tokenizer
    symbols = [backend.id_to_token(i) for i in encoded]
    return [
        {"token": tokenizer.decode([i]), "logprob": -0.25, "bytes": list(token_bytes(s))}
        for i, s in zip(encoded, symbols)
    ]


def token_bytes(symbol: str) -> bytes:
    """The bytes of a token of the tests' byte-level tokenizer."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_of = {character: byte for byte, character in bytes_to_unicode().items()}
    return symbol.encode() if symbol.startswith("<|") else bytes(byte_of[character] for character in symbol)


def trackio(number: int) -> dict:
    """A trace as the interface of trackio returns it, with the metadata of TRL."""
    metadata = {"reward": 1.0 - number, "rewards/goal": 1.0 - number, "advantage": 0.5 - number, "group_id": 7}
    row = {"id": f"r:{number}", "key": "rollouts", "index": number, "run": "r", "run_id": "r", "step": 4}
    return {**row, "timestamp": "t", "messages": messages(number), "metadata": {**metadata, "model_version": 3}}


def tinker(tokenizer, number: int, **scope) -> dict:
    """One call of two samples, as the sink writes it."""
    prompt, _ = turns(tokenizer)[0]
    return {
        "kind": "sample",
        "scope": {"run_id": "r", "iteration": 2, "group_idx": number, **scope},
        "created_at": 5.0,
        "prompt_tokens": prompt,
        "model_path": "m",
        "samples": [
            {
                "tokens": turns(tokenizer, n)[0][1],
                "logprobs": [-0.5] * len(turns(tokenizer, n)[0][1]),
                "stop_reason": "stop",
            }
            for n in (0, 1)
        ],
        "status": "ok",
    }


def tinker_turn(tokenizer, turn: int, trajectory: int = 0, **more) -> dict:
    """A turn of a trajectory."""
    prompt, reply = turns(tokenizer)[turn]
    call = tinker(tokenizer, 0, traj_idx=trajectory, split="train")
    sample = {"tokens": reply, "logprobs": [-0.5] * len(reply), "stop_reason": "stop"}
    return {**call, "prompt_tokens": prompt, "samples": [sample], "created_at": 5.0 + turn, **more}


def tinker_summary(tokenizer, trajectory: int = 0, **more) -> dict:
    """Rewards 0.25 and 0.5 of the turns, and 1 of the group."""
    lengths = [len(reply) for _, reply in turns(tokenizer)]
    steps = [
        {"step_idx": n, "ob_len": 1, "ac_len": lengths[n], "reward": 0.25 * (n + 1), "metrics": {}} for n in (0, 1)
    ]
    place = {"split": "train", "iteration": 2, "group_idx": 0, "traj_idx": trajectory}
    rest = {"total_reward": 1.75, "final_reward": 1.0, "trajectory_metrics": {"correct": 1.0}, "steps": steps}
    return {"schema_version": 1, **place, "tags": [], "sampling_client_step": 2, **rest, "final_ob_len": 0, **more}


def tinker_trajectory(number: int) -> dict:
    said = [
        {"role": "environment" if m["role"] == "user" else m["role"], "content": m["content"]} for m in messages(number)
    ]
    said = [{**turn, "token_count": 3, "metadata": {}} for turn in said]
    row = {"idx": number, "benchmark": "lake", "example_id": "e0", "turns": said, "reward": 1.0 - number}
    return {**row, "metrics": {"correct": 1.0 - number}, "logs": {}, "error": None, "time_seconds": 1.0}


def rllm(tokenizer, number: int, exact: bool = True) -> dict:
    """An episode of the evaluation's store, or of the training's log."""
    ids = turns(tokenizer, number)
    steps = []
    for turn in (0, 1):
        prompt, reply = ids[turn]
        step = {"reward": 0.25, "done": turn == 1, "chat_completions": messages(number)[: 3 + 2 * turn]}
        if exact:
            step |= {"prompt_ids": prompt, "response_ids": reply, "logprobs": [-0.5] * len(reply), "advantage": 0.125}
        steps.append(step)
    trajectory = {"uid": "u", "name": "solver", "reward": 0.5, "steps": steps}
    episode = {
        "task": {"question": "?"},
        "termination_reason": "env_done",
        "is_correct": number == 0,
        "session_id": None,
    }
    episode |= {"trajectories": [trajectory], "metrics": {"tools": 2}}
    return {**episode, "id": f"t0:{number}"} if exact else {**episode, "episode_id": f"t0:{number}", "training_step": 6}


def art(number: int) -> dict:
    """A group of two trajectories."""
    return {
        "trajectories": [
            {
                "reward": 1.0 - reply,
                "metrics": {"correct": reply == 0, "calls": 2},
                "metadata": {"task": f"t{number}"},
                "messages_and_choices": [
                    {"finish_reason": "stop", "index": 0, "message": message}
                    if message["role"] == "assistant"
                    else message
                    for message in messages(reply)
                ],
                "tools": None,
                "logs": [],
            }
            for reply in (0, 1)
        ]
    }


def atif(tokenizer, number: int, exact: bool = True) -> dict:
    """A trajectory of Harbor with ids, or without."""
    steps: list[dict] = []
    ids = iter(turns(tokenizer, number))
    for message in messages(number):
        source = "agent" if message["role"] == "assistant" else message["role"]
        step = {"step_id": len(steps) + 1, "source": source, "message": message["content"]}
        if source == "agent" and exact:
            prompt, reply = next(ids)
            step["metrics"] = {
                "prompt_token_ids": prompt,
                "completion_token_ids": reply,
                "logprobs": [-0.5] * len(reply),
            }
        steps.append(step)
    agent = {"name": "terminus-2", "version": "2", "model_name": "m"}
    return {"schema_version": "ATIF-v1.6", "session_id": f"s{number}", "agent": agent, "steps": steps}


def inspect(number: int) -> dict:
    """A log of one sample and two epochs."""
    samples = [
        {
            "id": number,
            "epoch": epoch + 1,
            "input": FIRST,
            "target": "goal",
            "messages": [
                {"id": f"m{n}", **message, **({"source": "generate"} if message["role"] == "assistant" else {})}
                for n, message in enumerate(messages(epoch))
            ],
            "output": {"model": "m", "choices": [{"message": {"id": "m4"}, "stop_reason": "stop"}]},
            "scores": {"goal": {"value": "CI"[epoch]}},
            "metadata": {"level": "easy"},
        }
        for epoch in (0, 1)
    ]
    header = {"version": 2, "status": "success", "eval": {"eval_id": "e", "task": "lake", "model": "m"}}
    return {**header, "plan": {}, "samples": samples}


def completion(tokenizer, number: int, **more) -> dict:
    """A logged call with the log-probs of its choice."""
    choice = {"index": 0, "message": {"role": "assistant", "content": REPLIES[number]}, "finish_reason": "stop"}
    choice["logprobs"] = {"content": pieces(tokenizer, REPLIES[number])}
    request = {"model": "m", "messages": messages()[:2]}
    return {"request": request, "response": {"model": "m", "choices": [choice]}, "reward": 1.0 - number, **more}


def chat_span(turn: int, trace: str = "a", **attributes) -> dict:
    """The span of one call, flat, with its messages as JSON text."""
    dialogue = [{"role": m["role"], "parts": [{"type": "text", "content": m["content"]}]} for m in messages()]
    end = 2 + 2 * turn
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": SYSTEM}]),
        "gen_ai.input.messages": json.dumps(dialogue[1:end]),
        "gen_ai.output.messages": json.dumps([{**dialogue[end], "finish_reason": "stop"}]),
    }
    context = {"trace_id": f"0x{trace}", "span_id": f"0x{turn}"}
    start = f"2026-11-01T00:00:0{turn}Z"
    return {
        "name": "chat m",
        "context": context,
        "parent_id": None,
        "start_time": start,
        "attributes": told | attributes,
    }


def otlp(spans: list[dict]) -> dict:
    """Flat spans as a document of OTLP's JSON."""

    def value(inner) -> dict:
        if isinstance(inner, list):
            return {"arrayValue": {"values": [value(one) for one in inner]}}
        return {"doubleValue": inner} if isinstance(inner, float) else {"stringValue": inner}

    def pairs(attributes: dict) -> list[dict]:
        return [{"key": key, "value": value(inner)} for key, inner in attributes.items()]

    found = [
        {
            "traceId": span["context"]["trace_id"],
            "spanId": span["context"]["span_id"],
            "name": span["name"],
            "startTimeUnixNano": str(10 + number),
            "attributes": pairs(span["attributes"]),
            "events": [{"name": e["name"], "attributes": pairs(e["attributes"])} for e in span.get("events", [])],
        }
        for number, span in enumerate(spans)
    ]
    resource = {"attributes": pairs({"service.name": "lake"})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": found}]}]}


def records(name: str, tokenizer) -> list[dict]:
    """Two records of a format, each with whole rollouts."""
    make = {
        "trackio": trackio,
        "tinker": lambda number: tinker(tokenizer, number),
        "rllm": lambda number: rllm(tokenizer, number),
        "art": art,
        "atif": lambda number: atif(tokenizer, number),
        "inspect": inspect,
        "completions": lambda number: completion(tokenizer, number),
        "otel": lambda number: otlp([chat_span(turn, f"t{number}") for turn in (0, 1)]),
    }[name]
    return [make(0), make(1)]


FORMATS = ("trackio", "tinker", "rllm", "art", "atif", "inspect", "completions", "otel")
