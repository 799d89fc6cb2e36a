"""The Action Bottleneck, measured on runs: python demos/diagnostic.py [RUN ...]

The rank correlation over groups between the standard deviation of the returns and the mean energy of all, reasoning and
action tokens, and the partial correlation given the success rate. The paper reports +0.537 for actions on Sokoban with
Qwen2.5-3B-Instruct; a policy of a million parameters need not, and does not, show the same.
"""

import sys

from actfocus_core.credit import Batch
from actfocus_core.diagnostics import action_bottleneck
from actfocus_core.paths import assets
from actfocus_core.runs import Run


def main(*runs):
    rows = []
    for path in runs or sorted((assets() / "runs").iterdir()):
        run = Run.open(path)
        result = action_bottleneck(Batch.of([t for step in run.steps() for t in run.trajectories(step)]))
        rows += [{"run": run.name, **row} for row in result["correlations"] if row["signal"] == "energy"]
    return rows


def text(value):
    return "     -" if value is None else f"{value:+.3f}"


if __name__ == "__main__":
    print("run                   tokens     groups     rho   95 % interval    given success")
    for r in main(*sys.argv[1:]):
        print(
            f"{r['run']:22}{r['part']:10}{r['n']:7}  {text(r['rho'])}  {text(r['low'])} {text(r['high'])}   {text(r['partial'])}"
        )
