"""Credit schemes: who gets how much of the gradient. ``SCHEMES`` by name."""

from actfocus_core.credit.actfocus import ActFocus
from actfocus_core.credit.base import Batch, Credit, Scheme
from actfocus_core.credit.uniform import Uniform
from actfocus_core.credit.weights import SignalStats, signal_stats, token_weights
from actfocus_core.errors import ActFocusError

SCHEMES: dict[str, Scheme] = {scheme.name: scheme for scheme in (
    Uniform(),
    ActFocus("actfocus", "ActFocus", alpha=0.1, beta=0.5),
    ActFocus("role_only", "Role only", alpha=0.1, beta=0.0),
    ActFocus("energy_only", "Energy only", alpha=1.0, beta=0.5),
)}

__all__ = ["SCHEMES", "Batch", "Credit", "Scheme", "SignalStats", "get_scheme", "signal_stats",
           "token_weights"]


def get_scheme(name: str) -> Scheme:
    """A scheme by name. Raises ActFocusError for an unknown one."""
    if name not in SCHEMES:
        raise ActFocusError(f"unknown scheme {name!r}; there are {', '.join(SCHEMES)}")
    return SCHEMES[name]
