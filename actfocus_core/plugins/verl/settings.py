"""The scheme's parameters, which a verl job carries in the environment."""

from __future__ import annotations

import json
import os
from typing import Any

from actfocus_core.errors import ActFocusError
from actfocus_core.plugins.batch import DEFAULTS, complete
from actfocus_core.spans import span_rule


def parameters() -> dict[str, Any]:
    """alpha, beta, signal, format_weight and spans from ``ACTFOCUS_PARAMS``. Raises ActFocusError for one that is wrong."""
    text = os.environ.get("ACTFOCUS_PARAMS")
    if text is None:
        raise ActFocusError(
            "ACTFOCUS_PARAMS is not set in the process that drives the training; a cluster that was started before needs "
            "it in ray_kwargs.ray_init.runtime_env.env_vars, like VERL_USE_EXTERNAL_MODULES"
        )
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ActFocusError(f"ACTFOCUS_PARAMS={text!r}: is not JSON ({error})") from None
    if not isinstance(given, dict):
        raise ActFocusError(f"ACTFOCUS_PARAMS={text!r}: must be an object with {', '.join((*DEFAULTS, 'spans'))}")
    spans = given.pop("spans", "think_answer")
    span_rule(spans)
    return {**complete(given, ("energy", "nll", "shift"), "ACTFOCUS_PARAMS"), "spans": spans}
