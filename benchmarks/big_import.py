"""Import of a large file of rollouts: speed and memory.

    python benchmarks/big_import.py [--megabytes 200] [--format chat|jsonl] [--folder DIR]

The file repeats the trajectories of the sample runs (``assets/runs``) in new groups: ``chat`` as messages, which are
rendered by the chat template and tokenised again; ``jsonl`` with exact ids and all scores. The file is written here and
imported in a separate process with a progress bar. Prints one JSON object: wall-clock and CPU seconds, megabytes of the
file per CPU second, and the peak resident memory in megabytes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

from actfocus_core import processes
from benchmarks.big_run import megabytes

STEP = 5000
"""Rollouts per training step."""


def write(path: Path, size: int, format: str) -> int:
    """Write at least ``size`` bytes of rollouts; returns their number."""
    from actfocus_core.interop.formats.native import to_record
    from actfocus_core.paths import assets
    from actfocus_core.runs import Run
    from actfocus_core.trajectory import TokenKind

    def messages(t) -> dict:
        turns = [
            message
            for turn in t.turn_records
            for message in (
                {"role": "user", "content": turn.observation},
                {"role": "assistant", "content": turn.response},
            )
        ]
        return {
            "messages": [{"role": "system", "content": t.text(TokenKind.SYSTEM)}, *turns],
            "reward": t.reward,
            "env": t.env,
        }

    samples = [t for folder in sorted((assets() / "runs").iterdir()) for t in Run.open(folder).trajectories()]
    records = [messages(t) if format == "chat" else to_record(t) for t in samples]
    with open(path, "w", encoding="utf-8") as file:
        for number in itertools.count():
            if file.tell() >= size:
                return number
            group = {"group": f"prompt-{number // 8}", "step": number // STEP}
            id_field = {"id": f"rollout-{number}"} if format == "jsonl" else {}
            file.write(json.dumps({**records[number % len(records)], **group, **id_field}) + "\n")


def measure(path: Path, out: Path) -> dict:
    """Import the file in this process."""
    from actfocus_core.cli.show import progress_bars
    from actfocus_core.interop import import_run

    before, start, cpu = megabytes(), time.perf_counter(), time.process_time()
    with progress_bars("bar", files=True) as show:
        run = import_run(path, out, tokenizer="tiny", on_progress=show("import"))
    seconds, cpu, peak = time.perf_counter() - start, time.process_time() - cpu, megabytes()
    size, index = path.stat().st_size / 1e6, run.index()
    return {
        "file_megabytes": round(size),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "megabytes_a_cpu_second": round(size / cpu, 2),
        "peak_megabytes": peak,
        "peak_megabytes_before": before,
        "rollouts": len(index),
        "tokens": int(index["n_tokens"].sum()),
        "run_megabytes": round(sum(f.stat().st_size for f in out.rglob("*") if f.is_file()) / 1e6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--format", choices=("chat", "jsonl"), default="chat")
    parser.add_argument("--folder", type=Path, help="where the temporary file and run are written")
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(*args.measure)))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as hidden:
        path = Path(hidden) / "rollouts.jsonl"
        count = write(path, args.megabytes * 1_000_000, args.format)
        result = processes.run(
            processes.python("benchmarks.big_import", "--measure", path, Path(hidden) / "run"),
            env=processes.environment(threads=None),
        )
    if result.returncode:
        sys.exit(f"the import failed with exit code {result.returncode}")
    figures = json.loads(result.stdout)
    if figures["rollouts"] != count:
        sys.exit(f"{count} rollouts were written and {figures['rollouts']} read")
    print(json.dumps({"format": args.format, **figures}, indent=1))


if __name__ == "__main__":
    main()
