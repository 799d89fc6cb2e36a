"""One replayed update: the trainer's own code, with its gradients recorded and, if asked for, rescaled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError, Future

import numpy as np
import torch

from actfocus_core.counterfactual.replay.result import UpdateResult, signal_of
from actfocus_core.errors import ActFocusError
from actfocus_core.policy.split_model import SplitModel
from actfocus_core.runs import Run
from actfocus_core.train import TrainConfig
from actfocus_core.train import metrics as names
from actfocus_core.train.algorithms import ALGORITHMS
from actfocus_core.train.batch import TrainingBatch
from actfocus_core.train.checkpoint import checkpoints, load_checkpoint
from actfocus_core.train.learner import Learner, Prepared, StateDict
from actfocus_core.train.update import Adam, apply_gradient, policy_gradient

Norms = Sequence["Future[float]"]
"""The gradient norm of every mini-batch of an update, in order; each is known once its gradient is computed."""


def gradient_norms(learner: Learner, prepared: Prepared) -> Norms:
    """Norms that no update has set yet: one for each optimiser step of the learner."""
    steps = learner.config.epochs * len(learner.minibatches(prepared, step=0, epoch=0))
    return [Future() for _ in range(steps)]


class RecordingStep:
    """``policy_step`` that records the gradient of every mini-batch before clipping.

    ``publish``: set to the norms of these gradients. ``match``: norms to scale the gradients to; each is waited for.
    """

    def __init__(self, publish: Norms = (), match: Norms = ()):
        self._publish, self._match = publish, match
        self.norms: list[float] = []
        self.gradient = torch.zeros((), dtype=torch.float64)
        """float64 [P], the sum over the mini-batches, after scaling"""

    def __call__(
        self,
        model: SplitModel,
        adam: Adam,
        batch: TrainingBatch,
        rows: np.ndarray,
        normaliser: np.ndarray,
        config: TrainConfig,
        step: int,
    ) -> dict[str, float]:
        metrics = policy_gradient(model, batch, rows, normaliser, config)
        gradients = [p.grad for p in adam.parameters.values() if p.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0
        number = len(self.norms)
        if self._publish:
            self._publish[number].set_result(norm)
        if self._match:
            try:
                target = self._match[number].result()
            except CancelledError:
                raise ActFocusError("the update whose gradients these should match has failed") from None
            if norm:
                for gradient in gradients:
                    gradient.mul_(target / norm)
        self.norms.append(norm)
        self.gradient = self.gradient + _flat(
            torch.zeros_like(p) if p.grad is None else p.grad for p in adam.parameters.values()
        )
        return apply_gradient(adam, metrics, step)


def take_update(
    learner: Learner,
    prepared: Prepared,
    step: int,
    start: StateDict,
    is_own: bool,
    publish: Norms = (),
    match: Norms = (),
) -> UpdateResult:
    """Take the update from the state ``start``, in which the learner is; its log-probs afterwards are not computed yet.

    ``is_own``: it is the run's own update, so the critic is trained too. ``publish``, ``match``: see RecordingStep;
    if the update fails, the norms that it did not publish are cancelled, so that no other update waits for them.
    """
    recorded = RecordingStep(publish, match)
    critic = {"train_critic": is_own} if learner.critic is not None else {}
    try:
        with learner.updating():
            update = ALGORITHMS[learner.config.algorithm].update
            updates = update(learner, prepared, step, policy_step=recorded, **critic)
    finally:
        for norm in publish:
            norm.cancel()
    moved = _flat(p.detach() - start["policy"][name].to(p.device) for name, p in learner.adam.parameters.items())
    (_, normaliser), *_ = learner.minibatches(prepared, step, epoch=0)
    row = {
        "scheme": learner.config.scheme,
        "params": learner.config.scheme_params,
        "own": is_own,
        "gradient_norms": recorded.norms,
        "gradient_norm": float(recorded.gradient.norm()),
        "update_norm": float(moved.norm()),
        "metrics": names.mean_of(updates),
        "divisors": {t.id: float(z) for t, z in zip(prepared.training_batch.trajectories, normaliser)},
        "signal": signal_of(prepared),
        "reproduced": None,
    }
    return UpdateResult(row, prepared, recorded.gradient, moved)


def difference_to_checkpoint(run: Run, learner: Learner, step: int) -> float | None:
    """The largest absolute difference of any number to the stored checkpoint of a step; None where none is kept."""
    folder = run.path / "checkpoints"
    if step not in checkpoints(folder):
        return None
    state = learner.state_dict()
    stored, _ = load_checkpoint(folder, step, list(state))
    return max(
        float((tensor.detach().cpu() - stored[file][name]).abs().max())
        for file, tensors in state.items()
        for name, tensor in tensors.items()
    )


def _flat(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.cat([t.detach().flatten().cpu() for t in tensors]).double()
