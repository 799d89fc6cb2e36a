"""Rollouts as verl's batches, for the tests of the plug-in."""

import numpy as np
import torch
from verl import DataProto
from verl.trainer.ppo.core_algos import (
    compute_grpo_outcome_advantage,
)

from actfocus_core.interop.converter import Converter
from actfocus_core.plugins import verl as plugin
from actfocus_core.plugins.batch import read_rows, weigh
from actfocus_core.spans import span_rule

P = {"alpha": 0.2, "beta": 1.5, "signal": "energy", "format_weight": None, "spans": "think_answer"}


class Config(dict):
    """What a policy loss reads of verl's actor config."""

    clip_ratio, clip_ratio_low, clip_ratio_high = 0.2, 0.2, 0.28

    def __init__(self, **info):
        super().__init__(clip_ratio_c=3.0)
        self.global_batch_info = info


def responses_of(rollouts):
    """Rollouts cut where the first response begins: [(prompt ids, response ids, mask, trajectory, start)]."""
    starts = [int(np.argmax(t.response_mask)) for t in rollouts]
    return [
        (t.token_ids[:s].tolist(), t.token_ids[s:].tolist(), t.response_mask[s:].astype(int).tolist(), t, s)
        for t, s in zip(rollouts, starts)
    ]


def rows_of(parts, policy):
    """The trajectories again, from three fields of verl's batch."""
    prompts, responses, sampled = zip(*[part[:3] for part in parts])
    return read_rows(
        prompts,
        responses,
        sampled,
        Converter(policy.tokenizer, span_rule("think_answer")),
        [0.0] * len(parts),
        [part[3].group for part in parts],
        1,
    )


def padded(columns) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.as_tensor(np.asarray(c)) for c in columns], batch_first=True)


def batch_of(rollouts, tiny) -> DataProto:
    """A verl batch of the rollouts: rewards at the last response token, verl's GRPO advantages, and our weights."""
    parts = responses_of(rollouts)
    read = rows_of(parts, tiny)
    for new, (*_, t, _) in zip(read, parts):
        new.signals["ref_energy"] = t.signals["ref_energy"]
    mask = padded([m for _, _, m, *_ in parts])
    rewards = torch.zeros(mask.shape)
    for row, (_, response, _, t, _) in enumerate(parts):
        rewards[row, len(response) - 1] = t.ret
    old = padded([np.nan_to_num(t.logprobs[s:]) for *_, t, s in parts])
    data = DataProto.from_dict(
        {"response_mask": mask, "token_level_rewards": rewards, "old_log_probs": old},
        {"uid": np.array([t.group for t in rollouts], dtype=object)},
    )
    data.batch["advantages"], _ = compute_grpo_outcome_advantage(rewards, mask, data.non_tensor_batch["uid"])
    data.batch[plugin.WEIGHTS] = padded([w[s:] for w, (*_, s) in zip(weigh(read, P), parts)])
    return data
