"""``Template``: a tokenizer's chat template, as the texts that it writes around messages.

Placeholders stand for the messages, so a template that changes a message's text has no effect on what is learnt of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from os.path import commonprefix
from typing import Any

from actfocus_core.dialogue import template_ids

_PLACEHOLDER = "actfocus-{}-51c9"
_TOOL_ROLES = ("tool", "ipython", "observation", "environment", "function")
"""Names under which templates know the role of the environment"""
_CALL = {"id": "call00000", "type": "function", "function": {"name": "f", "arguments": {}}}
_THINK = re.compile(r"</?think>")
_THINKING: tuple[dict[str, Any], ...] = (
    {},
    {"enable_thinking": True},
    {"enable_thinking": False},
    {"thinking": True},
    {"thinking": False},
)
"""Options by which templates turn the reasoning of a reply on and off"""


@dataclass(frozen=True)
class Header:
    """The text before the messages of one role."""

    role: str
    """system, user, tool or assistant"""
    text: str
    bare: str
    """The header as it is decoded without special tokens"""
    gap: str
    """White space between the token that ends the message before and the header"""
    opening: str = ""
    """What the template writes after the header: ``<think>`` in a generation prompt, the tag of a tool result"""


class Template:
    """The chat template of a tokenizer; a tokenizer without one has no headers.

    ``special``: ids of the special tokens that templates use. ``special_texts``: their texts, the longest first.
    """

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.special = template_ids(tokenizer)
        texts = (tokenizer.convert_ids_to_tokens(token) for token in self.special)
        self.special_texts = tuple(sorted(filter(None, texts), key=lambda text: (-len(text), text)))
        # Both call the tokenizer, mostly with the same few arguments.
        self.between, self.split_end = lru_cache(4096)(self._between), lru_cache(4096)(self._split_end)

    # --- around messages -----------------------------------------------------------------

    def _between(self, roles: tuple[str, ...]) -> list[str] | str:
        """The template's text before, between and after messages of these roles, or a message saying why there is none.

        If the template supports no tool or system role, those messages are rendered as the user's.
        """
        if not self.tokenizer.chat_template:
            return (
                f"holds messages, but the tokenizer {self.tokenizer.name_or_path} has no chat template; "
                "use the tokenizer of an instruct or chat model"
            )
        texts = [_PLACEHOLDER.format(number) for number in range(len(roles))]
        without_tools = ["user" if role == "tool" else role for role in roles]
        reason = ""
        for attempt, joined in ((list(roles), False), (without_tools, False), (without_tools, True)):
            messages: list[dict[str, Any]] = [{"role": role, "content": text} for role, text in zip(attempt, texts)]
            if joined and attempt[0] == "system" and len(attempt) > 1 and attempt[1] == "user":
                messages[:2] = [{"role": "user", "content": f"{texts[0]}\n\n{texts[1]}"}]
            try:
                rendered = self._render(messages)
            except Exception as error:  # a template can raise anything
                reason = reason or str(error).split("\n")[0]
                continue
            if (pieces := _pieces(rendered, texts)) is not None:
                return pieces
        return (
            f"the chat template of {self.tokenizer.name_or_path} does not support messages of the roles "
            f"{', '.join(roles[:6])} ({reason or 'it omits some'}); use the model's own tokenizer"
        )

    def _split_end(self, closing: str) -> tuple[str, str]:
        """The template's text after a reply, split after the token that ended the reply."""
        encoded = self.tokenizer(closing, add_special_tokens=False, return_offsets_mapping=True)
        for token, (_, end) in zip(encoded["input_ids"], encoded["offset_mapping"]):
            if token in self.special:
                return closing[:end], closing[end:]
        return "", closing

    def generation(self, **options: Any) -> str:
        """The text that ``add_generation_prompt`` adds after a user's message; empty if the template ignores it.

        ``options``: variables of the template, for instance ``enable_thinking``.
        """
        messages = [{"role": "user", "content": _PLACEHOLDER.format(0)}]
        try:
            without, whole = (self._render(messages, generation, **options) for generation in (False, True))
        except Exception:  # a template can raise anything
            return ""
        return whole[len(without) :] if whole.startswith(without) else ""

    def bare(self, text: str) -> str:
        """The text as it is decoded without special tokens."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        decoded: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return decoded

    def _render(self, messages: list[dict[str, Any]], generation: bool = False, **options: Any) -> str:
        text: str = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=generation, **options
        )
        return text

    # --- headers -------------------------------------------------------------------------

    @cached_property
    def end(self) -> str:
        """The text that ends a reply, mostly a special token; empty if there is none."""
        return self._after_reply[0]

    @cached_property
    def headers(self) -> tuple[Header, ...]:
        """The header of each role that the template has; none if it has no header of user or assistant."""
        user, assistant = self._user, self._assistant
        if user is None or assistant is None:
            return ()
        tools = (self._tool(role, user) for role in _TOOL_ROLES)
        # Some templates write every role that they do not know as the assistant's.
        tool = next((t for t in tools if t and not t.text.startswith(assistant.text)), None)
        if tool and tool.text == user.text:
            user, tool = replace(user, opening=tool.opening), None
        return tuple(filter(None, (user, assistant, self._system(user), tool)))

    @cached_property
    def bare_system(self) -> bool:
        """Whether the system's message stands before the first header, without one of its own."""
        pieces = self.between(("system", "user"))
        if isinstance(pieces, str) or self._user is None:
            return False
        return not self._after_start(pieces[0]).strip() and self._user.text in pieces[1]

    @cached_property
    def openings(self) -> tuple[str, ...]:
        """What a generation prompt can write after the assistant's header, in the default mode first."""
        header = self._assistant.text if self._assistant else ""
        texts = (self.generation(**options).lstrip() for options in _THINKING)
        found = [text[len(header) :] for text in texts if header and text.startswith(header)]
        return tuple(dict.fromkeys(found or [""]))

    @property
    def opening(self) -> str:
        """What the generation prompt writes after the assistant's header by default, such as ``<think>``."""
        return self.openings[0]

    @cached_property
    def _turns(self) -> list[str]:
        pieces = self.between(("user", "assistant", "user"))
        return [] if isinstance(pieces, str) else pieces

    @cached_property
    def _after_reply(self) -> tuple[str, str]:
        """What ends a reply, and the template's text from there to the user's message."""
        if not self._turns:
            return "", ""
        end, rest = self.split_end(self._turns[2])
        if not rest.strip():
            # A template that ends no reply may begin a message with a special token.
            end, rest = "", end + rest
        header = _common_suffix(rest, self._turns[0])
        if not end and header.strip():
            end = rest.removesuffix(header).strip()
        return end, rest.removeprefix(end)

    @cached_property
    def _user(self) -> Header | None:
        rest = self._after_reply[1]
        header = _common_suffix(rest, self._turns[0]).lstrip() if rest else ""
        closing = rest.removesuffix(header)
        return self._header("user", closing[len(closing.rstrip()) :] + header) if header else None

    @cached_property
    def _assistant(self) -> Header | None:
        if not self._turns:
            return None
        before, closing = self._turns[1], self._turns[3]
        closed = closing if before.startswith(closing) and before[len(closing) :].strip() else ""
        rest = before[len(closed) :].removeprefix(self.end)
        generation = self.generation().lstrip()
        text = commonprefix([generation, rest.lstrip()]) if generation else rest.lstrip()
        text = _THINK.split(text if text.strip() else generation)[0]
        gap = closed[len(closed.rstrip()) :] + rest[: len(rest) - len(rest.lstrip())]
        return self._header("assistant", gap + text) if text.strip() else None

    def _system(self, user: Header) -> Header | None:
        pieces = self.between(("system", "user"))
        if isinstance(pieces, str) or user.text not in pieces[1]:
            return None
        before = self._after_start(pieces[0])
        return self._header("system", before[: self._header_end(before, user)]) if before.strip() else None

    def _tool(self, role: str, user: Header) -> Header | None:
        """The header of a role of the environment; None if its messages are written as the user's."""
        before = self._before_tool(role)
        text = before.lstrip()
        if not text or text == user.text:
            return None
        end = self._header_end(text, user)
        header = self._header("tool", before[: len(before) - len(text) + end])
        return replace(header, opening=text[end:])

    def _before_tool(self, role: str) -> str:
        """The text between a reply's end and a tool result; empty if the template does not support the role."""
        pieces = self.between(("user", "assistant", role))
        if not isinstance(pieces, str) and pieces[2] != self._turns[2]:
            return pieces[2].removeprefix(self.end)
        texts = [_PLACEHOLDER.format(number) for number in range(3)]
        messages: list[dict[str, Any]] = [
            {"role": "user", "content": texts[0]},
            {"role": "assistant", "content": texts[1], "tool_calls": [_CALL]},
            {"role": role, "content": texts[2], "name": "f", "tool_call_id": _CALL["id"]},
        ]
        try:
            called = _pieces(self._render(messages), texts)
        except Exception:  # a template can raise anything
            return ""
        # The text before the end of the reply is the tool call.
        return called[2].partition(self.end)[2] if called and self.end else ""

    def _header_end(self, before: str, user: Header) -> int:
        """Where the header ends in the text before a message: the template may begin the message itself.

        A header is formed as the user's with another role word, or ends with the last special token.
        """
        left, word, right = user.text.partition("user")
        match = re.match(rf"{re.escape(left)}\w+{re.escape(right)}", before) if word else None
        if match:
            return match.end()
        ends = [before.rfind(token) + len(token) for token in self.special_texts if token in before]
        end = max(ends, default=len(before))
        return len(before) - len(before[end:].lstrip())

    def _after_start(self, text: str) -> str:
        """The text without the token that begins a stream."""
        return text.removeprefix(self.tokenizer.bos_token or "")

    def _header(self, role: str, text: str) -> Header:
        core = text.lstrip()
        return Header(role, core, self.bare(core), text[: len(text) - len(core)])


def _pieces(rendered: str, texts: list[str]) -> list[str] | None:
    """The text before, between and after the placeholders; None if one is missing, twice there or out of order."""
    pattern = "|".join(map(re.escape, texts))
    return re.split(pattern, rendered) if re.findall(pattern, rendered) == texts else None


def _common_suffix(a: str, b: str) -> str:
    return commonprefix([a[::-1], b[::-1]])[::-1]
