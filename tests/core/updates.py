"""Batches for the update and their gradients."""

import numpy as np
import torch

from actfocus_core.credit import Batch, get_scheme
from actfocus_core.losses import normalisers
from actfocus_core.policy.split_model import SplitModel
from actfocus_core.train import TrainConfig
from actfocus_core.train.batch import TrainingBatch
from actfocus_core.train.update import policy_gradient

CONFIG = TrainConfig(entropy_coef=0.0, micro_tokens=100_000, minibatch=100)


def training_batch(trajectories, scheme="actfocus", params=None, **columns) -> TrainingBatch:
    batch = Batch.of(trajectories)
    credit = get_scheme(scheme).compute(batch, **params or {})
    assert not credit.missing
    return TrainingBatch(
        trajectories,
        {
            "old_logprobs": np.concatenate([t.logprobs for t in trajectories]),
            "advantages": credit.advantage,
            "weights": credit.weight * credit.keep,
            "keep": credit.keep,
            "clip_scale": credit.clip_scale,
            "kinds": batch.kinds,
            "ref_logprobs": np.concatenate([t.signals["ref_logprob"] for t in trajectories]),
            **columns,
        },
    )


def gradient(model, batch, config=CONFIG, scope="minibatch", rows=None) -> torch.Tensor:
    rows = np.arange(len(batch.trajectories)) if rows is None else rows
    model.zero_grad()
    policy_gradient(SplitModel(model), batch, rows, normalisers(batch.total("weights"), [rows], scope), config)
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def close(a, b, relative=1e-5):
    assert (a - b).norm() <= relative * b.norm()
