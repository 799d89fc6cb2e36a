"""``RULES``: the problems that the doctor looks for, each with its threshold, its consequence and its remedy.

The checks of this package find them in stored rollouts. What watches a run while it trains uses the same rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""``error``: training on these rollouts would be wrong. ``warning``: part of them is wasted or doubtful. ``info``:
something could not be checked, or is worth knowing."""

MEAN_DRIFT = 0.05
"""Largest mean difference between stored and recomputed log-probs that rounding explains (bfloat16 against float32, other
kernels), in nats."""
MAX_DRIFT = 0.5
"""Largest difference of a single log-prob that rounding explains, in nats."""


@dataclass(frozen=True)
class Rule:
    """A problem of rollouts."""

    name: str
    severity: Severity
    found: str
    """What was found; ``{detail}`` is filled in"""
    consequence: str = ""
    """Its effect on training, or on what is displayed"""
    remedy: str = ""
    """How to correct it"""
    threshold: float | None = None
    """From which value of ``unit`` on it is reported; None: a single case is"""
    unit: str = ""
    counts: Literal["rollouts", "groups", "run"] = "rollouts"
    """What the numbers of a finding count"""

    def message(self, detail: str = "") -> str:
        """What was found, its consequence and its remedy as one sentence."""
        text = self.found.format(detail=detail)
        if self.consequence:
            text += f": {self.consequence}"
        return f"{text}; {self.remedy}" if self.remedy else text


_ALL = (
    # --- the stream ---
    Rule("unreadable", "error", "cannot be read: {detail}"),
    Rule("empty", "error", "has no tokens", "there is nothing to train on"),
    Rule(
        "token-ids",
        "error",
        "token ids are negative or outside the tokenizer's vocabulary",
        "another tokenizer was used, and the texts are not what the policy read",
    ),
    Rule(
        "ids-text",
        "error",
        "the ids do not decode to the stored text",
        "another tokenizer was used, or the text was cleaned up after sampling, so what is shown is not what was sampled",
    ),
    Rule(
        "other-tokenizer",
        "error",
        "{detail}",
        "the ids are those of another model's tokenizer, so texts, kinds and weights are meaningless",
        "give the tokenizer of the model that sampled (--tokenizer)",
        0.99,
        "of the token borders in the prompt, below which the tokenizer would have cut the text otherwise; also needed are "
        "letters of 4 writing systems and no token of the chat template",
    ),
    Rule(
        "double-bos",
        "error",
        "the stream begins with two beginning-of-sequence tokens",
        "the policy reads a prompt that it was not trained on, and its log-probs shift",
        "tokenise templated text with add_special_tokens=False",
    ),
    Rule(
        "turn-order",
        "error",
        "turn numbers decrease along the tokens, or have no turn record",
        "credit by turn goes to the wrong turns",
    ),
    Rule(
        "drift",
        "info",
        "tokenising the text again gives other ids than were sampled",
        "training on re-tokenised text would train on tokens that were not sampled",
    ),
    # --- what was sampled ---
    Rule(
        "nothing-sampled",
        "error",
        "no token is marked as sampled",
        "none is in the loss: the response mask is missing or wrong",
    ),
    Rule(
        "template-in-loss",
        "error",
        "special tokens or role headers of the chat template are marked as sampled",
        "the response mask covers more than the replies, and the policy is trained to write the template",
    ),
    Rule(
        "mask-shifted",
        "error",
        "the response mask is shifted against the borders of the chat template, {detail}",
        "the loss is on other tokens than were sampled, and the log-probs belong to their neighbours",
        "shift the mask; often labels or log-probs were cut by one token",
        3,
        "tokens, beyond which a shift is not recognised",
    ),
    Rule(
        "end-token-out-of-loss",
        "warning",
        "the end-of-turn token follows the replies and is not in the loss: {detail}",
        "the policy is not trained to end its turn, and its replies grow longer",
        "include the token in the response mask, unless generation ends at a stop string",
        0.9,
        "of the finished replies",
    ),
    Rule(
        "end-token-missing",
        "warning",
        "the replies end without an end-of-turn token: {detail}",
        "the policy is not trained to end its turn, or the sampler removed the token from the ids",
        "",
        0.9,
        "of the replies that were not cut off",
    ),
    Rule(
        "end-token-invented",
        "warning",
        "the end-of-turn tokens have a log-prob of exactly 0: {detail}",
        "they were appended and not sampled, so their ratios are wrong, and the policy never ended its turn itself",
        "",
        0.9,
        "of the end-of-turn tokens, if at most 2 % of the other tokens have a log-prob of 0",
    ),
    Rule(
        "mask-unstated",
        "info",
        "the files do not mark what was sampled: {detail}",
        "findings about the mask concern this derivation",
        counts="run",
    ),
    # --- log-probs and other scores ---
    Rule(
        "kinds-mask",
        "error",
        "tokens that were not sampled have log-probs, or sampled tokens have none",
        "response mask and log-probs are misaligned",
    ),
    Rule("logprob-value", "error", "log-probs are positive or infinite", "ratios and losses of these tokens are wrong"),
    Rule(
        "logprob-reference",
        "error",
        f"log-probs differ from those of the given policy by more than {MEAN_DRIFT} nats on average, or by more than "
        f"{MAX_DRIFT} at a token",
        "another policy sampled, the mask is shifted, or the text was tokenised again",
        "",
        MEAN_DRIFT,
        f"nats on average, or {MAX_DRIFT} at a token",
    ),
    Rule(
        "logprob-offset",
        "warning",
        "the trainer's log-probs differ from the sampler's in one direction: {detail}",
        "every importance ratio is biased; usually one side ignores the temperature or a truncation of sampling, or "
        "has older weights",
        "",
        0.8,
        "of the tokens that differ have the same sign, with a mean of at least 0.01 nats over at least 50 tokens",
    ),
    Rule(
        "signal-value",
        "warning",
        "a signal is infinite, or missing for some of the sampled tokens",
        "weights and statistics leave these tokens out",
    ),
    Rule(
        "missing-signals",
        "info",
        "some rollouts lack what others have: {detail}",
        "averages over the run are those of a part",
        counts="run",
    ),
    Rule("no-logprobs", "info", "no log-probs are stored", "ratios, nll and shift are not available", counts="run"),
    Rule(
        "mixed-versions",
        "warning",
        "was sampled by several versions of the policy",
        "the weights changed inside the rollout, so that one version's log-probs do not fit all of its tokens",
        "correct by importance sampling, or limit the staleness",
    ),
    # --- replies ---
    Rule(
        "kinds-spans",
        "warning",
        "reasoning and action tokens do not match the span rule",
        "weights fall on the wrong tokens",
        "import again with the rule for these replies (--spans)",
    ),
    Rule(
        "no-action",
        "warning",
        "no action tokens",
        "the replies have no actions, or their layout is not recognised, and action credit has nothing to act on",
        "import again with another span rule (--spans)",
    ),
    Rule(
        "truncated-answer",
        "warning",
        "the last reply ends inside its reasoning or answer, or before the end-of-turn token",
        "an unfinished rollout is judged like a finished one",
        "increase the token limit",
    ),
    Rule(
        "repeated-reply",
        "warning",
        "repeats one reply over and over: {detail}",
        "the policy is stuck, and a loop of equal tokens dominates the rollout's loss",
        "",
        3,
        "equal replies to equal observations in a row, or 8 equal replies in a row",
    ),
    Rule(
        "errored",
        "warning",
        "ended in an error",
        "that is no failure of the policy; its success is unknown unless the file states it",
    ),
    # --- rewards and groups ---
    Rule("reward-nan", "warning", "has no reward (NaN)", "its group has no advantages"),
    Rule(
        "return-turns",
        "warning",
        "the rewards of the turns do not add up to the reward of the trajectory",
        "credit by turn and by trajectory contradict each other",
    ),
    Rule("duplicate", "warning", "has the same tokens as another rollout of the prompt", "it adds no information"),
    Rule(
        "zero-spread",
        "warning",
        "all returns of the group are equal",
        "its advantages and gradient are 0",
        counts="groups",
    ),
    Rule(
        "single-rollout",
        "info",
        "the group has one rollout",
        "its group-relative advantage is 0",
        counts="groups",
    ),
    Rule(
        "prompts-differ",
        "warning",
        "groups have rollouts of different prompts",
        "their advantages compare rollouts that cannot be compared",
        "group by the prompt",
        counts="groups",
    ),
    Rule(
        "group-per-rollout",
        "warning",
        "every rollout is a group of its own, although prompts are repeated: {detail}",
        "group-relative advantages are 0; the key may name the rollout instead of the prompt",
        counts="groups",
    ),
    Rule(
        "several-agents",
        "warning",
        "groups have rollouts of several trained agents",
        "their advantages compare different roles",
        "group by prompt and agent",
        counts="groups",
    ),
    Rule(
        "advantage-contradicts",
        "warning",
        "the recorded advantages contradict the returns: {detail}",
        "rollouts are reinforced that did worse than others of their group",
        "check that rewards and advantages belong to the same rollouts, or that a penalty outside the reward explains them",
        0.1,
        "of the pairs of a group with different returns, ranked otherwise by the advantages",
        counts="groups",
    ),
    Rule(
        "advantage-baseline",
        "info",
        "the recorded advantages are not the return minus the group's mean: {detail}",
        "the trainer used another baseline than the group's mean, which the schemes here use",
        "",
        0.1,
        "of the rollouts on the other side of the group's mean",
        counts="groups",
    ),
    # --- the run and its import ---
    Rule(
        "missing-steps",
        "warning",
        "steps are missing: {detail}",
        "curves over steps join what lies apart",
        "",
        0.5,
        "of the distances between steps are equal, and others larger",
        counts="run",
    ),
    Rule(
        "missing-metrics",
        "warning",
        "metrics are missing: {detail}",
        "curves have gaps, and means over steps leave them out",
        "",
        0.8,
        "of the steps have the metric, and others not",
        counts="run",
    ),
    Rule(
        "reward-columns",
        "info",
        "the files do not state which columns are rewards: {detail}",
        remedy="otherwise import again with --reward-columns",
        counts="run",
    ),
    Rule(
        "reward-unknown",
        "warning",
        "the files do not state which columns are rewards, and the values match none or several of {detail}",
        "no rollout has a reward",
        "import again with --reward-columns NAME,NAME",
        counts="run",
    ),
    Rule("left-out", "warning", "not imported: {detail}", counts="run"),
    Rule(
        "environment-text",
        "warning",
        "text that the environment seems to have written stands inside the replies and was taken out of them: {detail}",
        remedy="--environment-spans names other text, or none",
        counts="run",
    ),
    Rule("span-rule", "info", "{detail}", counts="run"),
    Rule("success-by-reward", "info", "the files do not state success for {detail}", counts="run"),
    Rule(
        "approximate",
        "info",
        "the text was tokenised again at import",
        "ids and spans may differ from those that were sampled",
        counts="run",
    ),
    Rule(
        "no-tokenizer",
        "info",
        "ids were not checked against the text",
        remedy="to check them, give --tokenizer",
        counts="run",
    ),
)
RULES = {rule.name: rule for rule in _ALL}


def threshold(name: str) -> float:
    """The threshold of a rule that has one."""
    value = RULES[name].threshold
    assert value is not None, name
    return value
