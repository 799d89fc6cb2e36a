"""``Sample``: one rollout as read from a file, as messages, as text, or as exact token ids."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

import numpy as np

from actfocus_core.interop.messages import Message, as_context, dialogue_or_text
from actfocus_core.interop.reading import Record
from actfocus_core.interop.scored import Exact, Scored
from actfocus_core.runs.provenance import Source
from actfocus_core.trajectory import Component

SAMPLED = 255
"""In ``kinds``: the policy sampled the token; a span rule later determines its kind."""

RECORDED = Source(how="recorded")
BY_ROLE = Source(how="derived", rule="every message of the assistant counts as sampled: the file marks none")
BY_COMPLETION = Source(how="derived", rule="the messages of the assistant in the completion")
BY_PROMPT = Source(how="derived", rule="rollouts with equal prompts are one group")


@dataclass(frozen=True)
class Part:
    """A piece of plain text and its kind, SAMPLED if the policy wrote it."""

    text: str
    kind: int
    exact: Exact | None = None
    """Its tokens, if they are known"""


@dataclass(frozen=True)
class Text:
    """A prompt and a completion as text, in which the turns of the environment may stand between role headers."""

    prompt: str
    completion: str
    scored: Scored | None = None
    """The tokens of the completion with their scores, if the file has them"""


@dataclass(frozen=True)
class Tokens:
    """The exact token stream."""

    ids: np.ndarray
    """int32 [T]"""
    sampled: np.ndarray
    """bool [T]"""
    logprobs: np.ndarray
    """float32 [T], NaN where not scored"""
    signals: dict[str, np.ndarray] = field(default_factory=dict)
    """name -> float32 [T]"""
    kinds: np.ndarray | None = None
    """uint8 [T], SAMPLED or a TokenKind; None where only ``sampled`` is known"""
    prompt: int | None = None
    """Number of tokens before the first reply, which may be out of the loss; None where the file does not state it"""


Content = list[Message] | Text | Tokens


@dataclass
class Sample:
    """One rollout, or one context of a rollout, as read from a file."""

    where: str
    """Its file and line, for messages"""
    content: Content
    group: str = ""
    """The file's name of the prompt; empty if it has none, so that rollouts with equal prompts are one group"""
    step: int | None = None
    """None: not in the file"""
    env: str = ""
    run: str = ""
    """Name of the training run or evaluation; keys of groups are unique in it"""
    model: str = ""
    reward: float = float("nan")
    """NaN: never scored"""
    success: bool | None = None
    """None: not in the file"""
    terminated: bool = True
    truncated: bool = False
    advantage: float | None = None
    """The advantage of every sampled token"""
    rollout: str = ""
    """Name of the rollout, unique in its group, which its samples share; empty if the sample is a whole rollout"""
    shared: int = 0
    """Number of tokens at the beginning that the previous sample of the rollout has too"""
    columns: dict[str, str | bool | int | float | None] = field(default_factory=dict)
    """As ``Trajectory.columns``"""
    rewards: dict[str, Component] = field(default_factory=dict)
    """As ``Trajectory.rewards``"""
    error: str = ""
    stop_reason: str = ""
    agent: str = ""
    trained: bool = True
    """False: the trainer left the whole rollout out of its loss"""
    mask_by: Source = RECORDED
    """How it is known which tokens were sampled"""
    rewards_by: Source = RECORDED
    stated: tuple[str, ...] = ()
    """Texts of the prompt and the environment that the record states beside exact ids, to check the ids against"""
    turn_rewards: tuple[float, ...] | None = None
    """The reward of every reply, which the file states beside their sum"""
    unread: tuple[str, ...] = ()
    """Fields of the record that hold data of a rollout and were not read, in the plural"""

    @property
    def prompt(self) -> str:
        """A digest of the prompt, equal for equal prompts: what stands before the first reply, or, where the file does not
        tell the prompt from a reply out of the loss, before the first sampled token."""
        if isinstance(self.content, Tokens):
            sampled, end = self.content.sampled, self.content.prompt
            if end is None:
                end = int(sampled.argmax()) if sampled.any() else len(sampled)
            return digest(self.content.ids[:end].tolist())
        if isinstance(self.content, Text):
            return digest(self.content.prompt)
        is_stated = any(message.in_prompt for message in self.content)
        ends = (not message.in_prompt if is_stated else is_reply(message) for message in self.content)
        first = next((number for number, end in enumerate(ends) if end), len(self.content))
        return digest([[message.role, message.content] for message in self.content[:first]])


@dataclass(frozen=True)
class LeftOut:
    """An item of a file that is not a rollout to train on."""

    what: str
    """The kind of the item, in the plural"""


def is_reply(message: Message) -> bool:
    """Whether the policy sampled the message."""
    return message.role == "assistant" and message.sampled


def on_sampled(value: float, sampled: np.ndarray) -> np.ndarray:
    """float32 [T]: ``value`` on the sampled tokens, NaN elsewhere; infinite where float32 overflows."""
    with np.errstate(over="ignore"):
        return np.where(sampled, np.float64(value), np.nan).astype(np.float32)


def digest(*parts: object) -> str:
    """A short name of a prompt, equal for equal prompts."""
    return hashlib.sha1(json.dumps(parts, default=repr).encode("utf-8", "replace")).hexdigest()[:12]


def stated_texts(messages: list[Message]) -> tuple[str, ...]:
    """What a dialogue says that no policy wrote, and that any template renders as it is."""
    return tuple(message.content for message in messages if message.role != "assistant" and message.content.strip())


def masked_by(messages: list[Message], otherwise: Source = BY_ROLE) -> Source:
    """How it is known which of a dialogue's messages were sampled."""
    return RECORDED if any(message.flagged for message in messages) else otherwise


def prompt_and_completion(record: Record, prompt: str, completion: str) -> list[Message] | Text:
    """The content of a record with separate fields for the prompt, which is context, and the completion."""
    context, reply = dialogue_or_text(record, prompt), dialogue_or_text(record, completion)
    if isinstance(context, str) and isinstance(reply, str):
        return Text(context, reply)
    messages = as_context([Message("user", context)] if isinstance(context, str) else context)
    return messages + ([Message("assistant", reply)] if isinstance(reply, str) else reply)
