"""Supervised training on generated dialogues, with the next-token loss on the replies."""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import Random

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from actfocus_core.dialogue import ChatFormat
from tiny_policy.demonstrators import DEMONSTRATORS, Demonstrator, Dialogue, environments, play

FIRST_SEED = 10_000_000
"""First environment seed; distinct from the seeds of the evaluation (from 123) and of training (from 10000)."""
MICRO_BATCH = 4
"""Dialogues in a forward pass."""


@dataclass(frozen=True)
class Stage:
    """A stage of the curriculum."""

    name: str
    steps: int
    turns: int
    batch: int
    """dialogues a step"""
    doubt: float | None
    """Probability that an action differs from the plan; None: that of the demonstrators."""
    learn_slips: bool
    """Whether the loss includes answers that differ from the plan."""
    more: tuple[Demonstrator, ...] = ()
    """Additional demonstrators; one that is listed n times plays n dialogues a round."""


def make_model(tokenizer) -> LlamaForCausalLM:
    """A small Llama with random weights: 0.8 million parameters."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=1,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def train(model: LlamaForCausalLM, chat: ChatFormat, stages: list[Stage], rate: float, seed: int):
    """Run the stages in order under one learning-rate schedule; yields each stage after it is finished."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    total, step, started = sum(stage.steps for stage in stages), 0, time.time()
    dialogues = _dialogues(Random(seed))
    for stage in stages:
        average = None
        for _ in range(stage.steps):
            batch = [encode(chat, dialogues(stage), stage.learn_slips) for _ in range(stage.batch)]
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1, (step + 1) / 50) * (1 - 0.95 * step / total)
            optimiser.zero_grad()
            loss = accumulate(model, batch)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            step += 1
            average = loss if average is None else 0.98 * average + 0.02 * loss
            if step % 100 == 0:
                print(
                    f"{stage.name}: step {step} of {total}, loss {average:.4f}, {time.time() - started:.0f} s",
                    flush=True,
                )
        yield stage


def _dialogues(rng: Random):
    """A function that plays the next dialogue, cycling through the demonstrators and their variants."""
    players = [(d, env) for d in DEMONSTRATORS for env in environments(d)]
    played = 0

    def next_dialogue(stage: Stage) -> Dialogue:
        nonlocal played
        round_players = players + [(d, environments(d)[0]) for d in stage.more]
        demonstrator, env = round_players[played % len(round_players)]
        played += 1
        return play(demonstrator, env, FIRST_SEED + played, rng, stage.turns, stage.doubt)

    return next_dialogue


def encode(chat: ChatFormat, dialogue: Dialogue, learn_slips: bool) -> tuple[list[int], list[bool]]:
    """The ids of a dialogue as in a rollout, and whether each of them is in the loss."""
    ids, in_loss = [], []
    for k, (observation, reply) in enumerate(dialogue.turns):
        segment = (
            chat.next_segment(observation, closed=True) if k else chat.initial_segment(dialogue.system, observation)
        )
        reply_ids = [*chat.tokenizer(reply, add_special_tokens=False)["input_ids"], chat.end_id]
        ids += [*segment.ids, *reply_ids]
        in_loss += [False] * len(segment.ids) + [learn_slips or k not in dialogue.slips] * len(reply_ids)
    return ids, in_loss


def accumulate(model: LlamaForCausalLM, batch: list[tuple[list[int], list[bool]]]) -> float:
    """Accumulate the gradient of the mean cross-entropy over the tokens in the loss; returns the mean.

    Dialogues of similar length share a forward pass, which reduces padding and does not change the gradient.
    """
    batch = sorted(batch, key=lambda dialogue: len(dialogue[0]))
    count, total = sum(sum(in_loss) for _, in_loss in batch), 0.0
    for start in range(0, len(batch), MICRO_BATCH):
        loss = _loss(model, batch[start : start + MICRO_BATCH]) / count
        loss.backward()
        total += loss.item()
    return total


def _loss(model: LlamaForCausalLM, batch: list[tuple[list[int], list[bool]]]) -> torch.Tensor:
    """Sum of the cross-entropy over the tokens in the loss; padding is on the right, where no token attends to it."""
    longest = max(len(ids) for ids, _ in batch)
    ids_BT = torch.zeros(len(batch), longest, dtype=torch.long)
    in_loss_BT = torch.zeros(len(batch), longest, dtype=torch.bool)
    for row, (ids, in_loss) in enumerate(batch):
        ids_BT[row, : len(ids)] = torch.tensor(ids)
        in_loss_BT[row, : len(ids)] = torch.tensor(in_loss)
    hidden = model.model(input_ids=ids_BT, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[:, :-1][in_loss_BT[:, 1:]])
    return torch.nn.functional.cross_entropy(logits, ids_BT[:, 1:][in_loss_BT[:, 1:]], reduction="sum")
