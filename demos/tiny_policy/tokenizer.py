"""A byte-level BPE tokenizer: it encodes any text, and every frequent word as one token."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
CELLS = [f" ({r},{c})" for r in range(8) for c in range(8)]
"""Cells that are one token each: a policy of this size does not learn to combine two digits into a position."""
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train_tokenizer(texts: list[str], size: int) -> PreTrainedTokenizerFast:
    """Train on the corpus; ``size``: vocabulary without the tags and cells."""
    whole = [*TAGS, *CELLS]
    for token in whole:
        # Added tokens are split off before BPE is applied, so BPE is trained without them.
        texts = [text.replace(token, "\n") for text in texts]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=SPECIAL,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in whole])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|pad|>", clean_up_tokenization_spaces=False
    )
    fast.chat_template = TEMPLATE
    return fast
