"""Checks an answer against the values of the loaded run."""

from __future__ import annotations

import operator
import re

from actfocus_studio.data.message import Message
from actfocus_studio.pages.learn.facts import FACTS, Loaded
from actfocus_studio.pages.learn.lessons import Choice, Comparison, Question

_OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class Verdict(Message):
    """What the page reveals of an answer."""

    correct: bool | None
    """None where this run lacks a fact that decides it."""
    right: list[int] = []
    """Indices of the correct choices."""
    text: str
    """The reveal with its facts filled in."""
    why: str = ""
    """The deciding or missing fact."""


def judge(question: Question, answer: float, loaded: Loaded) -> Verdict:
    """Check an answer: the index of a choice, or a number. Anything else is incorrect."""
    values = {name: FACTS[name].value(loaded) for name in _names(question)}
    text = re.sub(r"\{(\w+)\}", lambda m: FACTS[m[1]].shown(values[m[1]]), question.reveal)
    lacking = [FACTS[name].title for name in dict.fromkeys(_deciding(question)) if values[name] is None]
    if lacking:
        why = f"Not decidable with this run; unavailable: {'; '.join(lacking)}."
        return Verdict(correct=None, text=text, why=why)
    if question.number:
        fact, known = FACTS[question.number], values[question.number]
        return Verdict(
            correct=abs(answer - known) <= question.within, text=text, why=f"{fact.title}: {fact.shown(known)}."
        )
    right = [n for n, choice in enumerate(question.choices) if choice.when is not None and _holds(choice, values)]
    right = right or [n for n, choice in enumerate(question.choices) if choice.when is None]
    return Verdict(correct=answer in right, right=right, text=text)


def _names(question: Question) -> set[str]:
    return {*re.findall(r"\{(\w+)\}", question.reveal), *_deciding(question)}


def _deciding(question: Question) -> list[str]:
    """The facts that decide which answer is correct."""
    compared = [c for choice in question.choices for c in choice.when or ()]
    names = [name for c in compared for name in (c.left, c.right) if isinstance(name, str)]
    return names + ([question.number] if question.number else [])


def _holds(choice: Choice, values: dict[str, float | None]) -> bool:
    return all(_compare(c, values) for c in choice.when)


def _compare(c: Comparison, values: dict[str, float | None]) -> bool:
    return _OPERATORS[c.operator](values[c.left], values[c.right] if isinstance(c.right, str) else c.right)
