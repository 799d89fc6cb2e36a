"""Dialogues of any shape, as hypothesis strategies, and what the tokens of a sampler would be for them.

A corpus is a list of rollouts of several tasks, environments and steps; ``writers`` writes it as each trainer does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from tests.interop.templates import FAMILIES

PLACEHOLDER = "the-reply-51c9"
WORDS = [
    "user",
    "assistant",
    "model",
    "system",
    "superuser",
    "ipython",
    "door",
    "A",
    "é",
    "日本",
    "42",
    "-4",
    "🙂",
    "left.",
]
LINE = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join).filter(lambda line: line not in WORDS[:6])
"""A line is never a role word alone: nothing tells such a line from a header without special tokens."""
TEXT = st.lists(LINE, min_size=1, max_size=3).map("\n".join) | st.lists(LINE, min_size=1, max_size=2).map("\n\n".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**18) | st.sampled_from([0.5, -1e9]) | LINE | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["x", "é", "user"]), inner, max_size=2),
    max_leaves=4,
)


@dataclass(frozen=True)
class Call:
    """A tool call."""

    name: str
    arguments: dict[str, Any]

    @property
    def object(self) -> dict[str, Any]:
        return {"name": self.name, "arguments": self.arguments}


@dataclass(frozen=True)
class Reply:
    """A message of the policy."""

    text: str
    """Empty only beside calls"""
    thought: str = ""
    calls: tuple[Call, ...] = ()
    in_loss: bool = True

    @property
    def after_thought(self) -> str:
        calls = [f"<tool_call>\n{json.dumps(call.object, ensure_ascii=False)}\n</tool_call>" for call in self.calls]
        return "\n".join([*filter(None, [self.text]), *calls])

    @property
    def written(self) -> str:
        """The reply as text, with its reasoning."""
        return (f"<think>\n{self.thought}\n</think>\n" if self.thought else "") + self.after_thought


@dataclass(frozen=True)
class Turn:
    """What the environment says, as (role, text), and the reply."""

    said: tuple[tuple[str, str], ...]
    reply: Reply


@dataclass(frozen=True)
class Task:
    """A prompt: the beginning of all rollouts of a group."""

    env: str
    number: int
    """Counts from 0 in each environment"""
    system: str
    examples: tuple[Turn, ...]
    question: str
    thinks: bool | None
    """Whether all replies have reasoning, where the prompt's end opens or closes it; None where it does not"""


@dataclass(frozen=True)
class Rollout:
    task: Task
    step: int
    turns: tuple[Turn, ...]
    scores: dict[str, float | None] | None
    """None: not scored"""
    success: bool | None = None
    error: str = ""
    stripped: bool = False
    """Whether the prompts of later turns lack the reasoning of earlier ones"""

    @property
    def reward(self) -> float | None:
        return None if self.scores is None else sum(score for score in self.scores.values() if score is not None)


@st.composite
def replies(draw: st.DrawFn, tag: str, thinks: bool, calls: int) -> Reply:
    """``tag``: a word that no other reply has; it is in the reasoning."""
    thought = f"{draw(TEXT)} {tag}" if thinks else ""
    answer = "<answer>{}</answer>".format(draw(st.sampled_from(["A", "-4", "two\nlines", "Left || Up"])))
    made = tuple(
        Call(
            draw(st.sampled_from(["calc", "user"])),
            draw(st.dictionaries(st.sampled_from(["a", "b"]), JSON, max_size=2)),
        )
        for _ in range(calls)
    )
    text = (
        draw(st.just("") | TEXT)
        if calls
        else draw(st.just(answer) | TEXT.map(lambda text: f"{text}.\n{answer}") | TEXT)
    )
    return Reply(text, thought, made, draw(st.sampled_from([True, True, True, False])))


@st.composite
def turns(draw: st.DrawFn, family: str, task: Task, tag: str) -> tuple[Turn, ...]:
    """The turns of a rollout; the last reply is in the loss."""
    said: tuple[tuple[str, str], ...] = (("user", task.question),)
    made = []
    count = draw(st.integers(1, 3))
    for number in range(count):
        calls = draw(st.sampled_from([0, 1] if family == "gemma" else [0, 1, 2])) if number < count - 1 else 0
        thinks = draw(st.booleans()) if task.thinks is None else task.thinks
        reply = draw(replies(f"{tag}.{number}", thinks, calls))
        made.append(Turn(said, replace(reply, in_loss=reply.in_loss or number == count - 1)))
        said = tuple(("tool", draw(LINE)) for _ in range(calls)) or (("user", draw(LINE)),)
    return tuple(made)


@st.composite
def tasks(draw: st.DrawFn, family: str, env: str, number: int) -> Task:
    examples = draw(st.integers(0, 1))
    made = tuple(Turn((("user", draw(LINE)),), Reply(f"{draw(LINE)} example {n}")) for n in range(examples))
    thinks = draw(st.booleans()) if family == "chatml_think" else None
    return Task(env, number, draw(st.just("") | TEXT), made, f"{draw(TEXT)} {env}{number}", thinks)


@st.composite
def corpora(draw: st.DrawFn, family: str) -> list[Rollout]:
    """Rollouts of one or more tasks in two environments and two steps."""
    places = draw(
        st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(1, 2)), min_size=1, max_size=5)
    )
    made = {place: draw(tasks(family, *place)) for place in sorted({(env, number) for env, number, _ in places})}
    corpus = []
    for index, (env, number, step) in enumerate(places):
        task = made[env, number]
        scores = draw(
            st.none()
            | st.fixed_dictionaries({"goal": st.sampled_from([0.0, 1.0]), "style": st.sampled_from([0.5, -0.25, None])})
        )
        corpus.append(
            Rollout(
                task,
                step,
                draw(turns(family, task, f"thought{index}")),
                scores,
                draw(st.sampled_from([None, True, False])),
                draw(st.sampled_from(["", "", "ToolError: é"])),
                draw(st.booleans()),
            )
        )
    return corpus


# --- as tokens -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A part of a stream that is encoded by itself."""

    text: str
    ids: list[int]
    reply: Reply | None
    """None: context"""

    @property
    def sampled(self) -> bool:
        return self.reply is not None and self.reply.in_loss


def encoded(family: str, text: str) -> list[int]:
    return FAMILIES[family]()(text, add_special_tokens=False)["input_ids"]


def end_of(family: str) -> str:
    """The token that ends a reply."""
    return FAMILIES[family]().eos_token


def sampled_text(family: str, reply: Reply) -> str:
    """What is sampled after the generation prompt, which may open or close the reasoning."""
    return reply.written.removeprefix("<think>\n") if family == "chatml_think" else reply.written


def chat(family: str, task: Task, made: tuple[Turn, ...], said: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    """The messages before a reply; ``made``: the turns before it."""
    messages = [("system", task.system)] if task.system else []
    for turn in (*task.examples, *made):
        messages += [*turn.said, ("assistant", turn.reply.written)]
    roles = {"tool": "user"} if family == "gemma" else {}
    return [{"role": roles.get(role, role), "content": text} for role, text in (*messages, *said)]


def rendered(family: str, messages: list[dict[str, str]], thinks: bool) -> str:
    return FAMILIES[family]().apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, enable_thinking=thinks
    )


def segments(family: str, rollout: Rollout) -> list[list[Block]]:
    """The contexts of a rollout: a turn begins a new one if its prompt does not continue the stream."""
    found: list[list[Block]] = []
    text = ""
    for number, turn in enumerate(rollout.turns):
        thinks, before = bool(turn.reply.thought), rollout.turns[:number]
        if number and rollout.stripped:
            before = tuple(replace(t, reply=replace(t.reply, thought="")) for t in before)
            prompt = rendered(family, chat(family, rollout.task, before, turn.said), thinks)
        elif number:
            messages = chat(family, rollout.task, before, turn.said)
            messages[-len(turn.said) - 1]["content"] = PLACEHOLDER
            after = rendered(family, messages, thinks).split(PLACEHOLDER)[1]
            prompt = text + after.removeprefix(end_of(family))
        else:
            prompt = rendered(family, chat(family, rollout.task, (), turn.said), thinks)
        if not found or not prompt.startswith(text):
            found.append([])
            text = ""
        context = prompt[len(text) :]
        reply = sampled_text(family, turn.reply) + end_of(family)
        found[-1] += [
            Block(context, encoded(family, context), None),
            Block(reply, encoded(family, reply), turn.reply),
        ]
        text = prompt + reply
    return found


def in_one_context(rollout: Rollout) -> Rollout:
    """The rollout for formats that have one context per rollout."""
    return replace(rollout, stripped=False)


def all_in_loss(rollout: Rollout) -> Rollout:
    """The rollout for formats that cannot say that a reply is out of the loss."""
    return replace(
        rollout, turns=tuple(replace(turn, reply=replace(turn.reply, in_loss=True)) for turn in rollout.turns)
    )


def first_in_loss(rollout: Rollout) -> Rollout:
    """The rollout for formats that cannot tell a reply out of the loss from the prompt."""
    first, *rest = rollout.turns
    return replace(rollout, turns=(replace(first, reply=replace(first.reply, in_loss=True)), *rest))


def only_calls(rollout: Rollout) -> Rollout:
    """The rollout for formats in which a message of calls has no other text than reasoning."""
    return replace(
        rollout,
        turns=tuple(
            replace(turn, reply=replace(turn.reply, text="")) if turn.reply.calls else turn for turn in rollout.turns
        ),
    )


def observed(family: str, said: tuple[tuple[str, str], ...], written_by_template: bool) -> str:
    """The environment's text before a reply: as in the messages, or with the template's text around tool results."""
    texts = [text for _, text in said]
    if not written_by_template or said[0][0] != "tool" or family in ("gemma", "special_only"):
        return "".join(texts)
    if family == "llama3":
        return "".join(json.dumps(text, ensure_ascii=False) for text in texts)
    return "\n".join(f"<tool_response>\n{text}\n</tool_response>" for text in texts)
