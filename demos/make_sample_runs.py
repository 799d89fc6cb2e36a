"""Make the sample runs in assets/runs: rollouts of the embedded policy, scored with itself as the reference.

    python demos/make_sample_runs.py [--out FOLDER] [--only NAME ...] [--policy-rollouts K]

Every run gets the exact values of perfect play; FrozenLake without slips also gets the policy's values, each the mean of
K fresh rollouts, and a replica from K others. Everything is seeded: the prompts are the evaluation seeds 123, 124, ...,
and the sampling seed is 0. The trajectories are the same on every machine, up to rounding of its matrix products.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from actfocus_core.envs import make_env
from actfocus_core.oracle.stored import ensure_optimal, ensure_policy
from actfocus_core.paths import assets
from actfocus_core.policy import load_policy
from actfocus_core.rollout import EVALUATION_SEED, collect
from actfocus_core.runs import Run
from actfocus_core.signals import score

RUNS = {
    "frozen-lake": ("frozen_lake", {"slippery": False}),
    "frozen-lake-slippery": ("frozen_lake", {"slippery": True}),
    "sokoban": ("sokoban", {}),
    "sudoku": ("sudoku", {}),
    "webshop": ("webshop", {}),
}
PROMPTS, ROLLOUTS, TOP_K = 32, 8, 5
WITH_POLICY_VALUES = ("frozen-lake",)
"""Runs that also get the policy's values; one rollout a turn takes a minute."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=assets() / "runs")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--policy-rollouts", type=int, default=4)
    args = parser.parse_args()
    policy = load_policy("tiny", device="cpu")
    for name in args.only:
        env, changes = RUNS[name]
        path = args.out / name
        shutil.rmtree(path, ignore_errors=True)
        options = make_env(env, **{**policy.env_options[env], **changes}).options.model_dump(mode="json")
        seeds = list(range(EVALUATION_SEED, EVALUATION_SEED + PROMPTS))
        trajectories = collect(policy, env, prompts=seeds, rollouts=ROLLOUTS, env_options=options)
        score(trajectories, policy, top_k=TOP_K)
        run = Run.create(
            path,
            {
                "command": "demos/make_sample_runs.py",
                "policy": "tiny",
                "env": env,
                "env_options": options,
                "prompts": seeds,
                "rollouts": ROLLOUTS,
                "temperature": 1.0,
                "seed": 0,
            },
            {"name": policy.name, "fingerprint": policy.fingerprint},
        )
        run.add_trajectories(0, trajectories)
        run.annotate(0, policy.name, trajectories)
        ensure_optimal(run, 0, trajectories, silent)
        if name in WITH_POLICY_VALUES:
            ensure_policy(run, 0, trajectories, lambda: policy, silent, args.policy_rollouts)
        print(
            f"{path}: {len(trajectories)} trajectories, "
            f"success {sum(t.success for t in trajectories) / len(trajectories):.2f}"
        )


def silent(phase: str):
    return lambda done, total: None


if __name__ == "__main__":
    main()
