"""WebShop: find a product, choose its options, buy it."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from actfocus_core.envs.base import Env, EnvOptions
from actfocus_core.envs.webshop.catalogue import Catalogue, read_catalogue, synthetic_catalogue
from actfocus_core.envs.webshop.drawing import sketch
from actfocus_core.envs.webshop.goals import Goal, Score, make_goal, score
from actfocus_core.envs.webshop.pages import Location, Page, compact_text, full_text, page
from actfocus_core.envs.webshop.synthetic import DEPARTMENTS, DepartmentName
from actfocus_core.errors import ActFocusError

LONGEST_QUERY = 200
"""Maximum length of a search in characters; longer ones are truncated."""
QUERY_PHRASES = 8
"""Maximum number of goal phrases that the listed searches combine: 255 searches."""

TINY = {
    "observation": "compact",
    "departments": ("fashion",),
    "results_per_page": 5,
    "goal_attributes": 2,
    "goal_options": 1,
}
"""Options for a policy of about a million parameters: ``make_env("webshop", **TINY)``."""

_ACTION = re.compile(r"(search|click)\s*\[(.*)\]", re.IGNORECASE | re.DOTALL)


class WebShopOptions(EnvOptions):
    max_turns: int = Field(9, ge=1, le=100)
    max_actions: int = Field(9, ge=1, le=1000)
    actions_per_turn: int = Field(1, ge=1, le=1)
    """Always one: an action leads to a page that must be read before the next action."""
    catalogue: Path | None = None
    """A WebShop product file; by default the synthetic catalogue."""
    instructions: Path | None = None
    """WebShop's ``items_ins`` file for that catalogue: attributes and instructions by asin."""
    catalogue_seed: int = 0
    """Seed of the synthetic catalogue."""
    departments: tuple[DepartmentName, ...] = Field(tuple(DEPARTMENTS), min_length=1)
    """Departments of the synthetic catalogue, with 156 products each."""
    results_per_page: int = Field(10, ge=1, le=50)
    goal_attributes: int = Field(2, ge=1, le=5)
    """Maximum number of attributes required by a goal."""
    goal_options: int = Field(2, ge=0, le=5)
    """Maximum number of options required by a goal."""
    price_ceiling: bool = True
    reward: Literal["strict", "score"] = "strict"
    """Reward of the purchase: 1 or 0 (RAGEN and the paper), or WebShop's graded score."""


class WebShop(Env):
    name = "webshop"
    worked_examples = (
        (
            "Instruction: Find me red wool scarf, and price lower than 20.00 dollars\nYou can choose from: search[words].",
            "I look for a red wool scarf.",
            ("search[red wool scarf]",),
        ),
        (
            "Wool scarf, price 15.00. Color: [red] (chosen).\nYou can choose from: click[buy now], click[back to search].",
            "It is a wool scarf for less than 20 dollars, and red is chosen. It meets every demand.",
            ("click[buy now]",),
        ),
    )
    Options = WebShopOptions
    options: WebShopOptions
    presets = {
        "paper": {"max_turns": 9, "max_actions": 9, "actions_per_turn": 1},
        "tiny": TINY,
    }

    @cached_property
    def shop(self) -> Catalogue:
        """The catalogue, shared by all environments with the same options.

        Raises ActFocusError if it cannot be read.
        """
        o = self.options
        if o.catalogue:
            return read_catalogue(o.catalogue, o.instructions)
        if o.instructions:
            raise ActFocusError(
                f"webshop: option instructions={o.instructions} needs the product file "
                "it belongs to; give option catalogue as well"
            )
        return synthetic_catalogue(o.catalogue_seed, tuple(dict.fromkeys(o.departments)))

    def _start(self) -> None:
        o = self.options
        self.goal = make_goal(self.shop, self.seed, o.goal_attributes, o.goal_options, o.price_ceiling)
        self.location = Location()

    @property
    def bought(self) -> bool:
        return self.location.kind == "done"

    def purchase(self, location: Location | None = None) -> Score | None:
        """The score of the purchase at a location (by default the present one); None before a purchase."""
        location = location or self.location
        if location.kind != "done":
            return None
        return score(self.shop, self.goal, self.shop.by_asin[location.asin], dict(location.chosen))

    def payout(self, result: Score) -> float:
        """The reward of a purchase."""
        return result.total if self.options.reward == "score" else float(result.total >= 1)

    def _apply(self, action: str) -> tuple[float, bool, bool]:
        self.location = self.follow(self.location, action)
        result = self.purchase()
        return (0.0, False, False) if result is None else (self.payout(result), True, result.total >= 1)

    def follow(self, location: Location, action: str) -> Location:
        """The location after an action in canonical spelling."""
        verb, _, argument = action[:-1].partition("[")
        if verb == "search":
            return Location("results", argument)
        button = self.page(location).find(argument)
        assert button is not None  # A canonical click names a button of the page.
        return button.target

    def parse(self, text: str) -> str | None:
        match = _ACTION.fullmatch(text.strip())
        if match is None:
            return None
        shown, argument = self.page(), match[2]
        if match[1].lower() == "search":
            query = clean_query(argument)
            return f"search[{query}]" if shown.search and query else None
        button = shown.find(argument)
        return button.action if button else None

    def page(self, location: Location | None = None) -> Page:
        """The page of a location, by default the present one, as data: title, lines, buttons, search box."""
        return page(
            self.shop, location or self.location, self.options.results_per_page, self.options.observation == "compact"
        )

    def queries(self) -> list[str]:
        """The listed searches: every non-empty subset of the goal's phrases, in their order.

        The phrases are the product type, the attributes and the values of the options, at most 8.
        """
        phrases = self.goal.phrases()[:QUERY_PHRASES]
        queries = (" ".join(subset) for count in range(len(phrases), 0, -1) for subset in combinations(phrases, count))
        return list(dict.fromkeys(filter(None, map(clean_query, queries))))

    def legal_actions(self) -> list[str]:
        """All buttons, and the listed searches if there is a search box (which accepts any words)."""
        if self.terminated or self.truncated:
            return []
        shown = self.page()
        searches = [f"search[{query}]" for query in self.queries()] if shown.search else []
        return searches + [button.action for button in shown.buttons]

    def state_key(self) -> str:
        here = self.location
        return json.dumps(
            [self.goal.instruction, here.kind, here.query, here.number, here.asin, here.chosen], ensure_ascii=False
        )

    def world_key(self) -> tuple[Hashable, ...]:
        return (self.goal,)

    def task_text(self) -> str:
        if self.options.observation == "compact":
            return (
                "Shop. Buy what is wanted. search[words], then click[number], click the wanted options, click[buy now]."
            )
        return (
            "You are shopping in a web shop. Find a product that meets every demand of the "
            "instruction: the kind of thing, its attributes, its options and its price. Choose the "
            "options, then buy. Only a purchase that meets every demand counts, and a purchase ends "
            "the task.\n"
            "Actions: search[words] where there is a search box, click[button] for any button of "
            "the page. Results show titles and prices; description and features tell more."
        )

    def state_text(self) -> str:
        shown = self.page()
        if self.options.observation == "compact":
            return f"Want {self.goal.short()}. {compact_text(shown)}"
        choices = ["search[words]"] * shown.search + [button.action for button in shown.buttons]
        return (
            f"Instruction: {self.goal.instruction}\n{full_text(shown)}\n"
            f"You can choose from: {', '.join(choices) or 'nothing, the purchase is made'}."
        )

    def _format_instructions(self) -> str:
        if self.options.observation == "compact":
            return "Answer <think>...</think><answer>...</answer>, one action."
        return (
            "Always answer as <think> your thoughts </think> <answer> your action </answer> with no "
            f"other text, exactly one action and at most {self.options.response_tokens} tokens."
        )

    def svg(self) -> str:
        result = self.purchase()
        return sketch(self.page(), self.goal.instruction, f"score {result.total:.2f}" if result else "", self.success)

    def _info(self) -> dict[str, Any]:
        result = self.purchase()
        return {"bought": self.bought, "score": result.total if result else 0.0}

    def _state(self) -> dict[str, Any]:
        return {"goal": self.goal.to_json(), "location": self.location.to_json()}

    def _restore(self, state: dict[str, Any]) -> None:
        self.goal = Goal.from_json(state["goal"])
        self.location = Location.from_json(state["location"])


def clean_query(text: str) -> str:
    """The canonical form of a search: lower case, one line, printable, at most 200 characters."""
    printable = "".join(character if character.isprintable() else " " for character in text.lower().replace("||", " "))
    return " ".join(printable.split())[:LONGEST_QUERY].rstrip()
