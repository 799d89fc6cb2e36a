"""A large run: time to open it, filter, sort and read one trajectory, and memory.

    python benchmarks/big_run.py [--full] [--folder DIR] [--no-peer]

10,000 trajectories of 1,000 tokens by default, 100,000 with ``--full``, in ten steps, with the signals of a reference. The
peer is pandas, which reads the same Parquet files completely. Each is measured in a separate process. Prints one JSON
object: seconds, and the peak resident memory in megabytes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import tempfile
import time
from pathlib import Path

from actfocus_core import processes

STEPS, TOKENS = 10, 1000
GOALS = {"open": 3.0, "filter": 0.3, "sort": 0.3, "trajectory": 0.3, "megabytes": 1500}


def make(path: Path, trajectories: int) -> None:
    """Write the run: random ids, texts from a vocabulary of words, and the signals of a reference."""
    import numpy as np

    from actfocus_core.runs import RunWriter, atomic_run
    from actfocus_core.trajectory import Trajectory, Turn

    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("abcdefghij"), 4)) + " " for _ in range(2000)])
    kinds = np.resize(np.repeat(np.arange(6, dtype=np.uint8), [20, 30, 5, 90, 30, 25]), TOKENS)
    turns = np.repeat(np.arange(5, dtype=np.int16), TOKENS // 5)
    sampled = kinds >= 3
    with (
        atomic_run(path, {"command": "benchmarks/big_run.py", "env": ""}) as run,
        RunWriter(run, "reference") as out,
    ):
        for number in range(trajectories):
            step = number * STEPS // trajectories
            ids = rng.integers(0, 2000, TOKENS)

            def scores(scale: float) -> np.ndarray:
                return np.where(sampled, scale * rng.random(TOKENS), np.nan).astype(np.float32)

            reward = float(rng.integers(0, 2))
            records = [Turn("look", "go", ["Up"], True, 0.0, 0.0, f"s{turn}", {"turn": turn}) for turn in range(5)]
            out.add(
                Trajectory(
                    f"{step:05d}-{number // 8}-{number % 8:02d}",
                    ids,
                    kinds,
                    turns,
                    scores(-1),
                    words[ids].tolist(),
                    records,
                    {"entropy": scores(2), "ref_energy": scores(-9), "ref_logprob": scores(-1)},
                    group=f"{step:05d}-{number // 8}",
                    env="lake",
                    rollout=number % 8,
                    step=step,
                    reward=reward,
                    success=reward > 0,
                    terminated=True,
                )
            )


def timed(action) -> tuple[float, object]:
    start = time.perf_counter()
    result = action()
    return round(time.perf_counter() - start, 4), result


def megabytes() -> int:
    """The peak resident memory of this process, without that of its parent before the fork."""
    status = Path("/proc/self/status")
    if status.exists():
        return (
            next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) // 1024
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def ours(path: Path) -> dict:
    from actfocus_core.runs import Run

    figures = {"megabytes_before": megabytes()}
    figures["open"], (run, index) = timed(lambda: (run := Run.open(path), run.index()))
    figures["filter"], rows = timed(lambda: (i := run.index())[i["success"] & (i["n_action"] > 10) & (i["step"] == 3)])
    figures["sort"], _ = timed(lambda: run.index().sort_values(["return", "n_tokens", "id"], ascending=False))
    ids = [index["id"].iloc[len(index) * part // 7] for part in range(1, 7)]
    seconds = [timed(lambda name=name: run.trajectory(name))[0] for name in ids]
    figures |= {
        "trajectory": max(seconds),
        "trajectories": len(index),
        "tokens": int(index["n_tokens"].sum()),
        "found": len(rows),
        "megabytes": megabytes(),
    }
    figures["within_goals"] = {name: figures[name] < goal for name, goal in GOALS.items()}
    return figures


def peer(path: Path) -> dict:
    """The same with pandas, which reads whole files."""
    import pandas as pd

    figures = {"megabytes_before": megabytes()}
    figures["open"], frame = timed(
        lambda: pd.concat(
            [pd.read_parquet(file) for file in sorted((path / "trajectories").glob("*.parquet"))], ignore_index=True
        )
    )
    figures["filter"], _ = timed(lambda: frame[frame["success"] & (frame["n_action"] > 10) & (frame["step"] == 3)])
    figures["sort"], _ = timed(lambda: frame.sort_values(["reward", "n_tokens", "id"], ascending=False))
    trajectory_id = frame["id"].iloc[len(frame) // 2]
    figures["trajectory"], _ = timed(lambda: frame[frame["id"] == trajectory_id].iloc[0].to_dict())
    return figures | {"megabytes": megabytes()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="100,000 trajectories, 100 million tokens")
    parser.add_argument("--folder", type=Path, help="keep the run here, or reuse the one in this folder")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--measure", choices=("ours", "peer"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps({"ours": ours, "peer": peer}[args.measure](args.folder)))
        return
    with tempfile.TemporaryDirectory() as hidden:
        path = (args.folder or Path(hidden)) / ("big-full" if args.full else "big")
        figures = (
            {"made_in": timed(lambda: make(path, 100_000 if args.full else 10_000))[0]} if not path.exists() else {}
        )
        figures["disk_megabytes"] = round(sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) / 1e6)
        for name in ("ours", *(() if args.no_peer else ("peer",))):
            result = processes.run(
                processes.python("benchmarks.big_run", "--measure", name, "--folder", path),
                env=processes.environment(threads=None),
                stderr=subprocess.PIPE,
            )
            figures[name] = (
                json.loads(result.stdout)
                if result.returncode == 0
                else f"failed with exit code {result.returncode}: {result.stderr.strip()[-200:] or 'killed'}"
            )
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
