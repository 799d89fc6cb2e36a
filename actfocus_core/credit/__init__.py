"""Token credit schemes: how the learning signal is distributed over the tokens of a batch. ``SCHEMES`` by name."""

from actfocus_core.credit.a2tgpo import A2TGPO
from actfocus_core.credit.actfocus import ActFocus
from actfocus_core.credit.aem import AEM
from actfocus_core.credit.base import Credit, Parameter, Scheme
from actfocus_core.credit.batch import HOW_TO_GET, Batch
from actfocus_core.credit.carl import CARL
from actfocus_core.credit.controls import CONTROLS, Control
from actfocus_core.credit.dr_grpo import DrGRPO
from actfocus_core.credit.empg import EMPG
from actfocus_core.credit.gigpo import GiGPO
from actfocus_core.credit.gtpo import GTPO
from actfocus_core.credit.oracle import Oracle
from actfocus_core.credit.ppo_gae import PPOGAE, TurnGAE
from actfocus_core.credit.rest import ResT
from actfocus_core.credit.top_entropy import TopEntropy
from actfocus_core.credit.uniform import Uniform
from actfocus_core.credit.vineppo import VinePPO
from actfocus_core.credit.weights import SignalStats, signal_stats, token_weights
from actfocus_core.errors import ActFocusError

SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Uniform(),
        DrGRPO(),
        ActFocus(
            "actfocus",
            "ActFocus",
            "Action tokens have weight 1 plus a bonus that increases with the energy of the reference model; reasoning and "
            "format tokens have weight 0.1.",
            alpha=0.1,
            beta=0.5,
        ),
        ActFocus(
            "role_only",
            "Role only",
            "ActFocus without energy: weight 1 on action tokens, 0.1 on reasoning and format tokens.",
            alpha=0.1,
            beta=0.0,
        ),
        ActFocus(
            "energy_only",
            "Energy only",
            "ActFocus without damping: the weight of action tokens increases with energy, all others have weight 1.",
            alpha=1.0,
            beta=0.5,
        ),
        TopEntropy(),
        GTPO(),
        EMPG(),
        AEM(),
        ResT(),
        GiGPO(),
        CARL(),
        A2TGPO(),
        VinePPO(),
        PPOGAE(),
        TurnGAE(),
        Oracle(
            "oracle",
            "Oracle (policy)",
            "Advantage of each turn under the policy (A^pi), on its action tokens.",
            "policy",
        ),
        Oracle(
            "oracle_optimal",
            "Oracle (optimal)",
            "Advantage of each turn under optimal play (A*), on its action tokens.",
            "oracle",
        ),
    )
}

__all__ = [
    "CONTROLS",
    "HOW_TO_GET",
    "SCHEMES",
    "Batch",
    "Control",
    "Credit",
    "Parameter",
    "Scheme",
    "SignalStats",
    "get_scheme",
    "signal_stats",
    "token_weights",
]


def get_scheme(name: str) -> Scheme:
    """A scheme by name, or one of its null controls: ``shuffle:NAME``, ``random:NAME``, ``reversed:NAME``.

    Raises ActFocusError for an unknown name.
    """
    control, colon, base = name.rpartition(":")
    if colon and control not in CONTROLS:
        raise ActFocusError(f"unknown control {control!r} in {name!r}; available: {', '.join(CONTROLS)}")
    if base not in SCHEMES:
        raise ActFocusError(f"unknown scheme {base!r}; available: {', '.join(SCHEMES)}")
    return Control(control, SCHEMES[base]) if colon else SCHEMES[base]
