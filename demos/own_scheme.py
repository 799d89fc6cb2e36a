"""Your own credit scheme in 20 lines: later turns get more weight. python demos/own_scheme.py [RUN]"""

import sys

import numpy as np

from actfocus_core.credit import SCHEMES, Batch, Parameter, Scheme, get_scheme
from actfocus_core.credit.base import tokens_credit
from actfocus_core.diagnostics import gradient_mass
from actfocus_core.paths import assets
from actfocus_core.runs import Run


class Later(Scheme):
    name, title, description = "later", "Later turns", "A token weighs growth ** turn."
    source, read, unit, evidence = "this demo", "ours", "turn", "proxy"
    parameters = {"growth": Parameter(1.5, 0.1, 10, text="how much more the next turn gets")}

    def credit(self, batch, p):
        weight = np.where(batch.response, p["growth"] ** np.maximum(batch.turns, 0), 0)
        return tokens_credit(batch, batch.grpo(), p, weight=weight)


def main(run=""):
    SCHEMES[Later.name] = Later()
    batch = Batch.of(Run.open(run or assets() / "runs" / "frozen-lake").trajectories(0))
    return {
        name: gradient_mass(batch.kinds, get_scheme(name).compute(batch).weight)
        for name in ("uniform", "later", "shuffle:later")
    }


if __name__ == "__main__":
    for name, mass in main(*sys.argv[1:]).items():
        print(
            f"{name:14} actions {mass['kinds']['action']['mass_share']:.1%}, effective tokens {mass['effective_tokens']:.0f}"
        )
