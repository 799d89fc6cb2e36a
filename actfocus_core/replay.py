"""One stored update taken again, under its own scheme and under others.

The learner is put back to where the step began (train/history.py) and takes the step with the
trainer's own code, once a scheme: the same rollouts, mini-batches in the same order, the same
state of the optimiser. So the run's own scheme arrives at the run's own next checkpoint, and what
differs between two schemes is the schemes' doing. A small policy takes its updates side by side, a
scheme a core, each in the arithmetic it would have alone.
"""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Literal, TypeVar

import numpy as np
import torch

from actfocus_core.credit import Credit, get_scheme, signal_stats
from actfocus_core.errors import ActFocusError
from actfocus_core.motion import ADVANTAGE, AFTER, BEFORE, WEIGHT
from actfocus_core.policy import Policy
from actfocus_core.runs import TRAINED, Run
from actfocus_core.train import TrainConfig, first_policy, preset
from actfocus_core.train import metrics as names
from actfocus_core.train.batch import TrainingBatch
from actfocus_core.train.checkpoint import checkpoints, load_checkpoint
from actfocus_core.train.evaluate import NORMAL_95, evaluate, prompt_means, summary
from actfocus_core.train.history import PREPARE, UPDATE, kept_rollouts, learner_before
from actfocus_core.train.learner import Learner, Prepared, Progress
from actfocus_core.train.openings import SharedOpenings
from actfocus_core.train.update import autocast, forward, per_token
from actfocus_core.trajectory import RESPONSE_KINDS, Trajectory
from actfocus_core.whatif import WhatIf

Match = Literal["rate", "norm"]
T = TypeVar("T")
FRESH = "a fresh optimiser: this is not an update that happened"
TOLERANCE = 1e-6
"""In any parameter or moment, against the stored checkpoint."""
EVALUATION_ROLLOUTS = 4
COPIED_PARAMETERS = 20_000_000
"""A policy of at most so many is copied, so that the schemes' updates can be taken side by side."""


def replay(run: Run, step: int, schemes: Sequence[str] = ("own",), *, params: dict[str, dict] | None = None,
           match: Match = "rate", evaluation: int = 0, rebuild: bool = False, fresh: bool = False,
           groups: Sequence[str] | None = None, settings: dict | None = None, device: str | None = None,
           on_progress: Progress | None = None) -> WhatIf:
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
    learner, kept, own = (_fresh(run, step, groups, settings, device, on_progress) if fresh else
                          _stored(run, step, rebuild, groups, settings, device, on_progress))
    # The rollouts of an untrained run are those of step 0; an update is the first at least.
    number = 1 if fresh else step
    chosen = _chosen(schemes, params or {}, learner.config)
    config, start = learner.config, _copied(learner)
    lanes = _lanes(learner)
    played = _Evaluation(learner, evaluation, step, lanes) if evaluation else None
    learners = [learner, *(_twin(learner, start) if lanes > 1 else learner for _ in list(chosen)[1:])]
    prepared = []
    for mine, (scheme, given) in zip(learners, chosen.items()):
        mine.config = config.model_copy(update={"scheme": scheme, "scheme_params": given})
        prepared.append((mine.config, PREPARE[config.algorithm](mine, kept)))
    # Those of a stored step are what its own ratios were formed with; nobody knows whose a fresh one's are.
    before = _logprobs(learner, kept, lanes) if fresh else prepared[0][1].tokens.columns["old_logprobs"]
    norms = [SimpleQueue() for _ in learners[1:]] if match == "norm" else []

    def updated(i: int) -> _Updated:
        mine, (mine.config, made) = learners[i], prepared[i]
        if i and lanes == 1:
            mine.take_up(start)
        is_own = own and (mine.config.scheme, mine.config.scheme_params) == (config.scheme, config.scheme_params)
        watch = _Gradients(mine, norms[i - 1] if i and norms else None, [] if i else norms)
        try:
            found = _update(mine, made, number, start, watch, is_own, before, lanes // len(chosen))
        except BaseException:
            watch.give_up()
            raise
        if is_own:
            found.row["reproduced"] = _difference(run, mine, step)
        if played:
            found.row["evaluation"] = played.after(mine)
        return found

    results = []
    for found in _at_once([lambda i=i: updated(i) for i in range(len(chosen))], lanes):
        results.append(found)
        learner.progress("replay", len(results), len(chosen))
    tokens = prepared[0][1].tokens.tokens(np.arange(len(kept)))
    request = {"step": step, "schemes": [{"scheme": s, "params": p} for s, p in chosen.items()], "match": match, "evaluation": evaluation, "fresh": fresh,
               "groups": list(dict.fromkeys(t.group for t in kept)) if fresh else None, "settings": settings or {}}
    result = {
        "updates": [r.row for r in results], "algorithm": config.algorithm, "own": config.scheme if own else None,
        "lr": learner.adam.rate(number), "trajectories": len(kept), "tokens": tokens,
        "cosine_gradient": _cosines([r.gradient for r in results]), "cosine_update": _cosines([r.change for r in results]),
        "badges": _badges(results, fresh), "seconds": _seconds(learners), **({"before": played.first} if played else {})}
    return WhatIf("replay", request, result, _annotated(kept, before, results))


# --- where the step began --------------------------------------------------------------------


def _stored(run: Run, step: int, rebuild: bool, groups, settings, device, on_progress):
    if groups is not None or settings:
        raise ActFocusError("groups and settings are for a fresh replay; a stored update has its own")
    if run.info["config"].get("command") != "train":
        raise ActFocusError(f"{run.path}: was not trained, so there is no update to replay; --fresh takes one from the "
                            "run's own model with a fresh optimiser")
    learner = learner_before(run, step, rebuild, device, on_progress)
    return learner, kept_rollouts(run, step, learner.config), True


def _fresh(run: Run, step: int, groups, settings, device, on_progress):
    stored = run.info["config"]
    if stored.get("command") == "train":
        raise ActFocusError(f"{run.path}: was trained, so its updates can be replayed as they were; leave --fresh away")
    if step not in run.steps():
        raise ActFocusError(f"{run.path}: has no trajectories of step {step}; it has {run.steps()}")
    if stored.get("command") in TRAINED and step > 1:
        raise ActFocusError(f"{run.path}: step {step} was sampled by weights that another trainer had moved ({stored['command']}), "
                            "which are not in the run folder; its step 1 can be replayed")
    model = str(stored.get("policy") or run.info.get("model", {}).get("name") or "")
    if not model:
        raise ActFocusError(f"{run.path}: its run.json names no policy, so there is nothing to update")
    values = preset("quick") if model == "tiny" else {}
    config = TrainConfig.of(**{**values, "env": str(stored.get("env") or ""), "env_options": stored.get("env_options") or {},
                               "model": model, "device": device or "auto", **(settings or {})})
    if config.algorithm != "grpo":
        raise ActFocusError(f"algorithm={config.algorithm!r}: a fresh replay has no critic; it is GRPO's")
    every = kept_rollouts(run, step, config)
    present = list(dict.fromkeys(t.group for t in every))
    wanted = present[:config.prompts] if groups is None else list(groups)
    unknown = [g for g in wanted if g not in present]
    if unknown or not wanted:
        raise ActFocusError(f"{run.path}: step {step} has no group {unknown[0] if unknown else ''!r}; it has {len(present)}, "
                            f"the first is {present[0]!r}")
    learner = Learner(config, first_policy(run, config), on_progress)
    return learner, [t for t in every if t.group in wanted], False


def _chosen(schemes: Sequence[str], params: dict[str, dict], config: TrainConfig) -> dict[str, dict]:
    """Scheme -> its parameters, in the order asked for."""
    chosen = {}
    for name in schemes:
        name = config.scheme if name == "own" else name
        get_scheme(name)
        chosen[name] = params.get(name, config.scheme_params if name == config.scheme else {})
    if not chosen:
        raise ActFocusError("no scheme: give at least one, for instance own")
    return chosen


def _copied(learner: Learner) -> dict[str, dict[str, torch.Tensor]]:
    return {file: {name: tensor.detach().clone() for name, tensor in named.items()}
            for file, named in learner.stored().items()}


# --- side by side ----------------------------------------------------------------------------


def _lanes(learner: Learner) -> int:
    """How many updates or passes are worked on at a time: one a core, for a small policy on a CPU.

    The matrices of a small model keep a few cores busy badly, and more threads round differently than the
    training did, so a core each is quicker and exact.
    """
    small = sum(p.numel() for p in learner.policy.model.parameters()) <= COPIED_PARAMETERS
    if learner.policy.device.type != "cpu" or learner.adapted is not None or not small:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // torch.get_num_threads())


def _twin(learner: Learner, start: dict) -> Learner:
    """Another learner that stands where this one began, with weights and optimiser of its own."""
    own = learner.policy
    twin = Learner(learner.config, Policy(own.name, copy.deepcopy(own.model), own.tokenizer, own.env_options))
    twin.take_up(start)
    return twin


def _at_once(jobs: list[Callable[[], T]], lanes: int) -> Iterator[T]:
    """What each job returns, in their order; they begin in their order, ``lanes`` of them at a time."""
    if lanes <= 1 or len(jobs) == 1:
        yield from (job() for job in jobs)
        return
    with ThreadPoolExecutor(lanes) as pool:
        futures = [pool.submit(job) for job in jobs]
        yield from (future.result() for future in futures)


def _seconds(learners: list[Learner]) -> dict[str, float]:
    """Seconds by phase, added over all that worked, some of it at the same time."""
    every = {id(learner): learner.notes for learner in learners}.values()
    return {name: sum(notes.get(name, 0.0) for notes in every) for name in dict.fromkeys(itertools.chain(*every))}


# --- one update ------------------------------------------------------------------------------


@dataclass
class _Updated:
    row: dict
    gradient: torch.Tensor
    change: torch.Tensor
    after: list[np.ndarray]
    credit: Credit
    advantages: list[np.ndarray]


class _Gradients:
    """Watches the gradient of every mini-batch.

    ``wanted``: lengths to scale them to, one a mini-batch; ``tell``: who else wants to know their own.
    """

    def __init__(self, learner: Learner, wanted: SimpleQueue | None, tell: list[SimpleQueue]):
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


def _update(learner: Learner, made: Prepared, step: int, start: dict, watch: _Gradients, is_own: bool,
            before: list[np.ndarray], lanes: int) -> _Updated:
    learner.adam.on_gradient = watch
    also = {"critic": is_own} if learner.critic is not None else {}
    with learner.updating():
        updates = UPDATE[learner.config.algorithm](learner, made, step, **also)
    after = _logprobs(learner, made.tokens.trajectories, lanes)
    change = _flat(p.detach() - start["policy"][name].to(p.device) for name, p in learner.adam.named.items())
    parts, trajectories = learner.minibatches(made.tokens, made.credit, step, epoch=0), made.tokens.trajectories
    config, credit = learner.config, made.credit
    row = {"scheme": config.scheme, "params": config.scheme_params, "own": is_own, "gradient_norms": watch.norms,
           "gradient_norm": float(watch.sum.norm()), "update_norm": float(change.norm()), "metrics": names.mean_of(updates),
           "divisors": {t.id: float(z) for t, z in zip(trajectories, parts[0][1])}, "signal": _signal(made),
           "change": _changes(made, before, after), "reproduced": None}
    return _Updated(row, watch.sum, change, after, credit, made.tokens.columns["advantages"])


def _logprobs(learner: Learner, kept: list[Trajectory], lanes: int) -> list[np.ndarray]:
    """float32 [T] a trajectory: log-probs under the policy as it is, in the arithmetic of the update."""
    groups = [list(own) for _, own in itertools.groupby(kept, key=lambda t: t.group)]
    ends = np.linspace(0, len(groups), min(max(lanes, 1), len(groups)) + 1).round().astype(int)
    parts = [sum(groups[a:b], []) for a, b in itertools.pairwise(ends)]
    with learner.phase("logprobs"):
        return sum(_at_once([lambda part=part: _logprobs_of(learner, part) for part in parts], lanes), [])


@torch.no_grad()
def _logprobs_of(learner: Learner, kept: list[Trajectory]) -> list[np.ndarray]:
    device, batch, rows = learner.policy.device, TrainingBatch(kept, {}), np.arange(len(kept))
    openings = None
    if SharedOpenings.worth_it(learner.model, batch, rows):
        with autocast(device, learner.config.precision):
            openings = SharedOpenings(learner.model, batch, rows, learner.config.micro_tokens, device)
    return per_token(kept, lambda micro: forward(learner.model, micro, openings=openings)[0],
                     learner.config.micro_tokens, device, learner.config.precision, read=openings.read if openings else None)


def _flat(tensors) -> torch.Tensor:
    return torch.cat([t.detach().flatten().cpu() for t in tensors]).double()


def _cosines(vectors: list[torch.Tensor]) -> list[list[float | None]]:
    lengths = [float(v.norm()) for v in vectors]
    return [[float(a @ b) / (m * n) if m and n else None for b, n in zip(vectors, lengths)] for a, m in zip(vectors, lengths)]


def _signal(made: Prepared) -> dict | None:
    """What the weights were made from, where the scheme reads a signal of the action tokens."""
    name = made.credit.params.get("signal")
    if name is None or not made.credit.params.get("beta") or not made.batch.has(name):
        return None
    return {"name": name, **signal_stats(made.batch.kinds, made.batch.signals[name])._asdict()}


def _changes(made: Prepared, before: list[np.ndarray], after: list[np.ndarray]) -> dict:
    """Kind -> sign of the advantage -> tokens, and the mean and mean absolute change of their log-prob."""
    change = (np.concatenate(after) - np.concatenate(before)).astype(np.float64)
    advantage, kinds = np.concatenate(made.tokens.columns["advantages"]), made.batch.kinds
    signs = {"up": advantage > 0, "down": advantage < 0, "none": advantage == 0}
    found = {}
    for kind in RESPONSE_KINDS:
        rows = {sign: change[(kinds == kind) & chosen] for sign, chosen in signs.items()}
        found[kind.name.lower()] = {sign: {"tokens": len(own), "mean": float(own.mean()) if len(own) else None,
                                           "mean_absolute": float(np.abs(own).mean()) if len(own) else None}
                                    for sign, own in rows.items()}
    return found


def _difference(run: Run, learner: Learner, step: int) -> float | None:
    """How far the learner is at most, in any number, from the stored checkpoint of this step."""
    folder = run.path / "checkpoints"
    if step not in checkpoints(folder):
        return None
    mine = learner.stored()
    stored, _ = load_checkpoint(folder, step, list(mine))
    return max(float((tensor.detach().cpu() - stored[file][name]).abs().max())
               for file, named in mine.items() for name, tensor in named.items())


def _badges(results: list[_Updated], fresh: bool) -> list[str]:
    badges = [FRESH] if fresh else []
    for r in results:
        if (r.row["reproduced"] or 0.0) > TOLERANCE:
            badges.append(f"not the update that happened: it arrives {r.row['reproduced']:.1g} beside the stored checkpoint; "
                          "another machine or number of threads rounds differently")
    return badges


def _annotated(kept: list[Trajectory], before: list[np.ndarray], results: list[_Updated]) -> list[Trajectory]:
    ends = np.cumsum([len(t) for t in kept])[:-1]
    columns: dict[str, list[np.ndarray]] = {BEFORE: before}
    for r in results:
        columns |= {f"{AFTER}:{r.row['scheme']}": r.after, f"{ADVANTAGE}:{r.row['scheme']}": r.advantages,
                    f"{WEIGHT}:{r.row['scheme']}": np.split(r.credit.weight * r.credit.keep, ends)}
    return [replace(t, signals={**t.signals, **{
        name: np.where(t.response_mask, values[i], np.float32(np.nan)) for name, values in columns.items()}})
        for i, t in enumerate(kept)]


# --- the evaluation set ----------------------------------------------------------------------


class _Evaluation:
    """The fixed evaluation prompts, played before the update and after it with the same dice."""

    def __init__(self, learner: Learner, prompts: int, step: int, lanes: int):
        self.prompts, self.step = prompts, step
        self.rollouts = self._play(learner)
        self.logprobs = _logprobs(learner, self.rollouts, lanes)
        self.first = summary(self.rollouts)

    def _play(self, learner: Learner) -> list[Trajectory]:
        c = learner.config
        with learner.phase("evaluate"):
            return evaluate(learner.player, c.env, prompts=self.prompts, rollouts=EVALUATION_ROLLOUTS,
                            temperature=c.temperature, step=self.step, env_options=c.env_options,
                            batch_size=c.rollout_batch)

    def after(self, learner: Learner) -> dict:
        """``summary`` of new rollouts; ``gain`` in success with a 95 % interval over prompts (paired); and the mean
        change of log-prob of the tokens of earlier rollouts, of those that succeeded and of the others."""
        played = self._play(learner)
        found = summary(played)
        d = (prompt_means(played, [t.success for t in played])
             - prompt_means(self.rollouts, [t.success for t in self.rollouts]))
        found["gain"] = float(d.mean())
        if len(d) > 1:
            half = NORMAL_95 * float(d.std(ddof=1)) / len(d) ** 0.5
            found |= {"gain_low": found["gain"] - half, "gain_high": found["gain"] + half}
        changes = [now - then for now, then in zip(_logprobs(learner, self.rollouts, lanes=1), self.logprobs)]
        for name, of in (("succeeded", True), ("failed", False)):
            own = [c[t.response_mask] for c, t in zip(changes, self.rollouts) if t.success is of]
            found[f"change_{name}"] = float(np.concatenate(own).mean()) if own else None
        return found
