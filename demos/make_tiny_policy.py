"""Make the embedded policy, assets/tiny-policy: python demos/make_tiny_policy.py

A Llama of 0.8 million parameters is trained from scratch on dialogues of partly wrong demonstrators, then evaluated on
unseen boards; the scores are written to its card. Everything is seeded and runs on one thread, so the same machine
reproduces the same weights.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from random import Random

import numpy as np
import torch
from tiny_policy.demonstrators import DEMONSTRATORS, environments, play
from tiny_policy.shop import Wanderer
from tiny_policy.tokenizer import train_tokenizer
from tiny_policy.training import FIRST_SEED, Stage, make_model, train

from actfocus_core.dialogue import ChatFormat
from actfocus_core.paths import assets
from actfocus_core.policy import load_policy
from actfocus_core.rollout import EVALUATION_SEED, collect
from actfocus_core.trajectory import TokenKind

STAGES = [
    Stage("short", 1200, turns=2, batch=20, doubt=0.15, learn_slips=False),
    Stage("whole", 3200, turns=9, batch=10, doubt=0.15, learn_slips=False),
    Stage("doubt", 400, turns=9, batch=10, doubt=None, learn_slips=True),
]
RATE = 3e-3
POLISH = [Stage("polish", 500, turns=9, batch=8, doubt=None, learn_slips=True, more=(Wanderer(),) * 8)]
POLISH_RATE = 6e-4
"""Additional training on WebShop, whose pages have the most content."""
CORPUS, VOCABULARY = 400, 900
PROMPTS, ROLLOUTS = 64, 8


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--out", type=Path, default=assets() / "tiny-policy")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    started = time.process_time()
    tokenizer = train_tokenizer(corpus(Random(options.seed)), VOCABULARY)
    model = make_model(tokenizer)
    for stages, rate, seed in ((STAGES, RATE, options.seed), (POLISH, POLISH_RATE, options.seed + 1)):
        for stage in train(model, ChatFormat(tokenizer), stages, rate, seed):
            print(f"{stage.name}: done, {(time.process_time() - started) / 60:.1f} CPU minutes", flush=True)
    minutes = (time.process_time() - started) / 60
    model.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)
    (options.out / "actfocus.json").write_text(
        json.dumps({"env_options": {d.env: {**d.options, **d.variants[0]} for d in DEMONSTRATORS}}, indent=2) + "\n"
    )
    scores = [evaluate(str(options.out), d.env, variant) for d in DEMONSTRATORS for variant in d.variants]
    card = (Path(__file__).parent / "tiny_policy" / "card.md").read_text(encoding="utf-8")
    (options.out / "README.md").write_text(
        card.format(
            parameters=sum(p.numel() for p in model.parameters()),
            vocabulary=len(tokenizer),
            minutes=minutes,
            seed=options.seed,
            steps=sum(s.steps for s in STAGES + POLISH),
            scores="\n".join(scores),
        ),
        encoding="utf-8",
    )
    print("\n".join(scores), f"\n{minutes:.1f} CPU minutes")


def corpus(rng: Random) -> list[str]:
    """Texts of dialogues, to train the tokenizer."""
    dialogues = [
        play(d, env, FIRST_SEED + i, rng, turns=9, doubt=None)
        for d in DEMONSTRATORS
        for env in environments(d)
        for i in range(CORPUS)
    ]
    texts = [text for d in dialogues for text in (d.system, *(t for turn in d.turns for t in turn))]
    # Every dialogue contains the words of the chat template.
    return texts + ["system\n", "user\n", "assistant\n"] * len(dialogues)


def evaluate(folder: str, env: str, variant: dict) -> str:
    """Scores at temperature 1 on unseen boards, as a row of the card's table."""
    policy = load_policy(folder, device="cpu")
    seeds = range(EVALUATION_SEED, EVALUATION_SEED + PROMPTS)
    rollouts = collect(policy, env, prompts=seeds, rollouts=ROLLOUTS, env_options=variant)
    turns = [turn for t in rollouts for turn in t.turn_records]
    groups = np.array([t.success for t in rollouts], float).reshape(PROMPTS, ROLLOUTS)
    # Rollouts of one board are not independent: the interval is over boards.
    half_width = 1.96 * groups.mean(1).std(ddof=1) / np.sqrt(PROMPTS)
    entropy = {
        kind: np.concatenate([t.signals["entropy"][t.kinds == kind] for t in rollouts]).mean()
        for kind in (TokenKind.REASONING, TokenKind.ACTION)
    }
    well_formed = sum(len(t.answered) for t in rollouts) / len(turns)
    thinking = sum((t.kinds == TokenKind.REASONING).sum() for t in rollouts) / len(turns)
    return (
        f"| {env} {json.dumps(variant)} | {groups.mean():.3f} ± {half_width:.3f} | "
        f"{well_formed:.4f} | {np.mean([turn.valid for turn in turns]):.4f} | {(groups.std(1) > 0).mean():.2f} | "
        f"{thinking:.1f} | {entropy[TokenKind.REASONING]:.3f} | {entropy[TokenKind.ACTION]:.3f} |"
    )


if __name__ == "__main__":
    main()
