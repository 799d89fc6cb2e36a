"""The demonstrator of WebShop: searches for the goal, opens a matching product, chooses the options, buys."""

from __future__ import annotations

from random import Random

from actfocus_core.envs.webshop import TINY, WebShop
from actfocus_core.envs.webshop.catalogue import Product
from actfocus_core.envs.webshop.goals import score
from actfocus_core.envs.webshop.pages import BACK, BUY, NEXT, PREVIOUS


class Customer:
    env = "webshop"
    variants = ({},)
    practice = ({}, {}, {}, {})
    options = {**TINY, "response_tokens": 80}

    def think(self, env: WebShop) -> tuple[str, list[str]]:
        """Reasoning that compares the page with the goal, and one action."""
        shown, goal = env.page(), env.goal
        intent = f"I want {goal.short()}."
        if shown.search:
            return f"{intent} I search it.", [f"search[{' '.join((*goal.attributes, goal.query))}]"]
        if shown.kind == "results":
            for button in shown.group("product"):
                if self.fits(env, env.shop.by_asin[button.target.asin]):
                    return f"{intent} {button.label} is {button.note}, it fits.", [button.action]
            onward = NEXT if shown.find(NEXT) else PREVIOUS if shown.find(PREVIOUS) else BACK
            return f"{intent} None fits here.", [f"click[{onward}]"]
        offered = {name: shown.options().get(name, []) for name, _ in goal.options}
        labels = " ".join(b.label + "*" * b.chosen for values in offered.values() for b in values)
        summary = f"{intent} This is {shown.title}. It has {labels or 'none'}."
        if not self.fits(env, env.shop.by_asin[env.location.asin]):
            return f"{summary} It does not fit.", [f"click[{PREVIOUS}]"]
        for name, value in goal.options:
            if dict(env.location.chosen).get(name) != value:
                button = next(b for b in offered[name] if dict(b.target.chosen)[name] == value)
                return f"{summary} I choose {button.label}.", [button.action]
        return f"{summary} All is chosen.", [f"click[{BUY}]"]

    def fits(self, env: WebShop, product: Product) -> bool:
        """Whether the product with the required options meets the goal."""
        chosen = {name: value for name, value in env.goal.options if value in product.options.get(name, ())}
        return score(env.shop, env.goal, product, chosen).total >= 1

    def doubt(self, env: WebShop) -> float:
        return 0.25

    def other(self, env: WebShop, action: str, rng: Random) -> str:
        """Another action of the page: another product, a step back, a premature purchase or another search.

        One of the searches finds nothing, so that the policy also learns to handle an empty page.
        """
        shown = env.page()
        if shown.search:
            candidates = [*(f"search[{query}]" for query in env.queries()), "search[words]"]
        elif shown.kind == "results":
            candidates = [b.action for b in shown.group("product")] + [f"click[{BACK}]"]
        else:
            candidates = [b.action for b in shown.buttons if b.group in ("buy", "move")]
        return rng.choice([a for a in candidates if a != action] or [action])


class Wanderer(Customer):
    """A customer whose other actions lead to rare situations: pages without products, and products without the required
    option, which a list of results does not show."""

    def other(self, env: WebShop, action: str, rng: Random) -> str:
        shown = env.page()
        if shown.search and rng.random() < 0.5:
            return "search[words]"
        lacking = [
            b.action
            for b in shown.group("product")
            if b.action != action
            and any(
                value not in env.shop.by_asin[b.target.asin].options.get(name, ()) for name, value in env.goal.options
            )
        ]
        return rng.choice(lacking) if lacking else super().other(env, action, rng)
