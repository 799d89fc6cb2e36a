"""The scheme's parameters, which a verl job passes in an environment variable."""

from __future__ import annotations

import json
import os
from typing import Any

from actfocus_core.errors import ActFocusError
from actfocus_core.plugins.batch import DEFAULTS, complete_parameters
from actfocus_core.spans import span_rule


def parameters() -> dict[str, Any]:
    """alpha, beta, signal, format_weight and spans from ``ACTFOCUS_PARAMS``.

    Raises ActFocusError if the variable is missing or not a JSON object, and for an invalid value.
    """
    text = os.environ.get("ACTFOCUS_PARAMS")
    if text is None:
        raise ActFocusError(
            "ACTFOCUS_PARAMS is not set in the training driver; for a Ray cluster that is already running, set it in "
            "ray_kwargs.ray_init.runtime_env.env_vars, like VERL_USE_EXTERNAL_MODULES"
        )
    try:
        params = json.loads(text)
    except ValueError as error:
        raise ActFocusError(f"ACTFOCUS_PARAMS={text!r}: is not JSON ({error}); it must be a JSON object") from None
    if not isinstance(params, dict):
        raise ActFocusError(f"ACTFOCUS_PARAMS={text!r}: must be an object with {', '.join((*DEFAULTS, 'spans'))}")
    spans = params.pop("spans", "think_answer")
    span_rule(spans)
    return {**complete_parameters(params, ("energy", "nll", "shift"), "ACTFOCUS_PARAMS"), "spans": spans}
