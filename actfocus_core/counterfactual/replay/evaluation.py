"""The evaluation set of a replay: the fixed prompts, played before the update and after it with the same dice."""

from __future__ import annotations

import numpy as np

from actfocus_core.counterfactual.replay.lanes import logprobs
from actfocus_core.stats import gain_interval
from actfocus_core.train.evaluate import evaluate, prompt_means, summary
from actfocus_core.train.learner import Learner
from actfocus_core.trajectory import Trajectory

ROLLOUTS = 4
"""a prompt"""


class Evaluation:
    """``prompts`` of them, played by the learner as it is; ``first`` is their ``summary``."""

    def __init__(self, learner: Learner, prompts: int, step: int, lanes: int):
        self.prompts, self.step = prompts, step
        self.rollouts = self._play(learner)
        self.logprobs = logprobs(learner, self.rollouts, lanes)
        self.first = summary(self.rollouts)

    def _play(self, learner: Learner) -> list[Trajectory]:
        c = learner.config
        with learner.phase("evaluate"):
            return evaluate(
                learner.player,
                c.env,
                prompts=self.prompts,
                rollouts=ROLLOUTS,
                temperature=c.temperature,
                step=self.step,
                env_options=c.env_options,
                batch_size=c.rollout_batch,
            )

    def after(self, learner: Learner) -> dict[str, float | None]:
        """``summary`` of new rollouts; ``gain`` in success with its ``gain_interval`` over prompts, left out for a
        single one; and the mean change of log-prob of the tokens of earlier rollouts, of those that succeeded
        and of the others."""
        played = self._play(learner)
        found: dict[str, float | None] = {**summary(played)}
        d = prompt_means(played, [t.success for t in played]) - prompt_means(
            self.rollouts, [t.success for t in self.rollouts]
        )
        found["gain"], low, high = gain_interval(d)
        if len(d) > 1:
            found |= {"gain_low": low, "gain_high": high}
        changes = [now - then for now, then in zip(logprobs(learner, self.rollouts, lanes=1), self.logprobs)]
        for name, of in (("succeeded", True), ("failed", False)):
            own = [c[t.response_mask] for c, t in zip(changes, self.rollouts) if t.success is of]
            found[f"change_{name}"] = float(np.concatenate(own).mean()) if own else None
        return found
