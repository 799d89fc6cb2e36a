"""What pages receive of a trajectory: its tokens in columns, its turns as they are drawn."""

from __future__ import annotations

import math

import numpy as np

from actfocus_core.envs import Env, make_env
from actfocus_core.envs.webshop import WebShop
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle import TurnValue, judge, stored
from actfocus_core.oracle.turns import answers
from actfocus_core.reports.token_html import shown
from actfocus_core.runs import Run
from actfocus_core.runs.info import Import
from actfocus_core.trajectory import Trajectory
from actfocus_studio.data import columns
from actfocus_studio.data.schema import ShopButton, ShopPage, Tokens, Turn, TurnLabel


def tokens(t: Trajectory) -> Tokens:
    """The columns that every view of a trajectory has."""
    return Tokens(**token_columns(t))


def token_columns(t: Trajectory) -> dict:
    """The columns of ``Tokens``, for a view that has more of them."""
    return {
        "text": columns.text(shown(text) for text in t.texts),
        "kind": columns.uint8(t.kinds),
        "turn": columns.int32(t.turns),
    }


def env_options(run: Run) -> dict:
    """The options of the run's environment, as far as they are stored."""
    try:
        return stored.env_options(run)
    except ActFocusError:
        # A run of another trainer, or one whose model is no longer available.
        return plain(run.metadata.env_options or {})


def finite(value: float | None) -> float | None:
    """None for a number that is not finite, as in rollouts that another trainer did not score."""
    return None if value is None or not math.isfinite(value) else value


def plain(value: object) -> object:
    """A tree of dicts and lists with None for every number that is not finite."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return finite(value) if isinstance(value, float) else value


def drawn_turns(run: Run, t: Trajectory) -> list[Turn]:
    """One entry per turn and one for the end, with a picture of the state and the oracle's label of the actions."""
    turns, end = played(t, isinstance(run.metadata.config, Import)), Turn(end=True)
    try:
        env = make_env(t.env, **env_options(run))
        for k, (record, actions) in enumerate(zip(t.turn_records, answers(t))):
            env.restore(record.state)
            drawn = {"picture": env.svg(), "page": shop_page(env)}
            turns[k] = turns[k].model_copy(update=drawn)
            value = judge(env, actions)
            # Only if the actions are those stored: the rules of another trainer may differ.
            if value.actions[: len(record.actions)] == list(record.actions):
                turns[k] = turns[k].model_copy(update={"oracle": turn_label(value)})
        end = Turn(end=True, picture=env.svg(), page=shop_page(env))
    except (ActFocusError, LookupError, TypeError, ValueError, AttributeError):
        # A run of another trainer: an unknown environment or state.
        pass
    return [*turns, end]


def played(t: Trajectory, imported: bool = False) -> list[Turn]:
    """Actions and rewards of every turn, without pictures and labels.

    ``imported``: a file that states the reward of the rollout alone has it in the last turn; that of the others is unknown, and
    all are where it states none.
    """
    answered = t.answered
    known = [turn.reward for turn in t.turn_records]
    if imported and not any(known[:-1]):
        alone = known[-1:] == [t.reward] or (not math.isfinite(t.reward) and not any(known))
        unknown = len(known) - math.isfinite(t.reward) if alone else 0
    else:
        unknown = 0
    return [
        Turn(
            actions=[shown(action) for action in turn.actions],
            valid=turn.valid,
            # An agent that calls tools ends in words, which are no malformed call.
            malformed=k not in answered and not turn.valid,
            reward=None if k < unknown else finite(turn.reward),
            penalty=finite(turn.penalty),
        )
        for k, turn in enumerate(t.turn_records)
    ]


def turn_label(value: TurnValue) -> TurnLabel:
    """The optimal-play oracle's label of a turn."""
    return TurnLabel(
        value=value.value,
        after=value.after,
        actions=value.actions,
        costs=value.costs,
        skill=value.skill,
        luck=value.luck,
        lost=value.lost,
        facts=value.facts,
    )


def shop_page(env: Env) -> ShopPage | None:
    """The shop's page as text and buttons; None for other environments."""
    if not isinstance(env, WebShop):
        return None
    page = env.page()
    return ShopPage(
        instruction=env.goal.instruction,
        title=page.title,
        lines=list(page.lines),
        search=page.search,
        buttons=[
            ShopButton(label=b.label, action=b.action, note=b.note, group=b.group, chosen=b.chosen)
            for b in page.buttons
        ],
    )


def signal_column(t: Trajectory, values: np.ndarray | None) -> columns.Float32Column:
    """float32 [n tokens]; NaN where a signal was not recorded."""
    return columns.float32(np.full(len(t), np.nan, np.float32) if values is None else values)
