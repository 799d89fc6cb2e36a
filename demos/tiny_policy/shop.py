"""Shops: searches for the wish, opens what meets it, picks the options, buys."""

from __future__ import annotations

from random import Random

from actfocus_core.envs.webshop import TINY, WebShop
from actfocus_core.envs.webshop.catalogue import Product
from actfocus_core.envs.webshop.goals import score
from actfocus_core.envs.webshop.pages import BUY, NEXT, PREVIOUS


class Customer:
    env = "webshop"
    variants = ({},)
    practice = ({}, {}, {})
    options = {**TINY, "response_tokens": 80}

    def think(self, env: WebShop) -> tuple[str, list[str]]:
        """Reasoning that compares what the page shows with the wish, and one action."""
        shown, goal = env.page(), env.goal
        wanted = " ".join((*goal.attributes, goal.query))
        if shown.search:
            return f"I want {wanted}. I search it.", [f"search[{wanted}]"]
        if shown.kind == "results":
            for button in shown.group("product"):
                if self.fits(env, env.shop.by_asin[button.target.asin]):
                    return f"I want {wanted}. {button.label} is {button.note}, it fits.", [button.action]
            onward = NEXT if shown.find(NEXT) else PREVIOUS if shown.find(PREVIOUS) else "back to search"
            return f"I want {wanted}. None fits here.", [f"click[{onward}]"]
        product, chosen = env.shop.by_asin[env.location.asin], dict(env.location.chosen)
        if not self.fits(env, product):
            return f"I want {wanted}. This does not fit.", [f"click[{PREVIOUS}]"]
        for name, value in goal.options:
            if chosen.get(name) != value:
                button = next(b for b in shown.options()[name] if b.target.chosen == env.follow(
                    env.location, f"click[{b.label}]").chosen and dict(b.target.chosen)[name] == value)
                return f"I want {wanted}. It fits. I choose {button.label}.", [button.action]
        return f"I want {wanted}. It fits, all is chosen.", [f"click[{BUY}]"]

    def fits(self, env: WebShop, product: Product) -> bool:
        """Whether the product with the wanted options meets every demand."""
        chosen = {name: value for name, value in env.goal.options if value in product.options.get(name, ())}
        return score(env.shop, env.goal, product, chosen).total >= 1

    def doubt(self, env: WebShop) -> float:
        return 0.25

    def other(self, env: WebShop, action: str, rng: Random) -> str:
        """Another product, another way to go, or other words: never a button that may be missing."""
        shown = env.page()
        if shown.search:
            others = [f"search[{query}]" for query in env.queries()]
        else:
            others = [b.action for b in shown.buttons if b.group in ("product", "buy", "move")]
        return rng.choice([a for a in others if a != action] or [action])
