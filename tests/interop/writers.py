"""Writers of corpora, one per format: the files of a trainer with their folders, steps and names."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from tests.interop.dialogues import Rollout, all_in_loss, first_in_loss, in_one_context, only_calls, segments
from tests.interop.exact_rows import Row, prime_rl, results, verifiers
from tests.interop.layouts import LAYOUTS, PLAIN, Messages, completion, flagged, prompt
from tests.interop.templates import FAMILIES


@dataclass(frozen=True)
class Writer:
    """How one format is written, and what it can say."""

    format: str
    content: Literal["ids", "text", "bare", "messages"]
    """``bare``: text without special tokens"""
    path: Callable[[Rollout], str]
    """The file in which a rollout stands; the names of a folder sort as they are read"""
    rows: Callable[[Rollout, str, list[Rollout]], list[Row]]
    """(the rollout, the family of its tokenizer, the rollouts of its group and step) -> its records"""
    says: frozenset[str]
    """Of step, env, loss, examples, contexts, components, success, error, words beside calls, and prompt: which messages
    are the prompt, even if the first reply is out of the loss"""

    def written(self, rollout: Rollout) -> Rollout:
        """The rollout as far as this format can say it."""
        rollout = rollout if "contexts" in self.says else in_one_context(rollout)
        if "words beside calls" not in self.says:
            rollout = only_calls(rollout)
        if rollout.stripped or "loss" not in self.says:
            # A context without a sampled token would be left out.
            rollout = all_in_loss(rollout)
        if "prompt" not in self.says:
            rollout = first_in_loss(rollout)
        return replace(
            rollout,
            success=rollout.success if "success" in self.says else None,
            error=rollout.error if "error" in self.says else "",
        )

    def write(self, corpus: list[Rollout], family: str, folder: Path) -> list[Rollout]:
        """Write the files; returns the rollouts as the format can say them, in the order in which they are read."""
        corpus = sorted(map(self.written, corpus), key=lambda rollout: (self.path(rollout), rollout.step))
        files: dict[str, list[Row]] = {}
        for rollout in corpus:
            group = [other for other in corpus if (other.task, other.step) == (rollout.task, rollout.step)]
            files.setdefault(self.path(rollout), []).extend(self.rows(rollout, family, group))
        for name, rows in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith(".parquet"):
                pq.write_table(pa.Table.from_pylist(rows, _trl_schema(rows)), path)
            else:
                path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return corpus


def _key(rollout: Rollout) -> str:
    return f"{rollout.task.env}{rollout.task.number}-{rollout.step}"


# --- text ----------------------------------------------------------------------------------


def prompt_and_completion(rollout: Rollout, family: str, bare: bool) -> tuple[str, str]:
    """The prompt and the completion as a trainer decodes them."""
    (blocks,) = segments(family, rollout)
    halves = blocks[0].ids, [token for block in blocks[1:] for token in block.ids]
    tokenizer = FAMILIES[family]()
    before, after = (tokenizer.decode(ids, skip_special_tokens=bare) for ids in halves)
    return before, after


def _verl(bare: bool, session: bool) -> Callable[[Rollout, str, list[Rollout]], list[Row]]:
    def rows(rollout: Rollout, family: str, group: list[Rollout]) -> list[Row]:
        before, after = prompt_and_completion(rollout, family, bare)
        number = next(i for i, other in enumerate(group) if other is rollout)
        return [
            {
                "input": before,
                "output": after,
                "gts": "",
                "score": rollout.reward,
                "step": rollout.step,
                "data_source": rollout.task.env,
                **({} if rollout.success is None else {"acc": str(rollout.success)}),
                **({"uid": f"{_key(rollout)}_{number}_0"} if session else {}),
            }
        ]

    return rows


def _areal(rollout: Rollout, family: str, group: list[Rollout]) -> list[Row]:
    before, after = prompt_and_completion(rollout, family, False)
    return [
        {
            "task_id": f"{rollout.task.env}{rollout.task.number}",
            "sample_idx": 0,
            "seqlen": 9,
            "prompt_len": 4,
            "head_version": rollout.step,
            "tail_version": rollout.step,
            "reward": rollout.reward,
            "prompt": before,
            "completion": after,
        }
    ]


def _skyrl(rollout: Rollout, family: str, group: list[Rollout]) -> list[Row]:
    before, after = prompt_and_completion(rollout, family, False)
    scores = None if rollout.scores is None else [score for score in rollout.scores.values() if score is not None]
    return [
        {
            "input_prompt": before,
            "output_response": after,
            "score": scores,
            "stop_reason": "stop",
            "env_class": rollout.task.env,
            "env_extras": {},
            "data_source": "x",
        }
    ]


def _trl(content: Literal["text", "bare", "messages"]) -> Callable[[Rollout, str, list[Rollout]], list[Row]]:
    def rows(rollout: Rollout, family: str, group: list[Rollout]) -> list[Row]:
        before: str | Messages
        after: str | Messages
        if content == "messages":
            before, after = prompt(rollout, LAYOUTS["openai"]), completion(rollout, LAYOUTS["openai"])
        else:
            before, after = prompt_and_completion(rollout, family, content == "bare")
        rewards = [other.reward for other in group if other.reward is not None]
        advantage = 0.0 if rollout.reward is None else rollout.reward - sum(rewards) / len(rewards)
        scores = rollout.scores or {}
        columns = {f"{name}_reward": scores.get(name) for name in ("goal", "style")}
        return [{"step": rollout.step, "prompt": before, "completion": after, **columns, "advantage": advantage}]

    return rows


def _trl_schema(rows: list[Row]) -> pa.Schema:
    """Of these rows, but rewards are numbers also where none was scored."""
    fields = {field.name: field.type for field in pa.Table.from_pylist(rows).schema}
    rewards = dict.fromkeys(("goal_reward", "style_reward"), pa.float64())
    return pa.schema([*(fields | rewards).items()])


# --- messages ------------------------------------------------------------------------------


def _ragen(rollout: Rollout, family: str, group: list[Rollout]) -> list[Row]:
    outcome = {} if rollout.success is None else {"T/success": float(rollout.success)}
    metadata = {"env_id": 1, "group_id": rollout.task.number, "tag": rollout.task.env, "total_reward": rollout.reward}
    messages = prompt(rollout, PLAIN) + completion(rollout, PLAIN)
    unstated = {"success": False} if outcome else {}
    return [{"custom_id": "e", "messages": messages, "metadata": {**metadata, **unstated, **outcome}}]


def _chat(layout: str, split: bool = False) -> Callable[[Rollout, str, list[Rollout]], list[Row]]:
    """``split``: with a prompt and a completion."""

    def rows(rollout: Rollout, family: str, group: list[Rollout]) -> list[Row]:
        how = LAYOUTS[layout]
        before = prompt(rollout, how)
        own = completion(rollout, how, None if split else flagged("loss_weight"))
        if split:
            content = {"prompt": before, "completion": own}
        else:
            for message in before:
                if message.get("role", message.get("from")) in ("assistant", "gpt"):
                    message["weight"] = 0
            system = before.pop(0)["content"] if layout == "anthropic" and rollout.task.system else ""
            content = {how[0]: before + own, **({"system": system} if system else {})}
        return [
            {
                **content,
                "group": rollout.task.number,
                "env": rollout.task.env,
                "step": rollout.step,
                "success": rollout.success,
                "error": rollout.error,
                **({} if rollout.scores is None else {"rewards": rollout.scores}),
            }
        ]

    return rows


_SCORED = frozenset({"step", "env", "components", "success", "error", "words beside calls"})
CHAT_SAYS = {True: _SCORED | {"examples"}, False: _SCORED | {"examples", "loss"}}
"""Items of a reply in a split file, as of the Responses API, have no place for a loss flag of the reply as a whole"""


def _says(*what: str) -> frozenset[str]:
    return frozenset({*what, "words beside calls"})


def _in_evals(r: Rollout) -> str:
    return f"outputs/evals/{r.task.env}--model/aaaa/results.jsonl"


def _in_completions(r: Rollout) -> str:
    return f"completions/completions_{r.step:05d}.parquet"


def _in_steps(name: str) -> Callable[[Rollout], str]:
    return lambda rollout: name.format(step=rollout.step, env=rollout.task.env, number=rollout.task.number)


WRITERS: dict[str, Writer] = {
    "verifiers": Writer(
        "verifiers",
        "ids",
        _in_steps("step_{step}/train/all/traces.jsonl"),
        verifiers(True),
        _says("step", "env", "loss", "examples", "prompt", "contexts", "components", "error"),
    ),
    "verifiers-messages": Writer(
        "verifiers",
        "messages",
        _in_steps("step_{step}/train/all/traces.jsonl"),
        verifiers(False),
        _says("step", "env", "loss", "examples", "prompt", "components", "error"),
    ),
    "verifiers-v0": Writer(
        "verifiers", "ids", _in_evals, results(True), _says("env", "loss", "examples", "prompt", "contexts", "error")
    ),
    "verifiers-v0-messages": Writer(
        "verifiers", "messages", _in_evals, results(False), _says("env", "loss", "examples", "prompt", "error")
    ),
    "prime-rl": Writer(
        "prime-rl",
        "ids",
        _in_steps("token_exports/step_{step}/rank_0.jsonl"),
        prime_rl,
        _says("step", "env", "loss", "examples"),
    ),
    "verl": Writer(
        "verl", "text", _in_steps("{step}.jsonl"), _verl(False, True), _says("step", "env", "examples", "success")
    ),
    "verl-bare": Writer(
        "verl", "bare", _in_steps("{step}.jsonl"), _verl(True, False), _says("step", "env", "examples", "success")
    ),
    "trl-text": Writer("trl", "text", _in_completions, _trl("text"), _says("step", "examples", "components")),
    "trl-bare": Writer("trl", "bare", _in_completions, _trl("bare"), _says("step", "examples", "components")),
    "trl": Writer("trl", "messages", _in_completions, _trl("messages"), _says("step", "examples", "components")),
    "ragen": Writer("ragen", "messages", _in_steps("eval.jsonl"), _ragen, _says("env", "success")),
    "areal": Writer(
        "areal", "text", _in_steps("rollout/{step}/{env}{number}.jsonl"), _areal, _says("step", "examples")
    ),
    "skyrl": Writer(
        "skyrl",
        "text",
        _in_steps("dumped_evals/global_step_{step}_evals/{env}.jsonl"),
        _skyrl,
        _says("step", "env", "examples"),
    ),
    **{
        f"chat-{name}": Writer("chat", "messages", _in_steps("chat.jsonl"), _chat(name, split), CHAT_SAYS[split])
        for name, split in [
            ("plain", False),
            ("openai", False),
            ("repeating", False),
            ("responses", True),
            ("anthropic", False),
            ("llama-factory", False),
        ]
    },
    "chat-sharegpt": Writer(
        "chat", "messages", _in_steps("chat.jsonl"), _chat("sharegpt", False), CHAT_SAYS[False] - {"words beside calls"}
    ),
}
"""Name -> how it is written."""
