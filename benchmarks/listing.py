"""The list of the rollouts of a large run: first rows, sorting, search, computed columns, and memory.

    python benchmarks/listing.py [--rollouts 100000] [--folder DIR]

The run is made here through ``RunWriter``: 64 rollouts of 1,000 tokens, whose tokens are drawn from those of the sample runs
(``assets/runs``), are written again and again under new ids, groups, steps, rewards and text columns, 1,000 a step; every
997th has a sentence that no other has. Its signals are random. The list is measured in a separate process, with a cache folder of
its own that is empty at first. Prints one JSON object: seconds, and the peak resident memory in megabytes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from actfocus_core import processes
from benchmarks.big_run import megabytes, timed

TOKENS, TEMPLATES, A_STEP, RARE = 1000, 64, 1000, 997
SENTENCE = ["I ", "fell ", "into ", "the ", "unfathomable ", "hole"]
GOALS = {"first_rows": 1.0, "sort": 0.3, "search": 2.0, "megabytes": 1500}
SORTED = ("return", "tokens", "group", "id", "columns.task", "columns.seconds", "rewards.answer")
SEARCHES = {
    "nowhere": ("not in any text", False),
    "rare": ("unfathomable hole", False),
    "everywhere": ("hole", False),
    "a letter": ("e", False),
    "rare, expression": ("[a-z]+athomable (pit|hole)", True),
    "everywhere, expression": ("[0-9]+ [a-z]+", True),
}


def templates() -> list:
    """The rollouts that are repeated: random tokens in five turns, with random signals."""
    import numpy as np

    from actfocus_core.paths import assets
    from actfocus_core.runs import Run
    from actfocus_core.trajectory import Trajectory, Turn

    runs = [Run.open(folder) for folder in sorted((assets() / "runs").iterdir())]
    words = sorted({text for run in runs for t in run.trajectories(run.steps()[0]) for text in t.texts if text})
    rng = np.random.default_rng(0)
    kinds = np.resize(np.repeat(np.arange(6, dtype=np.uint8), [20, 30, 5, 90, 30, 25]), TOKENS)
    sampled = kinds >= 3

    def scores(scale: float) -> np.ndarray:
        return np.where(sampled, scale * rng.random(TOKENS), np.nan).astype(np.float32)

    return [
        Trajectory(
            str(number),
            ids := rng.integers(0, len(words), TOKENS),
            kinds,
            np.repeat(np.arange(5, dtype=np.int16), TOKENS // 5),
            scores(-1),
            [words[i] for i in ids],
            [Turn("look", "go", ["Up"], number % 5 > 0, 0.0, 0.0, f"s{turn}", {"turn": turn}) for turn in range(5)],
            {name: scores(-9) for name in ("ref_energy", "ref_entropy", "ref_logprob", "ref_centred_energy")},
            env="lake",
        )
        for number in range(TEMPLATES)
    ]


def make(path: Path, rollouts: int) -> None:
    """Write the run."""
    import numpy as np

    from actfocus_core.runs import RunWriter, atomic_run

    rng, pool = np.random.default_rng(1), templates()
    with (
        atomic_run(path, {"command": "benchmarks/listing.py", "env": ""}) as run,
        RunWriter(run, "reference") as out,
    ):
        for number in range(rollouts):
            step, reward = number // A_STEP, round(float(rng.random()), 3)
            t = pool[number % TEMPLATES]
            texts = t.texts if number % RARE else [*t.texts[:100], *SENTENCE, *t.texts[100 + len(SENTENCE) :]]
            out.add(
                replace(
                    t,
                    id=f"{step:05d}-{number // 8}-{number % 8:02d}",
                    texts=texts,
                    group=f"{step:05d}-{number // 8}",
                    rollout=number % 8,
                    step=step,
                    reward=reward,
                    rewards={"answer": (reward, 1.0), "format": (0.0, 1.0)},
                    success=(None, True, False)[number % 3],
                    columns={"task": f"task {number % 50}", "seconds": round(float(rng.random()), 3)},
                )
            )
            if (number + 1) % A_STEP == 0:
                out.flush()


def measure(path: Path, cache: Path) -> dict:
    """The figures of this process; of the processor too, since other programs may take some of the time on the clock."""
    from actfocus_core.listing import Cache, Listing, Query, Search
    from actfocus_core.runs import Run

    run = Run.open(path)
    figures: dict = {"megabytes_before": megabytes()}

    def note(name: str, action) -> object:
        cpu = time.process_time()
        seconds, result = timed(action)
        figures[name] = {"seconds": seconds, "cpu": round(time.process_time() - cpu, 4)}
        return result

    listing = Listing(run, cache=Cache.of(path, cache))
    note("first_rows", listing.first)
    note("all_rows_read", lambda: listing.total)
    for name in SORTED:
        note(f"sort {name}", lambda name=name: listing.page(Query(sort=name, descending=True)))
    filtered = Query(
        where="success == false and columns.seconds > 0.5 and not malformed and group ~ '7$'", sort="return"
    )
    found = note("filter", lambda: listing.page(filtered))
    note("compute", listing.compute)
    note("sort_change", lambda: listing.page(Query(sort="change", descending=True)))
    note("index_text", listing.index_text)
    for name, (text, regex) in SEARCHES.items():
        page = note(f"search {name}", lambda text=text, regex=regex: listing.page(Query(search=Search(text, regex))))
        figures[f"search {name}"]["rollouts"] = page.total
    figures |= {
        "rollouts": listing.total,
        "tokens": sum(listing.page(limit=listing.total, columns=["tokens"]).rows["tokens"].to_pylist()),
        "filtered": found.total,
        "megabytes": megabytes(),
    }
    # The memory was measured before: two lists in one process map the files of the cache twice.
    again = Listing(run, cache=Cache.of(path, cache))
    note("first_rows_again", again.first)
    note("search_again", lambda: again.page(Query(search=Search("unfathomable hole"), sort="change")))
    figures["within_goals"] = {
        "first_rows": figures["first_rows"]["seconds"] < GOALS["first_rows"],
        "sort_stored": all(figures[f"sort {name}"]["seconds"] < GOALS["sort"] for name in SORTED),
        "sort_change": figures["sort_change"]["seconds"] < GOALS["sort"],
        "search": all(figures[f"search {name}"]["seconds"] < GOALS["search"] for name in SEARCHES),
        "megabytes": figures["megabytes"] < GOALS["megabytes"],
    }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="keep the run here, or reuse the one in this folder")
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(*args.measure)))
        return
    with tempfile.TemporaryDirectory() as hidden:
        path = (args.folder or Path(hidden)) / f"run-{args.rollouts}"
        figures = {} if path.exists() else {"made_in": timed(lambda: make(path, args.rollouts))[0]}
        figures["disk_megabytes"] = round(sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) / 1e6)
        cache = Path(hidden) / "cache"
        result = processes.run(
            processes.python("benchmarks.listing", "--measure", path, cache), env=processes.environment(threads=None)
        )
        if result.returncode:
            raise SystemExit(result.returncode)
        figures |= json.loads(result.stdout)
        figures["cache_megabytes"] = round(sum(f.stat().st_size for f in cache.rglob("*.arrow")) / 1e6)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
