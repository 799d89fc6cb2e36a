"""Exact values of WebShop's page graph x turns left, the reward paid at the purchase.

Searching takes free text, so the optimum is over a stated finite set: the listed searches,
every non-empty choice of the goal's phrases (``WebShop.queries``). A search outside it gets
its exact value too, given that later searches are listed ones; it may beat the listed ones.

The shop is deterministic, and turns can be left unused, so a value never falls with the
turns left. Hence value iteration need not visit every item page for every way it was
reached: the best one can do on an item page is the best purchase within the turns left, or
what leaving it is worth. That leaves one array for each product and each results page.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from actfocus_core.envs.webshop.catalogue import Catalogue, Product
from actfocus_core.envs.webshop.env import WebShop, WebShopOptions
from actfocus_core.envs.webshop.goals import Goal, attributes_met, combine, kind_score, options_met
from actfocus_core.envs.webshop.pages import Location
from actfocus_core.oracle.base import CACHE_SIZE, Oracle

_SOLVED: dict[tuple[Catalogue, Goal, WebShopOptions], ShopValues] = {}

Bundle = tuple[frozenset[int], float | None]
"""What a choice of options amounts to: the goal's options met, and its own price or None."""


def solve(env: WebShop) -> ShopValues:
    """The values of the environment's goal; kept, so that every turn of an episode shares them."""
    key = (env.shop, env.goal, env.options)
    if key not in _SOLVED:
        if len(_SOLVED) >= CACHE_SIZE:
            del _SOLVED[next(iter(_SOLVED))]
        _SOLVED[key] = ShopValues(env)
    return _SOLVED[key]


def turns_left(env: WebShop) -> int:
    """Actions that can still be carried out."""
    return min(env.options.max_turns - env.turn, env.actions_left)


class ShopValues:
    """Optimal values of one goal. ``turns`` everywhere: how many actions are left."""

    def __init__(self, env: WebShop):
        self.env = env.clone()
        self.turns = min(env.options.max_turns, env.options.max_actions)
        self._fresh: dict[str, np.ndarray] = {}
        self._results: dict[tuple[str, ...], np.ndarray] = {}

    def value(self, at: Location, turns: int) -> float:
        """V*: the most reward to be had from a location."""
        if turns <= 0 or at.kind == "done":
            return 0.0
        leave = self.search[turns - 1]
        if at.kind == "search":
            return float(self.search[turns])
        if at.kind == "results":
            return float(self.results(at.query)[at.number - 1, turns])
        if at.kind == "item":
            product = self.env.shop.by_asin[at.asin]
            back = self.results(at.query)[at.number - 1, turns - 1]
            return float(max(self.purchases(product, dict(at.chosen))[turns], back, leave))
        item = Location("item", at.query, at.number, at.asin, at.chosen)
        return float(max(self.value(item, turns - 1), leave))

    def action_value(self, at: Location, action: str, turns: int) -> float:
        """Q* of an action in the environment's own spelling."""
        if turns <= 0:
            return 0.0
        target = self.env.follow(at, action)
        result = self.env.purchase(target)
        return self.value(target, turns - 1) if result is None else self.env.payout(result)

    # --- the arrays ----------------------------------------------------------------------

    @cached_property
    def search(self) -> np.ndarray:
        """[turns + 1], the value of the search page. One sweep over turns left fills all arrays."""
        search, tables = np.zeros(self.turns + 1), []
        for query in self.env.queries():
            found = tuple(product.asin for product in self.env.shop.search(query))
            if found not in self._results:
                self._results[found] = np.zeros((self._pages(found), self.turns + 1))
                tables.append((self._results[found], self._best(found)))
        for turns in range(1, self.turns + 1):
            for values, best in tables:
                values[:, turns] = _results_step(values, best, search, turns)
            search[turns] = max((values[0, turns - 1] for values, _ in tables), default=0.0)
        return search

    def results(self, query: str) -> np.ndarray:
        """[pages, turns + 1], the values of a search's pages of results."""
        search = self.search
        found = tuple(product.asin for product in self.env.shop.search(query))
        if found not in self._results:
            values, best = np.zeros((self._pages(found), self.turns + 1)), self._best(found)
            for turns in range(1, self.turns + 1):
                values[:, turns] = _results_step(values, best, search, turns)
            self._results[found] = values
        return self._results[found]

    def _pages(self, found: tuple[str, ...]) -> int:
        return max(1, -(-len(found) // self.env.options.results_per_page))

    def _best(self, found: tuple[str, ...]) -> np.ndarray:
        """[pages, turns + 1], the best purchase among the items of each page, once one is opened."""
        best = np.zeros((self._pages(found), self.turns + 1))
        for rank, asin in enumerate(found):
            if asin not in self._fresh:
                self._fresh[asin] = self.purchases(self.env.shop.by_asin[asin], {})
            row = best[rank // self.env.options.results_per_page]
            np.maximum(row, self._fresh[asin], out=row)
        return best

    def purchases(self, product: Product, chosen: dict[str, str]) -> np.ndarray:
        """[turns + 1], the best payout of buying this product, from its page with these options."""
        env, goal, best = self.env, self.env.goal, np.zeros(self.turns + 1)
        kind, attributes = kind_score(env.shop, goal, product), attributes_met(goal, product)
        for (met, price), clicks in self._bundles(product, chosen).items():
            result = combine(goal, kind, attributes, len(met), product.price if price is None else price)
            best[clicks + 1 :] = np.maximum(best[clicks + 1 :], env.payout(result))
        return best

    def _bundles(self, product: Product, chosen: dict[str, str]) -> dict[Bundle, int]:
        """What the product's options can be made to amount to, with the fewest clicks to get there."""
        bundles: dict[Bundle, int] = {(frozenset(), None): 0}
        for name, values in product.options.items():
            kept = chosen.get(name)
            choices: list[tuple[frozenset[int], float | None, int]] = [(frozenset(), None, 0)] if kept is None else []
            for value in values:
                own = product.option_prices.get((name, value))
                choices.append((options_met(self.env.goal, name, value), own, int(value != kept)))
            grown: dict[Bundle, int] = {}
            for (met, price), clicks in bundles.items():
                for more, own, click in choices:
                    key = (met | more, max((p for p in (price, own) if p is not None), default=None))
                    if clicks + click < min(grown.get(key, self.turns), self.turns):
                        grown[key] = clicks + click
            bundles = grown
        return bundles


def _results_step(values: np.ndarray, best: np.ndarray, search: np.ndarray, turns: int) -> np.ndarray:
    """One step of value iteration for all pages of a search: open an item, turn a page, search anew."""
    before = values[:, turns - 1]
    step: np.ndarray = np.maximum(best[:, turns - 1], search[turns - 1])
    step[1:] = np.maximum(step[1:], before[:-1])
    step[:-1] = np.maximum(step[:-1], before[1:])
    return step


class ShopOracle(Oracle[WebShop]):
    """The values of one goal by the environment's own state."""

    def __init__(self, env: WebShop):
        super().__init__(env)
        self.solved = solve(env)

    def prefix_value(self, env: WebShop, actions: Sequence[str]) -> float:
        if actions:
            return self.turn_value(env, actions)
        return self.solved.value(env.location, turns_left(env))

    def turn_value(self, env: WebShop, actions: Sequence[str]) -> float:
        if not actions:
            return self.solved.value(env.location, turns_left(env) - 1)
        return self.solved.action_value(env.location, actions[0], turns_left(env))

    def facts(self, env: WebShop) -> dict[str, Any]:
        """``turns``: the fewest in which the value can be had."""
        left = turns_left(env)
        wanted = self.solved.value(env.location, left)
        return {"turns": next(n for n in range(left + 1) if self.solved.value(env.location, n) >= wanted)}
