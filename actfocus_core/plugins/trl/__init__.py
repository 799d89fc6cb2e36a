"""ActFocus in TRL: GRPO with tokens weighted by their kind and by a signal of the frozen reference model.

    trainer = ActFocusGRPOTrainer("Qwen/Qwen2.5-0.5B-Instruct", env="frozen_lake", train_dataset=boards("frozen_lake", 1600),
                                  args=GRPOConfig(...), scheme_params={"alpha": 0.1, "beta": 0.5}, run="runs/NAME")

Training is TRL's. After TRL has computed the advantages of a generation batch, each is multiplied token by token by
w N / sum(w) (method.md section 4), with N, the sum, mu and sigma over the whole batch in all processes. With
``loss_type="dapo"``, TRL's mean over all tokens of that batch, this is the weighted loss for any number of processes,
micro-batches and accumulation steps. KL and entropy terms stay unweighted. Written against TRL 1.16.
"""

from actfocus_core.extras import require

# Before the modules of this package, which all import TRL.
require("trl", "trl")

from actfocus_core.plugins.trl.trainer import ActFocusGRPOTrainer, boards, episode_return

__all__ = ["ActFocusGRPOTrainer", "boards", "episode_return"]
