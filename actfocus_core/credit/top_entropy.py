"""Top-entropy credit: only the most uncertain tokens of the batch enter the loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from actfocus_core.credit.base import Credit, Parameter, Scheme, tokens_credit
from actfocus_core.credit.batch import Batch


class TopEntropy(Scheme):
    """keep = 1 where the policy's entropy is at or above a quantile over the response tokens of the batch.

    Loss and normaliser are sums over these tokens. Quantile 0 gives GRPO.
    """

    name = "top_entropy"
    title = "Top-20 % entropy"
    description = "Trains only on the 20 % of tokens with the highest policy entropy."
    source = "Beyond the 80/20 Rule, arXiv 2506.01939"
    read = "code"
    unit = "token"
    evidence = "proxy"
    needs = ("policy_entropy",)
    parameters = {"quantile": Parameter(0.8, 0, 1, text="fraction of the tokens that is left out")}

    def credit(self, batch: Batch, p: dict[str, Any]) -> Credit:
        entropy = batch.signals["policy_entropy"]
        responses = entropy[batch.response]
        keep = batch.response & (entropy >= np.quantile(responses, p["quantile"]) if responses.size else False)
        return tokens_credit(batch, batch.grpo(), p, keep=keep.astype(np.float32))
