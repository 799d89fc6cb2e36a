"""How long one update replayed under two schemes takes: python benchmarks/replay.py

Trains two steps of the quick preset (embedded policy, FrozenLake, 8 prompts x 8 rollouts), then replays the
second under its own scheme and Uniform: from opening the run to the answer, the model loaded anew
each time. Prints one JSON object: seconds by the clock until the answer about the group that is looked at
(``first``) and until the whole answer, seconds of the processor, the median and all repeats, and the largest difference
to the stored checkpoint. Exits 1 where the median of ``first`` is longer than ``--limit``.
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
            clock, processor = time.perf_counter(), time.process_time()
            what = replay(
                Run.open(path),
                2,
                args.schemes.split(","),
                on_first=lambda _, first=first: first.append(time.perf_counter()),
            )
            rows.append(
                {
                    "first": round(first[0] - clock, 3),
                    "seconds": round(time.perf_counter() - clock, 3),
                    "processor": round(time.process_time() - processor, 3),
                    **{name: round(value, 3) for name, value in what.result["seconds"].items()},
                }
            )
    median = {name: statistics.median(row[name] for row in rows) for name in ("first", "seconds")}
    print(
        json.dumps(
            {
                "algorithm": args.algorithm,
                "schemes": args.schemes,
                "trajectories": what.result["trajectories"],
                "tokens": what.result["tokens"],
                "threads": torch.get_num_threads(),
                "median": median,
                "goal": args.limit,
                "reproduced": what.result["updates"][0]["reproduced"],
                "repeats": rows,
            },
            indent=1,
        )
    )
    sys.exit(median["first"] > args.limit)


if __name__ == "__main__":
    main()
