"""Evaluation in a replay: the fixed prompts, played before and after the update with common random numbers."""

from __future__ import annotations

import numpy as np

from actfocus_core.counterfactual.replay.parallel import policy_logprobs
from actfocus_core.outcomes import numbers
from actfocus_core.stats import gain_interval
from actfocus_core.train.evaluate import evaluate, prompt_means, summary
from actfocus_core.train.learner import Learner
from actfocus_core.trajectory import Trajectory

ROLLOUTS = 4
"""per prompt"""


class Evaluation:
    """Rollouts of the first ``prompts`` evaluation prompts before the update; ``first`` is their ``summary``."""

    def __init__(self, learner: Learner, prompts: int, step: int, workers: int):
        self.prompts, self.step = prompts, step
        self.rollouts = self._play(learner)
        self.logprobs = policy_logprobs(learner, self.rollouts, workers)
        self.first = summary(self.rollouts)

    def _play(self, learner: Learner) -> list[Trajectory]:
        c = learner.config
        with learner.phase("evaluate"):
            return evaluate(
                learner.rollout_policy,
                c.env,
                prompts=self.prompts,
                rollouts=ROLLOUTS,
                temperature=c.temperature,
                step=self.step,
                env_options=c.env_options,
                batch_size=c.rollout_batch,
            )

    def after(self, learner: Learner) -> dict[str, float | None]:
        """Evaluate the updated policy.

        ``summary`` of new rollouts; ``gain`` in success rate, with its ``gain_interval`` over prompts unless there is only
        one; ``change_succeeded`` and ``change_failed``, the mean change of the log-probs of the rollouts from before the
        update, of those that succeeded and of the others.
        """
        played = self._play(learner)
        result: dict[str, float | None] = {**summary(played)}
        gains = prompt_means(played, numbers(t.success for t in played)) - prompt_means(
            self.rollouts, numbers(t.success for t in self.rollouts)
        )
        result["gain"], low, high = gain_interval(gains)
        if len(gains) > 1:
            result |= {"gain_low": low, "gain_high": high}
        changes = [now - then for now, then in zip(policy_logprobs(learner, self.rollouts, workers=1), self.logprobs)]
        for name, of in (("succeeded", True), ("failed", False)):
            selected = [c[t.loss_mask] for c, t in zip(changes, self.rollouts) if t.success is of]
            result[f"change_{name}"] = float(np.concatenate(selected).mean()) if selected else None
        return result
