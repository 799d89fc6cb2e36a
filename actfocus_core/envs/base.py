"""The base class of environments: turns, budgets, penalties, seeds, saving and restoring of states.

An environment is a deterministic function of (seed, rollout, actions). The policy reads text, a person sees an SVG, and
``state()`` is plain JSON, so that every turn of a stored trajectory can be restored.
"""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from actfocus_core.errors import ActFocusError


class Step(NamedTuple):
    """The result of ``env.step``."""

    observation: str
    reward: float
    """Sum of the rewards of the executed actions, without the penalty."""
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    """``actions`` (the executed ones), ``valid``, ``penalty``, ``success``, and entries of the environment."""


class EnvOptions(BaseModel):
    """Options common to all environments; the defaults are the paper's (method.md section 6)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_turns: int = Field(5, ge=1, le=100)
    max_actions: int = Field(10, ge=1, le=1000)
    """Maximum number of actions in an episode."""
    actions_per_turn: int = Field(2, ge=1, le=100)
    """Maximum number of actions in a turn; further actions of an answer are ignored."""
    format_penalty: float = Field(-0.1, le=0)
    """Reward of a turn without a valid answer."""
    response_tokens: int = Field(400, ge=1, le=32768)
    """Length limit of a response in tokens, stated in the prompt and enforced by the sampler."""
    observation: Literal["full", "compact"] = "full"
    """``full``: every turn shows the board and the format instructions. ``compact``: coordinates only, and the format
    instructions only in the system message; for very small policies."""
    examples: int = Field(0, ge=0, le=2)
    """Number of worked examples in the system message, for models that do not know the format."""


class Env(ABC):
    """Base class of environments. A subclass defines the rules; this class manages turns and budgets."""

    name: ClassVar[str]
    Options: ClassVar[type[EnvOptions]] = EnvOptions
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    """Options by preset name; ``paper``: the options stated in the paper (method.md section 6)."""
    worked_examples: ClassVar[tuple[tuple[str, str, tuple[str, ...]], ...]] = ()
    """Worked examples: (observation, reasoning, actions)."""

    def __init__(self, preset: str | None = None, **options: Any):
        if preset is not None and preset not in self.presets:
            raise ActFocusError(f"{self.name}: no preset {preset!r}; there are {', '.join(self.presets)}")
        preset_options = {} if preset is None else self.presets[preset]
        try:
            self.options = self.Options(**{**preset_options, **options})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ActFocusError(
                f"{self.name}: option {where}={first.get('input')!r}: {first['msg']}; "
                f"options are {', '.join(self.Options.model_fields)}"
            ) from None
        self.reset(0)

    # --- the public interface ------------------------------------------------------------

    forced_outcomes: list[float]
    """Numbers in [0, 1) that replace the random numbers of the next actions; set by oracles, otherwise empty."""

    def reset(self, seed: int, rollout: int = 0) -> str:
        """Start an episode and return the first observation.

        The state depends on ``seed`` only, random outcomes on ``seed`` and ``rollout``: the rollouts of a group start
        from the same state with independent random outcomes.
        """
        self.seed, self.rollout = int(seed), int(rollout)
        self.turn = 0
        self.actions_left = self.options.max_actions
        self.terminated = self.truncated = self.success = False
        self.forced_outcomes = []
        self._start()
        return self.observation()

    def step(self, actions: list[str]) -> Step:
        """Execute the actions of one turn, given as strings in any spelling that the rules allow.

        Never raises for any strings: actions that cannot be parsed are not executed and incur ``format_penalty``.
        After the end of the episode the step has no effect.
        """
        if self.terminated or self.truncated:
            return Step(
                self.observation(),
                0.0,
                self.terminated,
                self.truncated,
                {"actions": [], "valid": False, "penalty": 0.0, "success": self.success, **self._info()},
            )
        parsed = [self.parse(text) for text in actions[: self.options.actions_per_turn]]
        valid = bool(parsed) and None not in parsed
        reward, executed = 0.0, []
        for action in parsed:
            if action is None or self.terminated or not self.actions_left:
                continue
            action_reward, self.terminated, self.success = self._apply(action)
            reward += action_reward
            executed.append(action)
            self.actions_left -= 1
        self.turn += 1
        exhausted = self.turn >= self.options.max_turns or not self.actions_left
        self.truncated = exhausted and not self.terminated
        penalty = 0.0 if valid else self.options.format_penalty
        return Step(
            self.observation(),
            reward,
            self.terminated,
            self.truncated,
            {"actions": executed, "valid": valid, "penalty": penalty, "success": self.success, **self._info()},
        )

    def state(self) -> dict[str, Any]:
        """The complete state for ``restore``, as plain JSON."""
        return {
            "seed": self.seed,
            "rollout": self.rollout,
            "turn": self.turn,
            "actions_left": self.actions_left,
            "terminated": self.terminated,
            "truncated": self.truncated,
            "success": self.success,
            **self._state(),
        }

    def restore(self, state: dict[str, Any]) -> str:
        """Restore a stored state and return its observation. The options must be those it was stored under."""
        for name in ("seed", "rollout", "turn", "actions_left", "terminated", "truncated", "success"):
            setattr(self, name, state[name])
        self.forced_outcomes = []
        self._restore(state)
        return self.observation()

    def clone(self) -> Self:
        """An independent copy in the same state, with the same future random outcomes."""
        return copy.deepcopy(self)

    def outcome_distribution(self) -> list[tuple[float, float]]:
        """(probability, number) of every random outcome of one action.

        With these numbers in ``forced_outcomes`` the next actions have the chosen outcomes.
        """
        return [(1.0, 0.0)]

    def observation(self) -> str:
        """The user message of the present turn."""
        o = self.options
        if o.observation == "compact":
            return f"Turn {self.turn + 1}. {self.actions_left} left. {self.state_text()}"
        return (
            f"Turn {self.turn + 1} of {o.max_turns}.\nState:\n{self.state_text()}\n"
            f"You have {self.actions_left} actions left. {self._format_instructions()}"
        )

    def system_prompt(self) -> str:
        """The system message: the task, the symbols, the actions, and worked examples."""
        compact = self.options.observation == "compact"
        prompt = f"{self.task_text()} {self._format_instructions()}" if compact else self.task_text()
        return "\n".join([prompt, *self._examples()])

    def _examples(self) -> list[str]:
        return [
            f"For example, to\n{observation}\nyou may answer\n<think> {reasoning} </think> <answer> "
            f"{' || '.join(actions[: self.options.actions_per_turn])} </answer>"
            for observation, reasoning, actions in self.worked_examples[: self.options.examples]
        ]

    def _format_instructions(self) -> str:
        o = self.options
        if o.observation == "compact":
            return f"Answer <think>...</think><answer>...</answer>, {o.actions_per_turn} actions."
        return (
            f"Always answer as <think> your thoughts </think> <answer> your actions </answer> with "
            f"no other text, at most {o.actions_per_turn} actions separated by || and at most "
            f"{o.response_tokens} tokens."
        )

    def _info(self) -> dict[str, Any]:
        """Entries that the environment adds to ``Step.info``, as plain JSON."""
        return {}

    # --- the rules, defined by each environment ------------------------------------------

    @abstractmethod
    def _start(self) -> None:
        """Set the state from ``self.seed``."""

    @abstractmethod
    def _apply(self, action: str) -> tuple[float, bool, bool]:
        """Execute one parsed action; returns reward, terminated, success."""

    @abstractmethod
    def parse(self, text: str) -> str | None:
        """The canonical spelling of an action, or None if the text is not an action."""

    @abstractmethod
    def legal_actions(self) -> list[str]:
        """The actions that can be executed in the present state, in canonical spelling."""

    @abstractmethod
    def state_key(self) -> str:
        """A key that is equal for equal world states, regardless of budgets and randomness."""

    @abstractmethod
    def world_key(self) -> tuple[Hashable, ...]:
        """The part of the world that no action changes: the lake, the room, the puzzle, the shopping goal.

        Equal states of equal worlds have equal values under equal options.
        """

    @abstractmethod
    def task_text(self) -> str:
        """The description of the task, the symbols and the actions."""

    @abstractmethod
    def state_text(self) -> str:
        """The state as the policy reads it."""

    @abstractmethod
    def svg(self) -> str:
        """A drawing of the state: one <svg> element that contains only shapes and numbers."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """The environment-specific part of ``state()``."""

    @abstractmethod
    def _restore(self, state: dict[str, Any]) -> None:
        """The inverse of ``_state``."""


def match_name(text: str, names: list[str]) -> str | None:
    """The name that equals the text up to case and surrounding white space, or None."""
    key = text.strip().casefold()
    return next((name for name in names if name.casefold() == key), None)


def stable_seed(*parts: object) -> int:
    """A 63-bit hash of the parts, the same on every machine and in every process."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def stable_uniform(*parts: object) -> float:
    """A number in [0, 1) from a hash of the parts: randomness without a stored generator state."""
    return (stable_seed(*parts) >> 10) / 2**53
