"""Counterfactual replay of one stored update, under its own credit scheme and under others.

The learner is restored to where the step began (counterfactual/history.py) and takes the step with the trainer's own
code, once per scheme: the same rollouts, the same mini-batches in the same order, the same optimiser state. So the run's
own scheme arrives at the run's own next checkpoint, and a difference between two schemes is due to the schemes alone.
The updates of a small policy run in parallel, one scheme per core (parallel.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from actfocus_core.counterfactual.replay.evaluation import Evaluation
from actfocus_core.counterfactual.replay.parallel import clone_learner, policy_logprobs, run_parallel, worker_count
from actfocus_core.counterfactual.replay.result import FRESH, TOLERANCE, PartialResult, ReplayResult, UpdateResult
from actfocus_core.counterfactual.replay.start import Start, fresh_start, stored_start
from actfocus_core.counterfactual.replay.update import difference_to_checkpoint, gradient_norms, take_update
from actfocus_core.counterfactual.store import WhatIf
from actfocus_core.credit import get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.train import TrainConfig
from actfocus_core.train.algorithms import ALGORITHMS
from actfocus_core.train.learner import Prepared, Progress, StateDict

__all__ = ["FRESH", "TOLERANCE", "replay"]
Match = Literal["rate", "norm"]


def replay(
    run: Run,
    step: int,
    schemes: Sequence[str] = ("own",),
    *,
    params: dict[str, dict[str, Any]] | None = None,
    match: Match = "rate",
    evaluation: int = 0,
    rebuild: bool = False,
    fresh: bool = False,
    groups: Sequence[str] | None = None,
    settings: dict[str, Any] | None = None,
    device: str | None = None,
    look: str | None = None,
    on_first: Callable[[WhatIf], None] | None = None,
    on_progress: Progress | None = None,
) -> WhatIf:
    """Take the update of a step again under each of several schemes.

    ``schemes``: names; ``own`` is the run's. ``params``: name -> parameters in place of the scheme's defaults (of the
    run's scheme: in place of the run's). ``match``: ``rate`` uses one learning rate for all; ``norm`` scales the gradient
    of every mini-batch to the norm it has under the first scheme. Adam divides by the recent size of the gradient, so
    this changes less than it would for plain gradient descent, and with a fresh optimiser almost nothing but the
    clipping. ``evaluation``: the number of evaluation prompts to play before and after the update, with common random
    numbers. ``rebuild``: see ``history.learner_before``.

    ``fresh``: for a run that was not trained: the run's own model, GRPO, and a fresh optimiser, on ``groups`` (names; by
    default the first of the step, as many as a training step has); ``settings`` replace fields of the training config.

    ``on_first``: called once, from any thread, when every update is taken, with the result for one group alone: that of
    the trajectory ``look``, or else the first. It has the same id; ``so_far`` is its number of trajectories, ``change``
    is over these, and it has no evaluation after the updates.

    The result: ``updates``, one per scheme: ``scheme, params, own``; ``gradient_norms`` of the optimiser steps
    before clipping; ``gradient_norm`` of their sum; ``update_norm`` of the change of all parameters; ``metrics`` of the
    update; ``divisors``, the normaliser Z of every trajectory in the first epoch; ``change``, the mean change of the
    log-probs by kind and sign of the advantage; ``signal``, what the weights were computed from, with its mean and
    standard deviation; ``reproduced``, the largest difference to the stored next checkpoint (None where it is not the
    run's own update, or the checkpoint is not kept). ``cosine_gradient``, ``cosine_update``: matrices. ``badges``:
    caveats for the reader. The trajectories have the signals named in walkthrough.py, NaN outside the responses.

    Raises ActFocusError where the step cannot be replayed, or a scheme is unknown or lacks what it needs. Nothing is
    written; ``store.store`` does that.
    """
    if match not in ("rate", "norm"):
        raise ActFocusError(f"match {match!r}: must be rate or norm")
    if evaluation < 0:
        raise ActFocusError(f"evaluation={evaluation}: must be 0 or above")
    if not fresh and (groups is not None or settings):
        raise ActFocusError("groups and settings apply to a fresh replay only; a stored update has its own")
    start = (
        fresh_start(run, step, groups, settings, device, on_progress)
        if fresh
        else stored_start(run, step, rebuild, device, on_progress)
    )
    learner, config = start.learner, start.learner.config
    chosen = _chosen(schemes, params or {}, config)
    workers = worker_count(learner)
    played = Evaluation(learner, evaluation, step, workers) if evaluation else None
    updates = _Updates(run, start, chosen, match, workers)
    request = {
        "step": step,
        "schemes": [{"scheme": s, "params": p} for s, p in chosen.items()],
        "match": match,
        "evaluation": evaluation,
        "fresh": fresh,
        "groups": list(dict.fromkeys(t.group for t in start.selected)) if fresh else None,
        "settings": settings or {},
    }
    facts = {
        "algorithm": config.algorithm,
        "own": config.scheme if start.happened else None,
        "lr": learner.adam.rate(start.step),
        "trajectories": len(start.selected),
        "tokens": updates.prepared[0].training_batch.tokens(np.arange(len(start.selected))),
        **({"before": played.first} if played else {}),
    }
    result = ReplayResult(request, facts, start.selected, updates.logprobs_before())
    indices = range(len(start.selected))
    partial = PartialResult(result, result.group(look), len(chosen), on_first) if on_first else None

    def work(i: int) -> UpdateResult:
        update = updates.take(i)
        if partial:
            updates.add_logprobs(i, update, partial.chosen)
            partial.add(i, update)
        updates.add_logprobs(i, update, indices)
        if played:
            update.row["evaluation"] = played.after(updates.learners[i])
        return update

    done: list[UpdateResult] = []
    for update in run_parallel(work, range(len(chosen)), workers):
        done.append(update)
        learner.progress("replay", len(done), len(chosen))
    return result.of(done, indices, seconds=updates.seconds())


class _Updates:
    """The updates of a replay, one per scheme, each from the same start.

    With several workers every scheme has a learner of its own, and updates can run in parallel. With one worker they
    share a learner, which is restored before each, so an update is to be finished before the next one is taken.
    """

    def __init__(self, run: Run, start: Start, chosen: dict[str, dict[str, Any]], match: Match, workers: int):
        self._run, self._start, self._workers = run, start, workers
        self._own = (start.learner.config.scheme, start.learner.config.scheme_params)
        self._state = _copied(start.learner.state_dict())
        others = list(chosen)[1:]
        self.learners = [
            start.learner,
            *(clone_learner(start.learner, self._state) if workers > 1 else start.learner for _ in others),
        ]
        self._configs: list[TrainConfig] = []
        self.prepared: list[Prepared] = []
        for learner, (scheme, params) in zip(self.learners, chosen.items()):
            learner.config = learner.config.model_copy(update={"scheme": scheme, "scheme_params": params})
            self._configs.append(learner.config)
            self.prepared.append(ALGORITHMS[learner.config.algorithm].prepare(learner, start.selected))
        self._norms = gradient_norms(start.learner, self.prepared[0]) if match == "norm" else []

    def logprobs_before(self) -> list[np.ndarray]:
        """Log-probs under the policy before the update, float32 [T] per trajectory."""
        if self._start.happened:
            # The log-probs in the denominator of the training's ratios.
            return self.prepared[0].training_batch.columns["old_logprobs"]
        # It is not known which policy sampled the rollouts of a fresh update.
        return policy_logprobs(self._start.learner, self._start.selected, self._workers)

    def take(self, i: int) -> UpdateResult:
        """Take the update of the ``i``-th scheme."""
        learner = self.learners[i]
        learner.config = self._configs[i]
        if i and self._workers == 1:
            learner.load_state_dict(self._state)
        is_own = self._start.happened and (learner.config.scheme, learner.config.scheme_params) == self._own
        publish, match = ((), self._norms) if i else (self._norms, ())
        update = take_update(learner, self.prepared[i], self._start.step, self._state, is_own, publish, match)
        if is_own:
            update.row["reproduced"] = difference_to_checkpoint(self._run, learner, self._start.step)
        return update

    def add_logprobs(self, i: int, update: UpdateResult, chosen: Sequence[int]) -> None:
        """Compute the log-probs of the ``chosen`` trajectories under the updated policy, those that are not yet known."""
        missing = [k for k in chosen if k not in update.after]
        if missing:
            trajectories = [self._start.selected[k] for k in missing]
            workers = self._workers // len(self.learners)
            update.after |= dict(zip(missing, policy_logprobs(self.learners[i], trajectories, workers)))

    def seconds(self) -> dict[str, float]:
        """Seconds by phase, summed over the learners, some of which worked in parallel."""
        every = {id(learner): learner.seconds for learner in self.learners}.values()
        phases = dict.fromkeys(itertools.chain(*every))
        return {f"seconds/{phase}": sum(seconds.get(phase, 0.0) for seconds in every) for phase in phases}


def _chosen(
    schemes: Sequence[str], params: dict[str, dict[str, Any]], config: TrainConfig
) -> dict[str, dict[str, Any]]:
    """Scheme -> its parameters, in the order requested."""
    chosen: dict[str, dict[str, Any]] = {}
    for name in schemes:
        name = config.scheme if name == "own" else name
        get_scheme(name)
        chosen[name] = params.get(name, config.scheme_params if name == config.scheme else {})
    if not chosen:
        raise ActFocusError("no scheme: give at least one, for instance own")
    return chosen


def _copied(state: StateDict) -> StateDict:
    return {
        file: {name: tensor.detach().clone() for name, tensor in tensors.items()} for file, tensors in state.items()
    }
