"""ActFocus inside verl 0.9: weights by kind and reference energy, in verl's own batches.

What the processes of a cluster call: ``energies`` in the reference's pass, ``weighted`` before a mini-batch is trained on (its
advantages times w N / sum(w), method.md section 4, both sums over all data-parallel ranks), and the policy loss that is
registered as ``actfocus``: the clipped surrogate, without verl's second clip. Advantages, PPO's or GRPO's, are verl's own; KL and
entropy stay unweighted. ``ray`` puts these into a trainer and an engine; its driver makes the weights, with
``plugins.batch``. ``ACTFOCUS_PARAMS`` in the environment: alpha, beta, signal, format_weight and spans as JSON.
"""

from actfocus_core.extras import require
from actfocus_core.plugins.signatures import check_version

TESTED = "0.9"
"""The version of verl that this room is written against. Set first: where VERL_USE_EXTERNAL_MODULES says so, verl imports the other
modules of this room while it is imported here."""
verl = require("verl", "verl")
check_version(verl, TESTED)

from actfocus_core.plugins.verl.losses import clipped_surrogate
from actfocus_core.plugins.verl.settings import parameters
from actfocus_core.plugins.verl.weights import ENERGY, WEIGHTS, energies, weighted

__all__ = ["ENERGY", "TESTED", "WEIGHTS", "clipped_surrogate", "energies", "parameters", "verl", "weighted"]
