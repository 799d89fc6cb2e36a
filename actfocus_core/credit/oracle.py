"""Oracle credit: the true advantage of each turn, on its action tokens."""

from __future__ import annotations

from typing import Any

from actfocus_core.credit.base import Credit, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch
from actfocus_core.trajectory import TokenKind


class Oracle(Scheme):
    """A = Q - V of the turn on its action tokens; other tokens are left out of the loss.

    Under the policy this is the advantage of the policy gradient theorem. Under optimal play it is minus the regret of the
    turn, 0 or less. The values are signals (VALUE_SIGNALS), exact or estimated.
    """

    source = "definition of the advantage"
    read = "ours"
    unit = "turn"
    evidence = "restored state"
    cost = "C3"

    def __init__(self, name: str, title: str, description: str, of: str):
        self.name, self.title, self.description, self.of = name, title, description, of
        self.needs = (f"{of}_q", f"{of}_v")

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        a = batch.turn_signal(f"{self.of}_q") - batch.turn_signal(f"{self.of}_v")
        return tokens_credit(batch, batch.broadcast(a), p, keep=batch.kinds == TokenKind.ACTION)
