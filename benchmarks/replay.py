"""Time to replay one update under two schemes: python benchmarks/replay.py

Trains two steps of the quick preset (embedded policy, FrozenLake, 8 prompts x 8 rollouts), then replays the second step
under its own scheme and Uniform, from opening the run to the result; the model is loaded each time. Prints one JSON object:
wall-clock seconds until the partial result for the displayed group (``first``) and until the complete result, CPU seconds,
the median and all repeats, and the largest difference to the stored checkpoint. Exits 1 if the median of ``first`` exceeds
``--limit``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

GOAL = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--algorithm", default="grpo")
    parser.add_argument("--schemes", default="own,uniform")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit", type=float, default=GOAL)
    args = parser.parse_args()

    import torch

    from actfocus_core.counterfactual.replay import replay
    from actfocus_core.runs import Run
    from actfocus_core.train import TrainConfig, preset, train

    config = TrainConfig.of(
        **{
            **preset("quick", algorithm=args.algorithm),
            "scheme": "actfocus",
            "steps": 2,
            "eval_every": 0,
            "mass_every": 0,
            "time_budget": None,
        }
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = train(config, Path(folder) / "run").path
        for _ in range(args.repeats):
            first: list[float] = []
            start, cpu_start = time.perf_counter(), time.process_time()
            answer = replay(
                Run.open(path),
                2,
                args.schemes.split(","),
                on_first=lambda _, first=first: first.append(time.perf_counter()),
            )
            rows.append(
                {
                    "first": round(first[0] - start, 3),
                    "seconds": round(time.perf_counter() - start, 3),
                    "processor": round(time.process_time() - cpu_start, 3),
                    **{name: round(value, 3) for name, value in answer.result["seconds"].items()},
                }
            )
    median = {name: statistics.median(row[name] for row in rows) for name in ("first", "seconds")}
    print(
        json.dumps(
            {
                "algorithm": args.algorithm,
                "schemes": args.schemes,
                "trajectories": answer.result["trajectories"],
                "tokens": answer.result["tokens"],
                "threads": torch.get_num_threads(),
                "median": median,
                "goal": args.limit,
                "reproduced": answer.result["updates"][0]["reproduced"],
                "repeats": rows,
            },
            indent=1,
        )
    )
    sys.exit(median["first"] > args.limit)


if __name__ == "__main__":
    main()
