"""CPU time of every credit scheme on a large batch, on one core.

    python benchmarks/credit.py [--trajectories 1000] [--turns 5] [--tokens 400]

A synthetic batch of groups of 8 with all signals; ``--tokens``: length of a response. Prints one JSON object with CPU
seconds; ``batch`` is ``Batch.of``. Exits 1 if a scheme takes longer than ``--limit``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from actfocus_core.credit import CONTROLS, SCHEMES, Batch, get_scheme
from actfocus_core.credit.batch import VALUE_SIGNALS
from actfocus_core.trajectory import TokenKind, Trajectory, Turn

GROUP, PROMPT = 8, 60
TOKEN_SIGNALS = ("ref_energy", "ref_entropy", "ref_logprob", "ref_centred_energy", "entropy", *VALUE_SIGNALS)


def make(number: int, turns: int, tokens: int) -> Trajectory:
    """A trajectory of ``turns`` turns with ``tokens`` response tokens each, a tenth of them actions."""
    rng = np.random.default_rng(number)
    reply = np.repeat(
        [TokenKind.FORMAT, TokenKind.REASONING, TokenKind.ACTION],
        [tokens // 20, tokens - tokens // 20 - tokens // 10, tokens // 10],
    )
    kinds = np.tile(np.concatenate([np.full(PROMPT, TokenKind.USER), reply]), turns)
    scored = kinds >= TokenKind.REASONING
    success = bool(rng.random() < 0.5)
    records = [
        Turn("", "", ["Left"], True, float(success and k == turns - 1), 0.0, f"s{rng.integers(6)}", {})
        for k in range(turns)
    ]
    signals = {name: np.where(scored, -rng.random(len(kinds)), np.nan) for name in TOKEN_SIGNALS}
    signals["entropy"] = -signals["entropy"]
    return Trajectory(
        f"t{number}",
        np.zeros(len(kinds)),
        kinds,
        np.repeat(np.arange(turns), PROMPT + tokens),
        np.where(scored, -1.0, np.nan),
        [""] * len(kinds),
        records,
        signals,
        group=f"g{number // GROUP}",
        reward=float(success),
        success=success,
    )


def timed(action) -> tuple[float, object]:
    start = time.process_time()
    result = action()
    return round(time.process_time() - start, 3), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("trajectories", 1000), ("turns", 5), ("tokens", 400)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--limit", type=float, default=1.0)
    args = parser.parse_args()
    trajectories = [make(n, args.turns, args.tokens) for n in range(args.trajectories)]
    seconds, batch = timed(lambda: Batch.of(trajectories))
    figures = {"trajectories": args.trajectories, "response_tokens": int(batch.response.sum()), "batch": seconds}
    schemes = {}
    for name in [*SCHEMES, *(f"{control}:actfocus" for control in CONTROLS)]:
        schemes[name], credit = timed(lambda name=name: get_scheme(name).compute(batch))
        assert not credit.missing, (name, credit.missing)
    figures |= {"schemes": schemes, "slowest": max(schemes.values()), "limit": args.limit}
    print(json.dumps(figures, indent=1))
    sys.exit(figures["slowest"] > args.limit)


if __name__ == "__main__":
    main()
