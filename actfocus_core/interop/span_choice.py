"""The span rule that fits an import, chosen by what its replies contain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from actfocus_core.dialogue import response_kinds
from actfocus_core.spans import DEFAULT, RULES, SpanRule
from actfocus_core.trajectory import TokenKind


@dataclass(frozen=True)
class SpanChoice:
    """A span rule, and what each rule would have found."""

    rule: SpanRule
    action_tokens: dict[str, int]
    """rule -> number of action tokens in the replies that were looked at"""
    replies: int
    """The number of these replies"""


def choose_rule(replies: Iterable[tuple[Sequence[str], bool]], given: SpanRule | None = None) -> SpanChoice:
    """The rule under which most replies have an action, the earlier one in RULES if several are equal.

    ``replies``: the token texts of each reply, and whether the template opened ``<think>`` before it. ``given``: a rule that
    the user chose; the counts of the others are reported all the same. If no rule finds an action, the default is chosen.
    """
    rules = {**RULES, **({given.name: given} if given else {})}
    with_action, tokens, count = dict.fromkeys(rules, 0), dict.fromkeys(rules, 0), 0
    for texts, opened in replies:
        count += 1
        text = "".join(texts)
        for name, rule in rules.items():
            spans = rule.find(text, opened)
            if spans.actions:
                found = response_kinds(list(texts), spans).count(TokenKind.ACTION)
                tokens[name] += found
                with_action[name] += found > 0
    best = max(RULES, key=lambda name: with_action[name])
    return SpanChoice(given or (RULES[best] if with_action[best] else DEFAULT), tokens, count)
