"""Exact values of WebShop's page graph for every number of turns left; the purchase pays the reward.

A search is free text, so the optimum is over a finite set: the listed searches, i.e. every non-empty subset of the goal's
phrases (``WebShop.queries``). Another search also has an exact value, under the assumption that later searches are listed
ones; it may be higher than those of the listed searches.

The shop is deterministic, and turns may remain unused, so values do not decrease with the number of turns left. Value
iteration therefore does not need to distinguish how an item page was reached: its value is that of the best purchase
within the turns left, or of leaving it. One array for each product and one for each search suffice.
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

_CACHE: dict[tuple[Catalogue, Goal, WebShopOptions], ShopValues] = {}

Bundle = tuple[frozenset[int], float | None]
"""The effect of a choice of options: indices of the goal's options met, and the price of the values or None."""


def solve(env: WebShop) -> ShopValues:
    """The values of the environment's goal; cached, so that all turns of an episode share them."""
    key = (env.shop, env.goal, env.options)
    if key not in _CACHE:
        if len(_CACHE) >= CACHE_SIZE:
            del _CACHE[next(iter(_CACHE))]
        _CACHE[key] = ShopValues(env)
    return _CACHE[key]


def turns_left(env: WebShop) -> int:
    """The number of actions that can still be executed."""
    return min(env.options.max_turns - env.turn, env.actions_left)


class ShopValues:
    """Optimal values of one goal. ``turns`` is always the number of actions left."""

    def __init__(self, env: WebShop):
        self.env = env.clone()
        self.turns = min(env.options.max_turns, env.options.max_actions)
        self._item_values: dict[str, np.ndarray] = {}
        self._results: dict[tuple[str, ...], np.ndarray] = {}

    def value(self, at: Location, turns: int) -> float:
        """V*: the maximum reward achievable from a location."""
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
        """Q* of an action in canonical spelling."""
        if turns <= 0:
            return 0.0
        target = self.env.follow(at, action)
        result = self.env.purchase(target)
        return self.value(target, turns - 1) if result is None else self.env.payout(result)

    # --- the arrays ----------------------------------------------------------------------

    @cached_property
    def search(self) -> np.ndarray:
        """Value of the search page [turns + 1]. One sweep over the turns left also fills the results of all searches."""
        search, tables = np.zeros(self.turns + 1), []
        for query in self.env.queries():
            asins = tuple(product.asin for product in self.env.shop.search(query))
            if asins not in self._results:
                self._results[asins] = np.zeros((self._pages(asins), self.turns + 1))
                tables.append((self._results[asins], self._best_purchases(asins)))
        for turns in range(1, self.turns + 1):
            for values, best in tables:
                values[:, turns] = _results_step(values, best, search, turns)
            search[turns] = max((values[0, turns - 1] for values, _ in tables), default=0.0)
        return search

    def results(self, query: str) -> np.ndarray:
        """Values of the result pages of a search [pages, turns + 1]."""
        search = self.search
        asins = tuple(product.asin for product in self.env.shop.search(query))
        if asins not in self._results:
            values, best = np.zeros((self._pages(asins), self.turns + 1)), self._best_purchases(asins)
            for turns in range(1, self.turns + 1):
                values[:, turns] = _results_step(values, best, search, turns)
            self._results[asins] = values
        return self._results[asins]

    def _pages(self, asins: tuple[str, ...]) -> int:
        return max(1, -(-len(asins) // self.env.options.results_per_page))

    def _best_purchases(self, asins: tuple[str, ...]) -> np.ndarray:
        """Best payout among the items of each results page, counted from the item page [pages, turns + 1]."""
        best = np.zeros((self._pages(asins), self.turns + 1))
        for rank, asin in enumerate(asins):
            if asin not in self._item_values:
                self._item_values[asin] = self.purchases(self.env.shop.by_asin[asin], {})
            row = best[rank // self.env.options.results_per_page]
            np.maximum(row, self._item_values[asin], out=row)
        return best

    def purchases(self, product: Product, chosen: dict[str, str]) -> np.ndarray:
        """Best payout of buying a product, from its page with these options chosen [turns + 1]."""
        env, goal, best = self.env, self.env.goal, np.zeros(self.turns + 1)
        kind, attributes = kind_score(env.shop, goal, product), attributes_met(goal, product)
        for (met, price), clicks in self._bundles(product, chosen).items():
            result = combine(goal, kind, attributes, len(met), product.price if price is None else price)
            best[clicks + 1 :] = np.maximum(best[clicks + 1 :], env.payout(result))
        return best

    def _bundles(self, product: Product, chosen: dict[str, str]) -> dict[Bundle, int]:
        """Achievable effects of the product's options -> minimum number of clicks."""
        bundles: dict[Bundle, int] = {(frozenset(), None): 0}
        for name, values in product.options.items():
            current = chosen.get(name)
            choices: list[tuple[frozenset[int], float | None, int]] = (
                [(frozenset(), None, 0)] if current is None else []
            )
            for value in values:
                value_price = product.option_prices.get((name, value))
                choices.append((options_met(self.env.goal, name, value), value_price, int(value != current)))
            extended: dict[Bundle, int] = {}
            for (met, price), clicks in bundles.items():
                for newly_met, value_price, click in choices:
                    key = (met | newly_met, max((p for p in (price, value_price) if p is not None), default=None))
                    if clicks + click < min(extended.get(key, self.turns), self.turns):
                        extended[key] = clicks + click
            bundles = extended
        return bundles


def _results_step(values: np.ndarray, best: np.ndarray, search: np.ndarray, turns: int) -> np.ndarray:
    """One step of value iteration for all result pages of a search: open an item, turn the page, or search again."""
    before = values[:, turns - 1]
    step: np.ndarray = np.maximum(best[:, turns - 1], search[turns - 1])
    step[1:] = np.maximum(step[1:], before[:-1])
    step[:-1] = np.maximum(step[:-1], before[1:])
    return step


class ShopOracle(Oracle[WebShop]):
    """The oracle interface on the values of one goal."""

    def __init__(self, env: WebShop):
        super().__init__(env)
        self.shop_values = solve(env)

    def prefix_value(self, env: WebShop, actions: Sequence[str]) -> float:
        if actions:
            return self.turn_value(env, actions)
        return self.shop_values.value(env.location, turns_left(env))

    def turn_value(self, env: WebShop, actions: Sequence[str]) -> float:
        if not actions:
            return self.shop_values.value(env.location, turns_left(env) - 1)
        return self.shop_values.action_value(env.location, actions[0], turns_left(env))

    def facts(self, env: WebShop) -> dict[str, Any]:
        """``turns``: the minimum number of turns that achieve the value."""
        left = turns_left(env)
        value = self.shop_values.value(env.location, left)
        return {"turns": next(n for n in range(left + 1) if self.shop_values.value(env.location, n) >= value)}
