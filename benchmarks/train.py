"""Short training runs under several schemes on the same seeds: python benchmarks/train.py

Every scheme starts from the same policy, sees the same boards in the same order with the same random numbers, and is
evaluated on the same fixed set. Results are printed with intervals over the seeds, which are wide for few seeds. Nothing is
tuned for one scheme. CPU seconds of the process are reported besides wall-clock seconds, since other load has little
influence on them: with one thread (OMP_NUM_THREADS=1) they equal wall-clock seconds on an idle core.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from actfocus_core.runs import Run
from actfocus_core.stats import mean_interval
from actfocus_core.train import TrainConfig, preset, train
from actfocus_core.train.evaluate import label

SCHEMES = "uniform,role_only,energy_only,actfocus"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schemes", default=SCHEMES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--algorithm", default="grpo")
    parser.add_argument("--env", default="frozen_lake")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=JSON", help="environment option")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON", help="training config value")
    parser.add_argument("--out", type=Path, help="keep the runs here")
    options = parser.parse_args()
    values = {
        **preset("quick", options.env, options.algorithm),
        "env_options": _pairs(options.option),
        **_pairs(options.set),
    }
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder)
        rows = [
            row
            for scheme in options.schemes.split(",")
            for row in [
                measure(TrainConfig.of(**{**values, "scheme": scheme, "seed": seed}), out / f"{scheme}-{seed}")
                for seed in range(options.seeds)
            ]
        ]
    print(json.dumps({"config": values, "runs": rows}))
    print(table(rows))


def measure(config: TrainConfig, path: Path) -> dict:
    """Train once; returns the row to report."""
    start = time.process_time()
    run = train(config, path)
    row = {
        "scheme": config.scheme,
        "seed": config.seed,
        "cpu_seconds": time.process_time() - start,
        **figures(run, config),
    }
    print(json.dumps(row), flush=True)
    return row


def figures(run: Run, config: TrainConfig) -> dict:
    """Success before and after training at every temperature, success during training, and times."""
    rows = run.metrics()[0]
    steps = [row for row in rows if row["step"]]
    row = {
        "steps": len(steps),
        "seconds": rows[-1]["seconds/elapsed"],
        "training_success": float(np.mean([row["success/rate"] for row in steps])),
        "well_formed": steps[-1]["format/well_formed"],
        "seconds_a_step": float(
            np.median(
                [
                    sum(row.get(f"seconds/{phase}", 0.0) for phase in ("rollout", "values", "score", "update"))
                    for row in steps
                ]
            )
        ),
        "seconds_score": float(np.median([row["seconds/score"] for row in steps])),
    }
    for temperature in config.eval_temperatures:
        name = f"eval/{label(temperature)}/success"
        row |= {
            f"before_{label(temperature)}": rows[0][name],
            f"after_{label(temperature)}": rows[-1][name],
            f"gain_{label(temperature)}": rows[-1][name] - rows[0][name],
        }
    return row


def table(rows: list[dict]) -> str:
    """One line per scheme: the mean over its seeds, with a 95 % interval (Student's t) for two seeds or more.

    ``least_gain``: minimum over the seeds at the last temperature; ``more_than``: difference of the gain to that of the
    first scheme on the same seed.
    """
    columns = [name for name in rows[0] if name not in ("scheme", "seed")]
    gain = columns[-1]
    schemes = list(dict.fromkeys(row["scheme"] for row in rows))
    by_scheme = {scheme: [row for row in rows if row["scheme"] == scheme] for scheme in schemes}
    lines = [
        "| scheme | " + " | ".join(columns) + f" | least_gain | more_than_{schemes[0]} |",
        "|---" * (len(columns) + 3) + "|",
    ]
    for scheme, scheme_rows in by_scheme.items():
        cells = [interval([row[name] for row in scheme_rows]) for name in columns]
        difference = [a[gain] - b[gain] for a, b in zip(scheme_rows, by_scheme[schemes[0]])]
        cells += [f"{min(row[gain] for row in scheme_rows):.3g}", interval(difference)]
        lines.append(f"| {scheme} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def interval(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.3g}"
    mean, _, high = mean_interval(np.array(values))
    return f"{mean:.3g} ± {high - mean:.2g}"


def _pairs(pairs: list[str]) -> dict:
    return {key: json.loads(value) for key, _, value in (pair.partition("=") for pair in pairs)}


if __name__ == "__main__":
    main()
