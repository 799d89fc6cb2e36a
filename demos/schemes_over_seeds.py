"""Uniform against ActFocus over seeds, with a plot: python demos/schemes_over_seeds.py --seeds 5 --steps 40 --out comparison

Every run is a run folder in OUT; existing runs are read and not trained again. The plot is OUT/success.html, which opens
offline. The difference is printed with its bootstrap interval over seeds, and only with three seeds or more.
"""

import argparse
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from actfocus_core.runs import Run
from actfocus_core.train import TrainConfig, preset, train

METRIC = "eval/t1/success"
COLOURS = {"uniform": "#e69f00", "actfocus": "#0072b2"}


def curves(schemes, seeds, out, env, **changes):
    """The steps of the evaluations, and scheme -> success at every evaluation [seeds, evaluations]."""
    successes = {}
    for scheme in schemes:
        rows = []
        for seed in range(seeds):
            path = Path(out) / f"{scheme}-{seed}"
            config = TrainConfig.of(**{**preset("quick", env), "scheme": scheme, "seed": seed, **changes})
            run = Run.open(path) if path.exists() else train(config, path)
            rows.append([(row["step"], row[METRIC]) for row in run.metrics()[0] if METRIC in row])
        steps = [step for step, _ in rows[0]]
        successes[scheme] = np.array([[value for _, value in row] for row in rows])
    return steps, successes


def difference(a, b, draws=2000):
    """Mean of b - a over seeds at the last evaluation, and its 95 % bootstrap interval; None below three seeds."""
    d = b[:, -1] - a[:, -1]
    if len(d) < 3:
        return None
    means = np.random.default_rng(0).choice(d, (draws, len(d))).mean(1)
    return d.mean(), *np.quantile(means, [0.025, 0.975])


def plot(steps, successes, path):
    figure = go.Figure(
        layout={"xaxis_title": "training step", "yaxis_title": "success at temperature 1", "template": "plotly_white"}
    )
    for scheme, rows in successes.items():
        for row in rows:
            figure.add_scatter(
                x=steps, y=row, line={"width": 1, "color": COLOURS.get(scheme)}, opacity=0.4, showlegend=False
            )
        figure.add_scatter(
            x=steps,
            y=rows.mean(0),
            name=f"{scheme}, mean of {len(rows)}",
            line={"width": 3, "color": COLOURS.get(scheme)},
        )
    figure.write_html(path, include_plotlyjs=True)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="frozen_lake")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--prompts", type=int, default=32, help="prompts of each evaluation")
    parser.add_argument("--out", type=Path, default=Path("comparison"))
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    steps, successes = curves(
        ("uniform", "actfocus"),
        args.seeds,
        args.out,
        env=args.env,
        steps=args.steps,
        time_budget=None,
        eval_prompts=args.prompts,
        eval_every=max(1, args.steps // 6),
    )
    plot(steps, successes, args.out / "success.html")
    d = difference(successes["uniform"], successes["actfocus"])
    print(
        "fewer than three seeds: no difference is claimed"
        if d is None
        else f"ActFocus - Uniform at the last evaluation: {d[0]:+.3f}, 95 % interval {d[1]:+.3f} to {d[2]:+.3f}, {args.seeds} seeds"
    )
    return successes


if __name__ == "__main__":
    main()
