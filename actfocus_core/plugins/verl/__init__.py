"""ActFocus in verl 0.9: tokens weighted by their kind and by the reference model's energy.

The processes of a cluster call ``energies`` in the forward pass of the reference, ``weighted`` before training on a
mini-batch (advantages times w N / sum(w), method.md section 4, both sums over all data-parallel ranks), and the policy loss
registered as ``actfocus``: the clipped surrogate, without verl's second clip. Advantages (PPO or GRPO) are verl's; KL and
entropy terms stay unweighted. ``ray`` adds these to a trainer and an engine; its driver computes the weights with
``plugins.batch``. The environment variable ``ACTFOCUS_PARAMS`` holds alpha, beta, signal, format_weight and spans as JSON.
"""

from actfocus_core.extras import require
from actfocus_core.plugins.signatures import check_version

TESTED = "0.9"
"""The version of verl that this package is written against. Set before verl is imported, because with
VERL_USE_EXTERNAL_MODULES verl imports the other modules of this package during its own import."""
verl = require("verl", "verl")
check_version(verl, TESTED)

from actfocus_core.plugins.verl.losses import clipped_surrogate
from actfocus_core.plugins.verl.settings import parameters
from actfocus_core.plugins.verl.weights import ENERGY, WEIGHTS, energies, weighted

__all__ = ["ENERGY", "TESTED", "WEIGHTS", "clipped_surrogate", "energies", "parameters", "verl", "weighted"]
