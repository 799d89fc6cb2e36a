"""A prediction against the live numbers."""

from __future__ import annotations

import operator
import re

from actfocus_studio.pages.learn.facts import FACTS, Loaded
from actfocus_studio.pages.learn.lessons import Choice, Comparison, Question

_OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def judge(question: Question, answer: object, loaded: Loaded) -> dict:
    """What the page reveals: ``verdict`` True, False, or None where this run cannot tell; ``right``, the
    numbers of the right choices; ``text``, the reveal with its facts filled in.

    ``answer``: the number of a choice, or a number; anything else is a wrong answer.
    """
    values = {name: FACTS[name].value(loaded) for name in _names(question)}
    text = re.sub(r"\{(\w+)\}", lambda m: FACTS[m[1]].shown(values[m[1]]), question.reveal)
    lacking = [FACTS[name].title for name in dict.fromkeys(_asked(question)) if values[name] is None]
    if lacking:
        return {
            "verdict": None,
            "right": [],
            "text": text,
            "why": f"This run cannot tell: {'; '.join(lacking)}: unavailable.",
        }
    number = isinstance(answer, (int, float)) and not isinstance(answer, bool)
    if question.number:
        known = values[question.number]
        return {
            "verdict": bool(number and abs(answer - known) <= question.within),
            "right": [],
            "text": text,
            "why": f"{FACTS[question.number].title}: {FACTS[question.number].shown(known)}.",
        }
    right = [n for n, choice in enumerate(question.choices) if choice.when is not None and _holds(choice, values)]
    right = right or [n for n, choice in enumerate(question.choices) if choice.when is None]
    return {"verdict": number and answer in right, "right": right, "text": text, "why": ""}


def _names(question: Question) -> set[str]:
    return {*re.findall(r"\{(\w+)\}", question.reveal), *_asked(question)}


def _asked(question: Question) -> list[str]:
    """The facts on which the verdict depends."""
    compared = [c for choice in question.choices for c in choice.when or ()]
    names = [name for c in compared for name in (c.left, c.right) if isinstance(name, str)]
    return names + ([question.number] if question.number else [])


def _holds(choice: Choice, values: dict[str, float | None]) -> bool:
    return all(_compare(c, values) for c in choice.when)


def _compare(c: Comparison, values: dict[str, float | None]) -> bool:
    return _OPERATORS[c.operator](values[c.left], values[c.right] if isinstance(c.right, str) else c.right)
