"""Every scheme learns a bandit whose best arm is known."""

import copy

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from actfocus_core.credit import SCHEMES
from actfocus_core.losses import normalisers
from actfocus_core.policy import Policy
from actfocus_core.policy.split_model import SplitModel
from actfocus_core.signals import score
from actfocus_core.train.update import (
    Adam,
    policy_step,
)
from actfocus_core.trajectory import Trajectory, Turn
from tests.core.updates import CONFIG, training_batch


@pytest.mark.parametrize(
    ("scheme", "params"), [(name, {"scope": "together"} if name == "gtpo" else {}) for name in SCHEMES]
)
def test_a_bandit_whose_best_arm_is_known_is_learned(scheme, params):
    """One thought, one action out of 6; one pays. Every scheme must come to it.

    But for GTPO as published: standardised apart, its credit does not know the outcome.
    """
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=6,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            initializer_range=0.3,
        )
    ).eval()
    reference = Policy("bandit", copy.deepcopy(model).requires_grad_(False), None)
    split, adam = SplitModel(model), Adam(model.named_parameters(), 1e-2, 0, 1.0)
    g = torch.Generator().manual_seed(0)

    def play(step: int) -> list[Trajectory]:
        ids, logprobs, entropy = torch.zeros(16, 1, dtype=torch.long), [torch.zeros(16)], [torch.zeros(16)]
        for _ in range(2):
            with torch.no_grad():
                logp = model(input_ids=ids).logits[:, -1].log_softmax(-1)
            chosen = torch.multinomial(logp.exp(), 1, generator=g)
            ids, logprobs = torch.cat([ids, chosen], 1), [*logprobs, logp.gather(1, chosen)[:, 0]]
            entropy.append(-(logp.exp() * logp).sum(-1))
        rows = zip(ids.tolist(), torch.stack(logprobs, 1).numpy(), torch.stack(entropy, 1).numpy(), strict=True)
        return [pull(f"{step}-{i}", *row) for i, row in enumerate(rows)]

    def pull(name: str, ids: list[int], logprobs: np.ndarray, entropy: np.ndarray) -> Trajectory:
        pays = ids[2] == 2
        known = {
            "value": 0.2,
            "policy_v": 0.2,
            "policy_q": pays,
            "oracle_v": 1.0,
            "oracle_q": pays,
            "answer_logprob_before": -2.0,
            "answer_logprob_after": -0.1 if pays else -3.0,
        }
        return Trajectory(
            name,
            ids,
            [0, 3, 4],
            [-1, 0, 0],
            logprobs,
            [""] * 3,
            [Turn("", "", [], True, float(pays), 0.0, "start", {})],
            {"entropy": entropy, **{k: np.full(3, v) for k, v in known.items()}},
            group=name.split("-")[0],
            reward=float(pays),
            success=pays,
        )

    for step in range(1, 61):
        trajectories = score(play(step), reference)
        batch, rows = training_batch(trajectories, scheme, params), np.arange(16)
        policy_step(split, adam, batch, rows, normalisers(batch.total("weights"), [rows], "minibatch"), CONFIG, step)
    assert np.mean([t.ret for i in range(4) for t in play(100 + i)]) > 0.9
