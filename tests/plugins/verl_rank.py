"""One of two ranks of verl's own worker, without Ray: `python -m tests.plugins.verl_rank FOLDER`, RANK and so on in the environment.

The reference's pass, and one update of the embedded policy on this rank's half of twelve rollouts. FOLDER/RANK.safetensors gets the
energies, the loss and the norm of the gradient.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import torch

PROMPTS, ROLLOUTS = 3, 4


def rows_of(rank: int) -> slice:
    """verl gives every rank as many rows; their tokens differ."""
    half = PROMPTS * ROLLOUTS // 2
    return slice(rank * half, (rank + 1) * half)


def jagged(rows) -> torch.Tensor:
    return torch.nested.as_nested_tensor([torch.as_tensor(np.asarray(row)) for row in rows], layout=torch.jagged)


def main(folder: Path) -> None:
    import verl.trainer
    from hydra import compose, initialize_config_dir
    from safetensors.torch import save_file
    from verl.utils import tensordict_utils as tu
    from verl.workers.engine_workers import ActorRolloutRefWorker

    from actfocus_core.interop.recipes import Setting
    from actfocus_core.paths import assets
    from actfocus_core.plugins.batch import DEFAULTS, weigh
    from actfocus_core.plugins.verl import ENERGY, WEIGHTS
    from actfocus_core.policy import load_policy
    from actfocus_core.rollout import collect
    from tests.plugins.verl_job import settings

    torch.set_num_threads(1)
    rank, tiny = int(os.environ["RANK"]), load_policy("tiny", "cpu")
    played = collect(tiny, "frozen_lake", prompts=PROMPTS, rollouts=ROLLOUTS)
    with initialize_config_dir(os.path.join(os.path.dirname(verl.trainer.__file__), "config"), version_base=None):
        config = compose(
            "ppo_trainer", settings(Setting(0.2, 1.5, env="frozen_lake", model=str(assets() / "tiny-policy")))[2]
        )
    worker = ActorRolloutRefWorker(config.actor_rollout_ref, role="actor_rollout_ref")
    worker.init_model()

    starts = [int(np.argmax(t.response_mask)) for t in played]
    mine = list(zip(played, starts))[rows_of(rank)]
    whole = jagged([t.token_ids.astype(np.int64) for t, _ in mine])
    fields = {
        "input_ids": whole,
        "position_ids": jagged([np.arange(len(t)) for t, _ in mine]),
        "prompts": jagged([t.token_ids[:s].astype(np.int64) for t, s in mine]),
        "responses": jagged([t.token_ids[s:].astype(np.int64) for t, s in mine]),
    }
    mask = jagged([t.response_mask[s:].astype(np.int64) for t, s in mine])
    fields |= {
        "response_mask": mask,
        "loss_mask": mask,
        "old_log_probs": jagged([np.nan_to_num(t.logprobs[s:]) for t, s in mine]),
    }

    def batch(**more):
        return tu.get_tensordict(
            dict(fields), {"temperature": 1.0, "global_token_num": whole.offsets().diff().tolist(), **more}
        )

    scored = worker.compute_ref_log_prob(batch(calculate_entropy=False, compute_loss=False, calculate_energy=True))
    energies = [row.numpy() for row in scored["energy"].unbind()]
    # The driver makes the weights of all rows; here every rank does.
    gathered = [None, None]
    torch.distributed.all_gather_object(gathered, energies)
    for t, energy in zip(played, [e for part in gathered for e in part]):
        # What stands at a position of verl's belongs to the prediction of the next token.
        t.signals["ref_energy"] = np.append(np.float32(np.nan), energy[:-1])
    weights = [w[s:] for w, s in zip(weigh(played, {**DEFAULTS, "alpha": 0.2, "beta": 1.5}), starts)]
    advantage = np.sin(np.arange(len(played), dtype=np.float32))
    fields |= {
        ENERGY: mask.float(),
        "ref_log_prob": mask.float(),
        WEIGHTS: jagged(weights[rows_of(rank)]),
        "advantages": jagged([np.full(len(t) - s, a) for (t, s), a in zip(mine, advantage[rows_of(rank)])]),
    }
    told = worker.update_actor(
        batch(
            calculate_entropy=False,
            global_batch_size=len(played),
            mini_batch_size=len(played),
            epochs=1,
            seed=0,
            dataloader_kwargs={"shuffle": False},
        )
    )
    metrics = tu.get(told, "metrics")
    numbers = {name: torch.tensor(float(np.mean(metrics[name]))) for name in ("loss", "grad_norm")}
    save_file(
        {**numbers, **{f"energy/{i}": torch.from_numpy(e.copy()) for i, e in enumerate(energies)}},
        folder / f"{rank}.safetensors",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
