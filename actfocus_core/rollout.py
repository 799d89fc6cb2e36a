"""The multi-turn rollout loop: environments and a sampler produce trajectories."""

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
"""The first environment seed of the evaluation set and of the training prompts."""


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
    """Sample ``rollouts`` episodes of every prompt, ordered by prompt.

    ``prompts``: environment seeds, or their number, counted from TRAINING_SEED. ``seed``: of the sampling.
    ``env_options``: override the options the policy was trained with. ``sampler``: ``CachedSampler`` by default.
    ``on_progress(done, total)`` counts finished trajectories. The result does not depend on ``batch_size``, up to
    rounding. Raises ActFocusError for options out of range.
    """
    seeds = list(range(TRAINING_SEED, TRAINING_SEED + prompts)) if isinstance(prompts, int) else list(prompts)
    for name, number in (("prompts", len(seeds)), ("rollouts", rollouts), ("batch_size", batch_size)):
        if number < 1:
            raise ActFocusError(f"{name}={number}: must be 1 or more")
    options = {**policy.env_options.get(env, {}), **(env_options or {})}
    sampler = sampler or CachedSampler(policy, temperature)
    template = make_env(env, **options)
    episodes = []
    for env_seed in seeds:
        for rollout in range(rollouts):
            episode_env = template.clone()
            episode_env.reset(env_seed, rollout)
            episodes.append(Episode(episode_env, policy, step, seed))
    return play_to_end(episodes, sampler, policy.context, batch_size, on_progress)


def play_to_end(
    episodes: list[Episode],
    sampler: Sampler,
    context: int,
    batch_size: int = 128,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Trajectory]:
    """Play episodes from their present state to the end; finished episodes are unchanged.

    ``context``: the model's context length in tokens. ``on_progress(done, total)`` counts unfinished episodes.
    """
    unfinished = [episode for episode in episodes if not episode.done]
    for start in range(0, len(unfinished), batch_size):
        for finished in _play(unfinished[start : start + batch_size], sampler, context):
            if on_progress:
                on_progress(start + finished, len(unfinished))
    return [episode.trajectory() for episode in episodes]


def _play(episodes: list[Episode], sampler: Sampler, context: int) -> Iterator[int]:
    """Play all episodes to the end; yields the number of finished ones after every turn."""
    sampler.begin(len(episodes))
    active = list(episodes)
    while active:
        limit = min(episode.token_budget(context) for episode in active)
        uniforms = np.stack([episode.rng.random(limit) for episode in active])
        replies = sampler.reply([episode.block for episode in active], limit, uniforms)
        for episode, reply in zip(active, replies):
            episode.advance(reply, context)
        remaining = [i for i, episode in enumerate(active) if not episode.done]
        active = [active[i] for i in remaining]
        if active:
            sampler.keep(remaining)
        yield len(episodes) - len(active)


@dataclass
class Episode:
    """An unfinished rollout: the token stream so far, and the environment in the state the policy answers next."""

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
    reply_prefix: Reply | None = None
    """The given beginning of the next reply; the model reads it with the block instead of sampling it."""

    def __post_init__(self) -> None:
        self.seed, self.rollout = self.env.seed, self.env.rollout
        self.rng = np.random.default_rng(
            stable_seed("sampling", self.sampling_seed, self.step, self.seed, self.rollout)
        )
        self.observation = self.env.observation()
        if self.ids:
            return
        self._append(self.chat.initial_segment(self.env.system_prompt(), self.observation), turn=0)
        # The tokens before the first user message belong to no turn.
        first = self.kinds.index(TokenKind.USER)
        self.turns[:first] = [-1] * first

    @classmethod
    def resume(
        cls, env: Env, policy: Policy, t: Trajectory, turn: int, sampling_seed: int, keep_answer: bool = False
    ) -> Episode:
        """Resume a stored trajectory at one of its turns, before its reply or, with ``keep_answer``, after it."""
        sampled = np.flatnonzero((t.turns == turn) & (t.kinds >= TokenKind.REASONING))
        first, end = int(sampled[0]), int(sampled[-1]) + 1
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
            episode.advance(
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

    def token_budget(self, context: int) -> int:
        """The number of tokens the policy may sample in this turn."""
        prefix_length = len(self.reply_prefix.ids) if self.reply_prefix else 0
        return min(self.env.options.response_tokens, context - len(self.ids)) - prefix_length

    def prefill(self, reply: Reply, context: int) -> None:
        """Fix the beginning of the next reply, or the whole reply if it is closed or exhausts the token budget."""
        self.reply_prefix = reply
        if reply.closed or self.token_budget(context) <= 0:
            self.reply_prefix = None
            self.advance(reply, context)
            # The sampler has read nothing of this stream yet.
            self.block = list(self.ids)
        else:
            self.block = [*self.ids, *reply.ids]

    def advance(self, reply: Reply, context: int) -> None:
        """Record a reply, execute its actions, and append the next block or end the episode."""
        if self.reply_prefix:
            reply = self.reply_prefix.joined(reply)
            self.reply_prefix = None
        texts = self.chat.texts(reply.ids)
        text = "".join(texts)
        spans = find_spans(text, self.chat.opens_thinking)
        answer = text[slice(*spans.answer)] if spans.answer else ""
        state, key, turn = self.env.state(), self.env.state_key(), len(self.records)
        result = self.env.step(split_actions(answer))
        self._extend(
            reply.ids, response_kinds(texts, spans), texts, turn, reply.logprobs.tolist(), reply.entropies.tolist()
        )
        response = text.removesuffix(texts[-1]) if reply.closed else text
        self.records.append(
            Turn(
                self.observation,
                response,
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
            self._append(self.chat.next_segment(self.observation, reply.closed), turn + 1)
            if len(self.ids) + MIN_REPLY > context:
                # The context has no space for another reply: remove the block and truncate the episode.
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
        """Append the block that the policy reads next."""
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
"""The episode is truncated if fewer tokens than this remain in the model's context for a reply."""
