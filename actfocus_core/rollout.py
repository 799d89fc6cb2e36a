"""The multi-turn loop: environments and a sampler make trajectories."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actfocus_core.dialogue import ChatFormat, Segment, find_spans, response_kinds, split_actions
from actfocus_core.envs import Env, make_env
from actfocus_core.envs.base import stable_seed
from actfocus_core.errors import ActFocusError
from actfocus_core.policy import Policy
from actfocus_core.policy.sampler import CachedSampler, Reply, Sampler
from actfocus_core.trajectory import TokenKind, Trajectory, Turn

EVALUATION_SEED, TRAINING_SEED = 123, 10_000
"""The first prompt of each kind (environments.md)."""


def collect(
    policy: Policy,
    env: str = "frozen_lake",
    *,
    prompts: int | Sequence[int] = 8,
    rollouts: int = 8,
    temperature: float = 1.0,
    seed: int = 0,
    step: int = 0,
    env_options: dict[str, Any] | None = None,
    sampler: Sampler | None = None,
    batch_size: int = 128,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Trajectory]:
    """Roll the policy out: ``rollouts`` episodes of every prompt, ordered by prompt.

    ``prompts``: the environment seeds, or how many, from TRAINING_SEED on. ``seed`` seeds the
    sampling. ``env_options`` are added to those the policy was trained with. ``sampler``: by
    default the transformers one. ``on_progress(done, total)`` counts finished trajectories.
    The result is the same for any ``batch_size`` but for rounding. Raises ActFocusError for
    options out of range.
    """
    seeds = list(range(TRAINING_SEED, TRAINING_SEED + prompts)) if isinstance(prompts, int) else list(prompts)
    for name, number in (("prompts", len(seeds)), ("rollouts", rollouts), ("batch_size", batch_size)):
        if number < 1:
            raise ActFocusError(f"{name}={number}: must be 1 or more")
    options = {**policy.env_options.get(env, {}), **(env_options or {})}
    sampler = sampler or CachedSampler(policy, temperature)
    template = make_env(env, **options)
    episodes = []
    for s in seeds:
        for r in range(rollouts):
            own = template.clone()
            own.reset(s, r)
            episodes.append(Episode(own, policy, step, seed))
    return play_on(episodes, sampler, policy.context, batch_size, on_progress)


def play_on(
    episodes: list[Episode],
    sampler: Sampler,
    context: int,
    batch_size: int = 128,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Trajectory]:
    """Play episodes from where they are to their end; those that have ended stay as they are."""
    going = [episode for episode in episodes if not episode.done]
    for start in range(0, len(going), batch_size):
        for ended in _play(going[start : start + batch_size], sampler, context):
            if on_progress:
                on_progress(start + ended, len(going))
    return [episode.trajectory() for episode in episodes]


def _play(episodes: list[Episode], sampler: Sampler, context: int) -> Iterator[int]:
    """Play all episodes to their end; yields after every turn how many have ended."""
    sampler.begin(len(episodes))
    alive = list(episodes)
    while alive:
        limit = min(e.room(context) for e in alive)
        dice = np.stack([e.dice.random(limit) for e in alive])
        replies = sampler.reply([e.block for e in alive], limit, dice)
        for episode, reply in zip(alive, replies):
            episode.take(reply, context)
        going = [i for i, episode in enumerate(alive) if not episode.done]
        alive = [alive[i] for i in going]
        if alive:
            sampler.keep(going)
        yield len(episodes) - len(alive)


@dataclass
class Episode:
    """One rollout while it is being played: the stream so far and the environment, in the state
    the policy is to answer to."""

    env: Env
    policy: Policy
    step: int
    sampling_seed: int
    ids: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    records: list[Turn] = field(default_factory=list)
    done: bool = False
    given: Reply | None = None
    """What the next reply begins with already: it is read with the block, not sampled."""

    def __post_init__(self) -> None:
        self.seed, self.rollout = self.env.seed, self.env.rollout
        self.dice = np.random.default_rng(
            stable_seed("sampling", self.sampling_seed, self.step, self.seed, self.rollout)
        )
        self.observation = self.env.observation()
        if self.ids:
            return
        self._append(self.chat.opening(self.env.system_prompt(), self.observation), turn=0)
        # What stands before the first user message belongs to no turn.
        first = self.kinds.index(TokenKind.USER)
        self.turns[:first] = [-1] * first

    @classmethod
    def resume(
        cls, env: Env, policy: Policy, t: Trajectory, turn: int, sampling_seed: int, keep_answer: bool = False
    ) -> Episode:
        """A stored trajectory at one of its turns: before its reply, or with ``keep_answer`` after it."""
        written = np.flatnonzero((t.turns == turn) & (t.kinds >= TokenKind.REASONING))
        first, end = int(written[0]), int(written[-1]) + 1
        episode = cls(
            env,
            policy,
            t.step,
            sampling_seed,
            t.token_ids[:first].tolist(),
            t.kinds[:first].tolist(),
            t.turns[:first].tolist(),
            list(t.texts[:first]),
            t.logprobs[:first].tolist(),
            [float("nan")] * first,
            list(t.turn_records[:turn]),
        )
        episode.block = list(episode.ids)
        if keep_answer:
            ids = t.token_ids[first:end].tolist()
            episode.take(
                Reply(
                    ids,
                    t.logprobs[first:end],
                    np.full(end - first, np.nan, np.float32),
                    ids[-1] in policy.chat.stop_ids(),
                ),
                policy.context,
            )
            episode.block = list(episode.ids)
        return episode

    @property
    def chat(self) -> ChatFormat:
        return self.policy.chat

    def room(self, context: int) -> int:
        """How many tokens the policy may sample in this turn."""
        given = len(self.given.ids) if self.given else 0
        return min(self.env.options.response_tokens, context - len(self.ids)) - given

    def give(self, reply: Reply, context: int) -> None:
        """Put the beginning of the next reply, or the whole of it where it is closed or leaves no room."""
        self.given = reply
        if reply.closed or self.room(context) <= 0:
            self.given = None
            self.take(reply, context)
            # Nothing of this stream was read yet.
            self.block = list(self.ids)
        else:
            self.block = [*self.ids, *reply.ids]

    def take(self, reply: Reply, context: int) -> None:
        """Record a reply, act on it, and lay out the next block or end the episode."""
        if self.given:
            reply = self.given.joined(reply)
            self.given = None
        texts = self.chat.texts(reply.ids)
        text = "".join(texts)
        spans = find_spans(text, self.chat.opens_thinking)
        answer = text[slice(*spans.answer)] if spans.answer else ""
        state, key, turn = self.env.state(), self.env.state_key(), len(self.records)
        result = self.env.step(split_actions(answer))
        self._extend(
            reply.ids, response_kinds(texts, spans), texts, turn, reply.logprobs.tolist(), reply.entropies.tolist()
        )
        said = text.removesuffix(texts[-1]) if reply.closed else text
        self.records.append(
            Turn(
                self.observation,
                said,
                result.info["actions"],
                result.info["valid"],
                result.reward,
                result.info["penalty"],
                key,
                state,
            )
        )
        self.observation = result.observation
        self.done = result.terminated or result.truncated
        if not self.done:
            self._append(self.chat.following(self.observation, reply.closed), turn + 1)
            if len(self.ids) + MIN_REPLY > context:
                # No room to answer in: the block is taken back, the episode is cut here.
                del self.ids[-len(self.block) :]
                for name in ("kinds", "turns", "texts", "logprobs", "entropies"):
                    del getattr(self, name)[len(self.ids) :]
                self.done = self.env.truncated = True

    def trajectory(self) -> Trajectory:
        """The finished episode."""
        env = self.env
        return Trajectory(
            id=f"{self.step:05d}-{self.seed}-{self.rollout:02d}",
            token_ids=np.array(self.ids, np.int32),
            kinds=np.array(self.kinds, np.uint8),
            turns=np.array(self.turns, np.int16),
            logprobs=np.array(self.logprobs, np.float32),
            texts=self.texts,
            turn_records=self.records,
            signals={"entropy": np.array(self.entropies, np.float32)},
            group=f"{self.step:05d}-{self.seed}",
            env=env.name,
            seed=self.seed,
            rollout=self.rollout,
            step=self.step,
            model=self.policy.name,
            reward=sum(r.reward for r in self.records),
            penalty=sum(r.penalty for r in self.records),
            success=env.success,
            terminated=env.terminated,
            truncated=env.truncated,
        )

    def _append(self, segment: Segment, turn: int) -> None:
        """Lay out a block the policy reads next."""
        unscored = [float("nan")] * len(segment.ids)
        self.block = segment.ids
        self._extend(segment.ids, segment.kinds, segment.texts, turn, unscored, unscored)

    def _extend(
        self,
        ids: list[int],
        kinds: Sequence[int],
        texts: list[str],
        turn: int,
        logprobs: list[float],
        entropies: list[float],
    ) -> None:
        self.ids += ids
        self.kinds += map(int, kinds)
        self.texts += texts
        self.turns += [turn] * len(ids)
        self.logprobs += logprobs
        self.entropies += entropies


MIN_REPLY = 16
"""Tokens that must be left in the model's context for another turn to be worth playing."""
