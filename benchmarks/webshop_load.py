"""Times of WebShop: loading a product file, the first search, the oracle, a step.

    python benchmarks/webshop_load.py [ITEMS.json] [--products 1000] [--goals 50]

Without a file, one is generated from the synthetic catalogue, with descriptions and bullet points of realistic length.
Prints one JSON object with times in seconds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from actfocus_core.envs import make_env
from actfocus_core.envs.webshop.catalogue import read_catalogue
from actfocus_core.envs.webshop.synthetic import make_records
from actfocus_core.oracle.webshop import solve, turns_left


def write_items(path: Path, products: int) -> None:
    """Write a product file with about two thousand characters of text per product."""
    rng = np.random.default_rng(0)
    vocabulary = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 6)) for _ in range(5000)]
    records = [r for seed in range(-(-products // 780)) for r in make_records(seed)][:products]
    for number, record in enumerate(records):
        record["asin"] = f"B{number:09d}"
        record["full_description"] += " " + " ".join(rng.choice(vocabulary, 200))
        record["small_description"] += [" ".join(rng.choice(vocabulary, 20)) for _ in range(5)]
    path.write_text(json.dumps(records, indent=1))


def timed(action) -> tuple[float, object]:
    start = time.perf_counter()
    result = action()
    return round(time.perf_counter() - start, 4), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("items", nargs="?", type=Path)
    parser.add_argument("--products", type=int, default=1000)
    parser.add_argument("--goals", type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = args.items or Path(folder) / "items.json"
        if not args.items:
            write_items(path, args.products)
        figures = {"file": str(path), "megabytes": round(path.stat().st_size / 1e6, 2)}
        figures["load"], shop = timed(lambda: read_catalogue(path))
        figures["products"] = len(shop.products)
        figures["first_search"], _ = timed(lambda: shop.search("soft cotton shirt"))
        env = make_env("webshop", catalogue=path)
        oracle, values = [], []
        for seed in range(args.goals):
            env.reset(seed)
            seconds, value = timed(lambda: solve(env).value(env.location, turns_left(env)))
            oracle.append(seconds)
            values.append(value)
        figures["oracle_median"], figures["oracle_worst"] = float(np.median(oracle)), max(oracle)
        figures["goals_that_can_be_met"] = sum(values) / len(values)
        env.reset(0)
        figures["search_step"], _ = timed(lambda: env.step([env.legal_actions()[0]]))
        figures["embedded"], _ = timed(lambda: make_env("webshop", catalogue_seed=1))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
