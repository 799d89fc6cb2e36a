"""``Builder``: samples and their token streams become trajectories, with a span rule and the groups of the import."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import compress

import numpy as np

from actfocus_core.dialogue import THINK, response_kinds
from actfocus_core.interop.grouping import Groups, Place
from actfocus_core.interop.reading import DataFile, check_text
from actfocus_core.interop.rendering import Stream, runs
from actfocus_core.interop.samples import Sample, Tokens, on_sampled
from actfocus_core.spans import SpanRule
from actfocus_core.trajectory import Parent, TokenKind, Trajectory, Turn


class Builder:
    """Builds the trajectories of one import.

    ``special``: ids of the special tokens of the chat template. ``model``: name of the sampling model where a sample has
    none. ``success_at``: the smallest reward that counts as success where a sample does not state it.
    """

    def __init__(self, rule: SpanRule, special: set[int], groups: Groups, model: str = "", success_at: float = 1.0):
        self.rule, self.special, self.groups = rule, special, groups
        self.model, self.success_at = model, success_at
        self._rollouts: dict[str, int] = {}
        self._segments: dict[tuple[str, str], tuple[int, int]] = {}
        self._prompts: dict[tuple[Place, str], str] = {}

    def trajectory(self, sample: Sample, stream: Stream, file: DataFile) -> Trajectory:
        """The trajectory of a sample of a file. Raises ActFocusError if one of its names cannot be encoded."""
        names = [sample.env, sample.run, sample.model, sample.agent, sample.error, sample.stop_reason, *sample.rewards]
        check_text("".join(names), f"{sample.where}: a name or a reason")
        tokens, texts = stream.tokens, stream.texts
        kinds, turns, records = self._turns(sample, stream)
        if sample.turn_rewards is not None and len(sample.turn_rewards) == len(records):
            for turn, reward in zip(records, sample.turn_rewards):
                turn.reward = reward
        elif records and np.isfinite(sample.reward):
            records[-1].reward = sample.reward
        signals = dict(tokens.signals)
        if sample.advantage is not None:
            signals["advantage"] = on_sampled(sample.advantage, tokens.sampled)
        step = sample.step if sample.step is not None else file.step or 0
        group = self._group(sample, file, step)
        rollout, segment = self._numbers(group, sample.rollout)
        id = f"{group}-{rollout:02d}"
        return Trajectory(
            id=f"{id}.{segment}" if segment else id,
            token_ids=tokens.ids,
            kinds=kinds,
            turns=turns,
            logprobs=np.where(tokens.sampled, tokens.logprobs, np.float32(np.nan)),
            texts=texts,
            turn_records=records,
            signals=signals,
            group=group,
            env=sample.env,
            rollout=rollout,
            step=step,
            model=sample.model or self.model,
            reward=sample.reward,
            success=self.success(sample),
            terminated=sample.terminated,
            truncated=sample.truncated,
            columns=sample.columns | ({"split": file.split} if file.split else {}),
            rollout_id=id if sample.rollout else "",
            segment=segment,
            parent=Parent(segment - 1, sample.shared) if segment and sample.shared else None,
            agent=sample.agent,
            in_loss=None if sample.trained else np.zeros(len(texts), bool),
            recorded={} if stream.loss_weight is None else {"loss_weight": stream.loss_weight},
            rewards=sample.rewards,
            error=sample.error,
            stop_reason=sample.stop_reason,
        )

    def success(self, sample: Sample) -> bool | None:
        """The outcome in the file, else by the reward; unknown for a rollout without either, and for one that ended in an
        error before the file stated an outcome."""
        if sample.success is not None or sample.error or not np.isfinite(sample.reward):
            return sample.success
        return bool(sample.reward >= self.success_at)

    def replies(self, stream: Stream, sample: Sample) -> Iterator[tuple[list[str], bool]]:
        """The token texts of each reply without the token that ends it, and whether its reasoning is open when it begins."""
        start = 0
        for begin, end, sampled in runs(stream.tokens.sampled):
            if sampled:
                reply = stream.texts[begin : end - self._is_closed(stream, end)]
                yield reply, _opens(sample, "".join(reply), "".join(stream.texts[max(start, begin - 64) : begin]))
                start = end

    def _is_closed(self, stream: Stream, end: int) -> bool:
        """Whether the reply that ends before ``end`` ends with a special token, which is no part of an action."""
        return int(stream.tokens.ids[end - 1]) in self.special

    # --- turns ---------------------------------------------------------------------------

    def _turns(self, sample: Sample, stream: Stream) -> tuple[np.ndarray, np.ndarray, list[Turn]]:
        """The kinds [T] and turns [T] of all tokens, and the record of each turn."""
        tokens, texts = stream.tokens, stream.texts
        assert tokens.kinds is not None  # set by the renderer
        kinds, turns = tokens.kinds.copy(), np.zeros(len(texts), np.int16)
        records: list[Turn] = []
        start = 0
        replies = self.replies(stream, sample)
        for begin, end, sampled in runs(tokens.sampled):
            if not sampled:
                start = begin
                continue
            observation = "".join(compress(texts[start:begin], (kinds[start:begin] == TokenKind.USER).tolist()))
            reply, opened = next(replies)
            kinds[begin:end] = TokenKind.FORMAT
            kinds[begin : begin + len(reply)], record = self._reply(reply, opened, observation)
            # The environment answered inside the reply, whose first part is then no malformed answer.
            record.valid |= end < len(texts) and bool(kinds[end] == TokenKind.USER)
            turns[start:end] = min(len(records), np.iinfo(np.int16).max)
            records.append(record)
            start = end
        # Context after the last reply was never answered; it belongs to the last turn.
        turns[start:] = max(len(records) - 1, 0)
        first = np.flatnonzero(kinds == TokenKind.USER)
        turns[: first[0] if len(first) and not tokens.sampled[: first[0]].any() else 0] = -1
        return kinds, turns, records

    def _reply(self, texts: list[str], opened: bool, observation: str) -> tuple[list[TokenKind], Turn]:
        """The token kinds and the turn record of a reply."""
        text = "".join(texts)
        spans = self.rule.find(text, opened)
        key = hashlib.sha1(observation.encode("utf-8", "replace")).hexdigest()[:16]
        record = Turn(
            observation,
            text,
            self.rule.actions(text, spans),
            self.rule.well_formed(text, spans),
            0.0,
            0.0,
            f"text-{key}",
            {},
        )
        return response_kinds(texts, spans), record

    # --- names ---------------------------------------------------------------------------

    def _group(self, sample: Sample, file: DataFile, step: int) -> str:
        prompt = sample.prompt
        place = Place(step, sample.env, "/".join(filter(None, (file.scope, sample.run))), file.split)
        # The first context of a rollout has its prompt.
        first = self._prompts.setdefault((place, sample.rollout), prompt) if sample.rollout else prompt
        return self.groups.name(place, sample.group or first, prompt, file.path, sample.rollout)

    def _numbers(self, group: str, name: str) -> tuple[int, int]:
        """The rollout's number in its group, and the number of this sample among the rollout's segments."""
        rollout, segment = self._segments.get((group, name), (None, 0))
        if rollout is None:
            rollout = self._rollouts[group] = self._rollouts.get(group, -1) + 1
        if name:
            self._segments[group, name] = rollout, segment + 1
        return rollout, segment


def _opens(sample: Sample, text: str, before: str) -> bool:
    """Whether the reasoning of a reply is open when it begins, after the text ``before``."""
    if before.rstrip().endswith(THINK[0]):
        return True
    # Text often lacks the opening tag, which the template wrote.
    return not isinstance(sample.content, Tokens) and THINK[1] in text and THINK[0] not in text[: text.find(THINK[1])]
