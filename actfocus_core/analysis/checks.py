"""What the doctor checks: severity and meaning of every finding, and the findings that an import itself leaves."""

from __future__ import annotations

from collections.abc import Iterator

from actfocus_core.runs.info import Import

MEAN_DRIFT = 0.05
"""Largest mean difference between stored and recomputed log-probs that rounding explains (bfloat16 against float32, other
kernels), in nats."""
MAX_DRIFT = 0.5
"""Largest difference of a single log-prob that rounding explains, in nats."""

CHECKS = {
    "unreadable": ("error", "cannot be read: {detail}"),
    "empty": ("error", "has no tokens"),
    "nothing-sampled": (
        "error",
        "no token is marked as sampled, so none is in the loss: the response mask is missing or wrong",
    ),
    "token-ids": ("error", "token ids are negative or outside the tokenizer's vocabulary: another tokenizer was used"),
    "ids-text": (
        "error",
        "the ids do not decode to the stored text: another tokenizer was used, or the text was cleaned up after sampling",
    ),
    "template-in-loss": (
        "error",
        "special tokens or role headers of the chat template are marked as sampled and so in the loss: the response mask "
        "covers more than the replies",
    ),
    "kinds-mask": (
        "error",
        "tokens that were not sampled have log-probs, or sampled tokens have none: response mask and log-probs are misaligned",
    ),
    "kinds-spans": (
        "warning",
        "reasoning and action tokens do not match the span rule: import again with the rule for these replies (--spans)",
    ),
    "turn-order": ("error", "turn numbers decrease along the tokens, or have no turn record"),
    "logprob-value": ("error", "log-probs are positive or infinite"),
    "signal-value": ("warning", "a signal is infinite, or missing for some of the sampled tokens"),
    "reward-nan": ("warning", "has no reward (NaN), so its group has no advantages"),
    "logprob-reference": (
        "error",
        f"log-probs differ from those of the given policy by more than {MEAN_DRIFT} nats on average, or by more than "
        f"{MAX_DRIFT} at a token: another policy, a shifted mask, or text that was tokenised again",
    ),
    "return-turns": ("warning", "the rewards of the turns do not add up to the reward of the trajectory"),
    "no-action": ("warning", "no action tokens: the replies have no actions, or need another span rule (--spans)"),
    "truncated-answer": (
        "warning",
        "the last reply ends inside its reasoning or answer, or before the end-of-turn token: increase the token limit",
    ),
    "duplicate": ("warning", "has the same tokens as another rollout of the prompt, so it adds no information"),
    "zero-spread": ("warning", "all returns of the group are equal, so its advantages and gradient are 0"),
    "single-rollout": ("info", "the group has one rollout, so its group-relative advantage is 0"),
    "no-logprobs": ("info", "no log-probs are stored: ratios, nll and shift are not available"),
    "reward-columns": (
        "info",
        "the files do not state which columns are rewards: {detail}; otherwise import again with --reward-columns",
    ),
    "reward-unknown": (
        "warning",
        "the files do not state which columns are rewards, and the values match none or several of {detail}: no rollout has "
        "a reward; import again with --reward-columns NAME,NAME",
    ),
    "left-out": ("warning", "not imported: {detail}"),
    "environment-text": (
        "warning",
        "text that the environment seems to have written stands inside the replies and was taken out of them: {detail}; "
        "--environment-spans names other text, or none",
    ),
    "mask-unstated": (
        "info",
        "the files do not mark what was sampled: {detail}",
    ),
    "span-rule": ("info", "{detail}"),
    "success-by-reward": ("info", "the files do not state success for {detail}"),
    "prompts-differ": (
        "warning",
        "groups have rollouts of different prompts, so their advantages compare them: {detail}",
    ),
    "group-per-rollout": (
        "warning",
        "every rollout is a group of its own, although prompts are repeated: {detail}, in which group-relative advantages are 0; "
        "the files' key may name the rollout instead of the prompt",
    ),
    "errored": (
        "warning",
        "ended in an error, which is no failure of the policy; its success is unknown unless the file states it",
    ),
    "approximate": (
        "info",
        "the text was tokenised again at import: ids and spans may differ from those that were sampled",
    ),
    "drift": ("info", "tokenising the text again gives other ids than were sampled: do not train on re-tokenised text"),
    "no-tokenizer": ("info", "ids were not checked against the text; to check them, give --tokenizer"),
}
"""Name of a check -> its severity, and what it means; ``{detail}`` is filled in."""

OF_IMPORT = (
    "reward-columns",
    "reward-unknown",
    "left-out",
    "environment-text",
    "mask-unstated",
    "span-rule",
    "success-by-reward",
    "prompts-differ",
    "group-per-rollout",
)
"""The checks of ``of_import``, of which a run has one finding each"""


def of_import(config: Import) -> Iterator[tuple[str, str]]:
    """What an import guessed or left out: (check, detail)."""
    columns, numeric = config.reward_columns, config.numeric_columns
    others = ", ".join(name for name in numeric if name not in columns)
    reason = {"name": "by their names", "advantage": "because their sum explains the recorded advantages"}.get(
        config.reward_columns_by or ""
    )
    if reason and columns:
        yield (
            "reward-columns",
            f"{', '.join(columns)} were chosen {reason}" + (f", and {others} were not" if others else ""),
        )
    if config.reward_columns_by == "unknown" and numeric:
        yield "reward-unknown", others
    if config.left_out:
        examples = config.left_out_examples or {}
        kinds = (
            f"{n} {kind}" + (f" (first: {examples[kind]})" if kind in examples else "")
            for kind, n in config.left_out.items()
        )
        yield "left-out", ", ".join(kinds)
    if config.environment_text:
        yield "environment-text", ", ".join(f"{n} of {name}" for name, n in config.environment_text.items())
    if config.spans_by and config.action_tokens_by_rule:
        counts = ", ".join(f"{rule} {count}" for rule, count in config.action_tokens_by_rule.items())
        chosen = "was chosen because it fits most replies" if config.spans_by == "content" else "was given"
        yield (
            "span-rule",
            f"the span rule {config.spans} {chosen}; action tokens in the first {config.replies_examined} replies: {counts}",
        )
    by_reward = (config.success_by or {}).get("reward")
    if by_reward and config.success_at is not None:
        yield (
            "success-by-reward",
            f"{by_reward} rollouts; a reward of {config.success_at:g} or more counts (--success-at)",
        )
    for check, detail in (config.doubts or {}).items():
        if check in OF_IMPORT:
            yield check, str(detail)
