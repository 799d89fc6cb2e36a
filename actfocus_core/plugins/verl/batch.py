"""Conversion of verl's batch to trajectories with their scores."""

from __future__ import annotations

import numpy as np
from tensordict import TensorDict

from actfocus_core.interop.converter import Converter
from actfocus_core.plugins.batch import read_rows
from actfocus_core.plugins.verl.loop import EPISODE, put_record
from actfocus_core.plugins.verl.weights import ENERGY
from actfocus_core.trajectory import Trajectory

SCORED = {"old_log_probs": "", "entropy": "entropy", "ref_log_prob": "ref_logprob", ENERGY: "ref_energy"}
"""Fields of verl's batch over the response -> signals of a trajectory; the first maps to the log-probs."""


def read_batch(data: TensorDict, converter: Converter, step: int) -> list[Trajectory]:
    """The rows of verl's batch as trajectories with their scores; an episode of ``EnvironmentLoop`` has its own turns."""
    rows = {
        name: [row.tolist() for row in data[name].unbind()]
        for name in ("prompts", "responses", "response_mask", "rm_scores")
    }
    trajectories = read_rows(
        rows["prompts"],
        rows["responses"],
        rows["response_mask"],
        converter,
        [sum(row) for row in rows["rm_scores"]],
        [str(u) for u in data.get("uid").tolist()],
        step,
    )
    scored = {ours: data[theirs].unbind() for theirs, ours in SCORED.items() if theirs in data.keys()}  # noqa: SIM118
    extra = data.get("extra_fields").tolist() if "extra_fields" in data.keys() else [{}] * len(trajectories)  # noqa: SIM118
    for i, t in enumerate(trajectories):
        where, start = np.flatnonzero(t.response_mask), len(rows["prompts"][i])
        for ours, values in scored.items():
            column = np.full(len(t), np.nan, np.float32)
            column[where] = values[i].float().numpy()[where - start]
            if ours:
                t.signals[ours] = column
            else:
                t.logprobs = column
        if EPISODE in extra[i]:
            put_record(t, extra[i][EPISODE], step)
    return trajectories
