"""One stored update taken again, under its own scheme and under others.

The learner is put back to where the step began (counterfactual/history.py) and takes the step with the
trainer's own code, once a scheme: the same rollouts, mini-batches in the same order, the same
state of the optimiser. So the run's own scheme arrives at the run's own next checkpoint, and what
differs between two schemes is the schemes' doing. A small policy takes its updates side by side, a
scheme a core (lanes.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, Literal

import numpy as np
import torch

from actfocus_core.counterfactual.history import PREPARE, UPDATE, kept_rollouts, learner_before, mover
from actfocus_core.counterfactual.replay.answer import FRESH, TOLERANCE, Answer, First, Updated, signal_of
from actfocus_core.counterfactual.replay.evaluation import Evaluation
from actfocus_core.counterfactual.replay.lanes import at_once, lanes_of, logprobs, twin
from actfocus_core.counterfactual.store import WhatIf
from actfocus_core.credit import get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.runs.info import Training
from actfocus_core.train import TrainConfig, first_policy, preset
from actfocus_core.train import metrics as names
from actfocus_core.train.checkpoint import checkpoints, load_checkpoint
from actfocus_core.train.learner import Learner, Prepared, Progress, Tensors
from actfocus_core.trajectory import Trajectory

__all__ = ["FRESH", "TOLERANCE", "replay"]
Match = Literal["rate", "norm"]
Norms = SimpleQueue[float | None]
"""lengths of gradients, one a mini-batch; None: no more will come"""


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

    ``schemes``: names; ``own`` is the run's. ``params``: name -> parameters in place of the scheme's
    own (of the run's scheme: in place of the run's). ``match``: ``rate`` takes the learning rate for all;
    ``norm`` scales the gradient of every mini-batch to the length it has under the first scheme. Adam
    divides by the gradient's recent size, so this changes less than it would for plain descent, and on a
    fresh optimiser almost nothing but the clipping. ``evaluation``: play that many of the fixed
    evaluation prompts before and after, with the same dice. ``rebuild``: see ``learner_before``.

    ``fresh``: for a run that was not trained: the run's own model, GRPO, and an optimiser that has not
    stepped, on ``groups`` (names; by default the first of the step, as many as a training step has);
    ``settings`` replace fields of that training config.

    ``on_first``: called once, from any thread, when every update is taken: with the answer of the same id for one
    group alone, that of the trajectory ``look`` or else the first. Its ``so_far`` is the number of trajectories it has,
    ``change`` is over these, and nothing was played after the updates.

    The result: ``updates``, one a scheme: ``scheme, params, own``; ``gradient_norms`` of the optimiser steps
    before clipping; ``gradient_norm`` of their sum; ``update_norm``, the length of the change of all
    parameters; ``metrics`` of the update; ``divisors``, Z of every trajectory in the first epoch;
    ``change``, the mean change of log-prob by kind and sign of the advantage; ``signal``, what the weights
    were made from with its mean and standard deviation; ``reproduced``, the largest difference to the
    stored next checkpoint (None where it is not the run's own update, or not kept). ``cosine_gradient``,
    ``cosine_update``: matrices. ``badges``: what a reader must know. The trajectories have the signals
    named in motion.py, NaN where the policy sampled nothing.

    Raises ActFocusError where the step cannot be replayed, a scheme is unknown or lacks what it needs.
    Nothing is written; ``whatif.store`` does that.
    """
    if match not in ("rate", "norm"):
        raise ActFocusError(f"match {match!r}: must be rate or norm")
    if evaluation < 0:
        raise ActFocusError(f"evaluation={evaluation}: must be 0 or above")
    learner, kept, own = (
        _fresh(run, step, groups, settings, device, on_progress)
        if fresh
        else _stored(run, step, rebuild, groups, settings, device, on_progress)
    )
    # The rollouts of an untrained run are those of step 0; an update is the first at least.
    number = 1 if fresh else step
    chosen = _chosen(schemes, params or {}, learner.config)
    config, start, lanes = learner.config, _copied(learner), lanes_of(learner)
    played = Evaluation(learner, evaluation, step, lanes) if evaluation else None
    learners = [learner, *(twin(learner, start) if lanes > 1 else learner for _ in list(chosen)[1:])]
    prepared = []
    for mine, (scheme, given) in zip(learners, chosen.items()):
        mine.config = config.model_copy(update={"scheme": scheme, "scheme_params": given})
        prepared.append((mine.config, PREPARE[config.algorithm](mine, kept)))
    tokens = prepared[0][1].tokens
    # Those of a stored step are what its own ratios were formed with; nobody knows whose a fresh one's are.
    before = logprobs(learner, kept, lanes) if fresh else tokens.columns["old_logprobs"]
    request = {
        "step": step,
        "schemes": [{"scheme": s, "params": p} for s, p in chosen.items()],
        "match": match,
        "evaluation": evaluation,
        "fresh": fresh,
        "groups": list(dict.fromkeys(t.group for t in kept)) if fresh else None,
        "settings": settings or {},
    }
    facts = {
        "algorithm": config.algorithm,
        "own": config.scheme if own else None,
        "lr": learner.adam.rate(number),
        "trajectories": len(kept),
        "tokens": tokens.tokens(np.arange(len(kept))),
        **({"before": played.first} if played else {}),
    }
    answer = Answer(request, facts, kept, before)
    first = First(answer, answer.group(look), len(chosen), on_first) if on_first else None
    norms: list[Norms] = [SimpleQueue() for _ in learners[1:]] if match == "norm" else []

    def updated(i: int) -> Updated:
        mine, (mine.config, made) = learners[i], prepared[i]
        if i and lanes == 1:
            mine.take_up(start)
        is_own = own and (mine.config.scheme, mine.config.scheme_params) == (config.scheme, config.scheme_params)
        watch = _Gradients(mine, norms[i - 1] if i and norms else None, [] if i else norms)
        try:
            found = _update(mine, made, number, start, watch, is_own)
        except BaseException:
            watch.give_up()
            raise
        if is_own:
            found.row["reproduced"] = _difference(run, mine, step)
        if first:
            found.after |= _after(mine, kept, first.chosen, lanes // len(chosen))
            first.add(i, found)
        found.after |= _after(mine, kept, [k for k in range(len(kept)) if k not in found.after], lanes // len(chosen))
        if played:
            found.row["evaluation"] = played.after(mine)
        return found

    updates = []
    for found in at_once([partial(updated, i) for i in range(len(chosen))], lanes):
        updates.append(found)
        learner.progress("replay", len(updates), len(chosen))
    return answer.of(updates, range(len(kept)), seconds=_seconds(learners))


# --- where the step began --------------------------------------------------------------------


def _stored(
    run: Run,
    step: int,
    rebuild: bool,
    groups: Sequence[str] | None,
    settings: dict[str, Any] | None,
    device: str | None,
    on_progress: Progress | None,
) -> tuple[Learner, list[Trajectory], bool]:
    if groups is not None or settings:
        raise ActFocusError("groups and settings are for a fresh replay; a stored update has its own")
    if not isinstance(run.metadata.config, Training):
        raise ActFocusError(
            f"{run.path}: was not trained, so there is no update to replay; --fresh takes one from the "
            "run's own model with a fresh optimiser"
        )
    learner = learner_before(run, step, rebuild, device, on_progress)
    return learner, kept_rollouts(run, step, learner.config), True


def _fresh(
    run: Run,
    step: int,
    groups: Sequence[str] | None,
    settings: dict[str, Any] | None,
    device: str | None,
    on_progress: Progress | None,
) -> tuple[Learner, list[Trajectory], bool]:
    metadata = run.metadata
    if isinstance(metadata.config, Training):
        raise ActFocusError(f"{run.path}: was trained, so its updates can be replayed as they were; leave --fresh away")
    if step not in run.steps():
        raise ActFocusError(f"{run.path}: has no trajectories of step {step}; it has {run.steps()}")
    if metadata.updates_before(step):
        # An evaluation's step 1 is after an update, a training's before.
        first = max(s for s in (0, 1) if not metadata.updates_before(s))
        raise ActFocusError(
            f"{run.path}: step {step} was sampled by weights that {mover(metadata)} had moved, "
            f"which are not in the run folder; its step {first} can be replayed"
        )
    model = metadata.model_name
    if not model:
        raise ActFocusError(f"{run.path}: its run.json names no policy, so there is nothing to update")
    values = preset("quick") if model == "tiny" else {}
    config = TrainConfig.of(
        **{
            **values,
            "env": metadata.env or "",
            "env_options": metadata.env_options or {},
            "model": model,
            "device": device or "auto",
            **(settings or {}),
        }
    )
    if config.algorithm != "grpo":
        raise ActFocusError(f"algorithm={config.algorithm!r}: a fresh replay has no critic; it is GRPO's")
    every = kept_rollouts(run, step, config)
    present = list(dict.fromkeys(t.group for t in every))
    wanted = present[: config.prompts] if groups is None else list(groups)
    unknown = [g for g in wanted if g not in present]
    if unknown or not wanted:
        raise ActFocusError(
            f"{run.path}: step {step} has no group {unknown[0] if unknown else ''!r}; it has {len(present)}, "
            f"the first is {present[0]!r}"
        )
    learner = Learner(config, first_policy(run, config), on_progress)
    return learner, [t for t in every if t.group in wanted], False


def _chosen(
    schemes: Sequence[str], params: dict[str, dict[str, Any]], config: TrainConfig
) -> dict[str, dict[str, Any]]:
    """Scheme -> its parameters, in the order asked for."""
    chosen: dict[str, dict[str, Any]] = {}
    for name in schemes:
        name = config.scheme if name == "own" else name
        get_scheme(name)
        chosen[name] = params.get(name, config.scheme_params if name == config.scheme else {})
    if not chosen:
        raise ActFocusError("no scheme: give at least one, for instance own")
    return chosen


def _copied(learner: Learner) -> dict[str, Tensors]:
    return {
        file: {name: tensor.detach().clone() for name, tensor in named.items()}
        for file, named in learner.stored().items()
    }


def _seconds(learners: list[Learner]) -> dict[str, float]:
    """Seconds by phase, added over all that worked, some of it at the same time."""
    every = {id(learner): learner.notes for learner in learners}.values()
    return {name: sum(notes.get(name, 0.0) for notes in every) for name in dict.fromkeys(itertools.chain(*every))}


# --- one update ------------------------------------------------------------------------------


class _Gradients:
    """Watches the gradient of every mini-batch.

    ``wanted``: lengths to scale them to, one a mini-batch; ``tell``: who else wants to know their own.
    """

    def __init__(self, learner: Learner, wanted: Norms | None, tell: list[Norms]):
        self.parameters, self.wanted, self.tell = list(learner.adam.named.values()), wanted, tell
        self.norms: list[float] = []
        self.sum = torch.zeros(sum(p.numel() for p in self.parameters), dtype=torch.float64)

    def __call__(self) -> None:
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0
        for other in self.tell:
            other.put(norm)
        wanted = self.wanted.get() if self.wanted else norm
        if wanted is None:
            raise ActFocusError("the update whose gradients these should match has failed")
        if self.wanted and norm:
            for gradient in gradients:
                gradient.mul_(wanted / norm)
        self.sum += _flat(torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters)
        self.norms.append(norm)

    def give_up(self) -> None:
        """Nobody is to wait for a gradient that does not come."""
        for other in self.tell:
            other.put(None)


def _update(
    learner: Learner, made: Prepared, step: int, start: dict[str, Tensors], watch: _Gradients, is_own: bool
) -> Updated:
    """Take it; what the tokens' log-probs are then is not asked yet."""
    learner.adam.on_gradient = watch
    also = {"critic": is_own} if learner.critic is not None else {}
    with learner.updating():
        updates = UPDATE[learner.config.algorithm](learner, made, step, **also)
    moved = _flat(p.detach() - start["policy"][name].to(p.device) for name, p in learner.adam.named.items())
    (_, z), *_ = learner.minibatches(made.tokens, made.credit, step, epoch=0)
    config = learner.config
    row = {
        "scheme": config.scheme,
        "params": config.scheme_params,
        "own": is_own,
        "gradient_norms": watch.norms,
        "gradient_norm": float(watch.sum.norm()),
        "update_norm": float(moved.norm()),
        "metrics": names.mean_of(updates),
        "divisors": {t.id: float(value) for t, value in zip(made.tokens.trajectories, z)},
        "signal": signal_of(made),
        "reproduced": None,
    }
    return Updated(row, made, watch.sum, moved)


def _after(learner: Learner, kept: list[Trajectory], chosen: list[int], lanes: int) -> dict[int, np.ndarray]:
    """Trajectory -> its log-probs under the policy as it is."""
    return dict(zip(chosen, logprobs(learner, [kept[k] for k in chosen], lanes))) if chosen else {}


def _flat(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.cat([t.detach().flatten().cpu() for t in tensors]).double()


def _difference(run: Run, learner: Learner, step: int) -> float | None:
    """How far the learner is at most, in any number, from the stored checkpoint of this step."""
    folder = run.path / "checkpoints"
    if step not in checkpoints(folder):
        return None
    mine = learner.stored()
    stored, _ = load_checkpoint(folder, step, list(mine))
    return max(
        float((tensor.detach().cpu() - stored[file][name]).abs().max())
        for file, named in mine.items()
        for name, tensor in named.items()
    )
