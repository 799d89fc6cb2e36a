"""What every environment shares: turns, budgets, penalties, seeds, storing and restoring.

An environment is a deterministic function of (seed, rollout, actions). Everything the
policy reads is text; everything a person sees is an SVG; ``state()`` is plain JSON, so
that any turn of a stored trajectory can be returned to.
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
    """What ``env.step`` returns."""

    observation: str
    reward: float
    """Sum of the environment's rewards of the actions carried out; the penalty is apart."""
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    """``actions`` carried out, ``valid``, ``penalty``, ``success``, and what an environment adds."""


class EnvOptions(BaseModel):
    """Options common to all environments; the defaults are the paper's (method.md section 6)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_turns: int = Field(5, ge=1, le=100)
    max_actions: int = Field(10, ge=1, le=1000)
    """Actions an episode."""
    actions_per_turn: int = Field(2, ge=1, le=100)
    """An answer is cut to this many."""
    format_penalty: float = Field(-0.1, le=0)
    """For a turn without a valid answer."""
    response_tokens: int = Field(400, ge=1, le=32768)
    """Length limit of one answer, told to the policy and kept by the sampler."""
    observation: Literal["full", "compact"] = "full"
    """``full``: the drawn board and the demand for the format in every turn. ``compact``:
    coordinates only, the demand in the system message alone; for very small policies."""
    examples: int = Field(0, ge=0, le=2)
    """Worked examples in the system message, for models that do not know the format."""


class Env(ABC):
    """Base class. A subclass gives the rules; this class gives turns and budgets."""

    name: ClassVar[str]
    Options: ClassVar[type[EnvOptions]] = EnvOptions
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    """Options by name; ``paper``: what the paper says of this task (method.md section 6)."""
    worked_examples: ClassVar[tuple[tuple[str, str, tuple[str, ...]], ...]] = ()
    """Worked examples: what is seen, what is thought of it, what is done."""

    def __init__(self, preset: str | None = None, **options: Any):
        if preset is not None and preset not in self.presets:
            raise ActFocusError(f"{self.name}: no preset {preset!r}; there are {', '.join(self.presets)}")
        chosen = {} if preset is None else self.presets[preset]
        try:
            self.options = self.Options(**{**chosen, **options})
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
    """What the next actions' dice show instead of the rollout's own; empty but in an oracle's hands."""

    def reset(self, seed: int, rollout: int = 0) -> str:
        """Start an episode and return the first observation.

        The state depends on ``seed`` alone, the dice on ``seed`` and ``rollout``: rollouts of
        a group start from the same state and do not slip in lock-step.
        """
        self.seed, self.rollout = int(seed), int(rollout)
        self.turn = 0
        self.actions_left = self.options.max_actions
        self.terminated = self.truncated = self.success = False
        self.forced_outcomes = []
        self._start()
        return self.observation()

    def step(self, actions: list[str]) -> Step:
        """Carry out one turn's actions, given as strings in any spelling the rules allow.

        Never raises on what the strings are: what cannot be understood is not carried out
        and costs ``format_penalty``. After the end of the episode nothing happens any more.
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
        reward, done = 0.0, []
        for action in parsed:
            if action is None or self.terminated or not self.actions_left:
                continue
            gain, self.terminated, self.success = self._apply(action)
            reward += gain
            done.append(action)
            self.actions_left -= 1
        self.turn += 1
        spent = self.turn >= self.options.max_turns or not self.actions_left
        self.truncated = spent and not self.terminated
        penalty = 0.0 if valid else self.options.format_penalty
        return Step(
            self.observation(),
            reward,
            self.terminated,
            self.truncated,
            {"actions": done, "valid": valid, "penalty": penalty, "success": self.success, **self._info()},
        )

    def state(self) -> dict[str, Any]:
        """Everything ``restore`` needs, as plain JSON."""
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
        """Return to a stored state; gives its observation. The options must be the same."""
        for name in ("seed", "rollout", "turn", "actions_left", "terminated", "truncated", "success"):
            setattr(self, name, state[name])
        self.forced_outcomes = []
        self._restore(state)
        return self.observation()

    def clone(self) -> Self:
        """An independent copy in the same state, with the same dice to come."""
        return copy.deepcopy(self)

    def outcome_distribution(self) -> list[tuple[float, float]]:
        """(probability, number) of every way the dice of one action can fall; set ``forced_outcomes``
        to such numbers and the next actions take them."""
        return [(1.0, 0.0)]

    def observation(self) -> str:
        """The user message of this turn."""
        o = self.options
        if o.observation == "compact":
            return f"Turn {self.turn + 1}. {self.actions_left} left. {self.state_text()}"
        return (
            f"Turn {self.turn + 1} of {o.max_turns}.\nState:\n{self.state_text()}\n"
            f"You have {self.actions_left} actions left. {self._format_instructions()}"
        )

    def system_prompt(self) -> str:
        """The system message: who you are, the task, the symbols, the legal actions."""
        compact = self.options.observation == "compact"
        prompt = f"{self.task_text()} {self._format_instructions()}" if compact else self.task_text()
        return "\n".join([prompt, *self._examples()])

    def _examples(self) -> list[str]:
        return [
            f"For example, to\n{seen}\nyou may answer\n<think> {thought} </think> <answer> "
            f"{' || '.join(actions[: self.options.actions_per_turn])} </answer>"
            for seen, thought, actions in self.worked_examples[: self.options.examples]
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
        """What the environment adds to a step's ``info``: plain JSON."""
        return {}

    # --- the rules, given by each environment --------------------------------------------

    @abstractmethod
    def _start(self) -> None:
        """Set the state from ``self.seed``."""

    @abstractmethod
    def _apply(self, action: str) -> tuple[float, bool, bool]:
        """Carry out one parsed action: reward, terminated, success."""

    @abstractmethod
    def parse(self, text: str) -> str | None:
        """An action in the environment's own spelling, or None if it is not one."""

    @abstractmethod
    def legal_actions(self) -> list[str]:
        """The actions that can be carried out now, in the environment's own spelling."""

    @abstractmethod
    def state_key(self) -> str:
        """Equal for equal states of the world; budgets and dice are not part of it."""

    @abstractmethod
    def world_key(self) -> tuple[Hashable, ...]:
        """What no action changes: the lake, the room, the puzzle, the wish. States of equal
        worlds under equal options have equal values."""

    @abstractmethod
    def task_text(self) -> str:
        """The task, the legend of symbols and the actions."""

    @abstractmethod
    def state_text(self) -> str:
        """The state as the policy reads it."""

    @abstractmethod
    def svg(self) -> str:
        """The state drawn for a person: one <svg> element made of shapes and numbers only."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """The rules' own part of ``state()``."""

    @abstractmethod
    def _restore(self, state: dict[str, Any]) -> None:
        """The inverse of ``_state``."""


def match_name(text: str, names: list[str]) -> str | None:
    """The name that equals the text without regard to case and outer white space."""
    wanted = text.strip().casefold()
    return next((name for name in names if name.casefold() == wanted), None)


def stable_seed(*parts: object) -> int:
    """A 63-bit integer from any parts, the same on every machine and in every process."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def stable_uniform(*parts: object) -> float:
    """A number in [0, 1) from any parts: dice that need no stored generator state."""
    return (stable_seed(*parts) >> 10) / 2**53
