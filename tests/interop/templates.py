"""Five small tokenizers, each with the chat template of another family, for tests of what reads dialogues."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

_TEXTS = [
    "<think> I am in room A, the door is on the left. </think>\n<answer>A</answer>",
    "<answer>-4</answer> <answer>B</answer> <answer>-1</answer> <answer>A</answer>",
    '<tool_call>\n{"name": "calc", "arguments": {"sum": "12+30"}}\n</tool_call>',
    "<tool_response>\n42\n</tool_response>",
    "the user asks, the assistant replies, the model thinks; system user assistant model ipython",
]
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""A sign before a word belongs to the word, so that tokens such as ``>A`` and ``>-`` are learnt"""

_TOOLS_AS_USER = """{%- for m in messages -%}
{%- if m.role == 'tool' -%}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}{{ '<|im_start|>user' }}{%- endif -%}
{{ '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}{{ '<|im_end|>\\n' }}{%- endif -%}
{%- else -%}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}"""
CHATML = _TOOLS_AS_USER + "{%- endif -%}"
CHATML_THINK = (
    _TOOLS_AS_USER
    + """{{ '<think>\\n' if enable_thinking is not defined or enable_thinking else '<think>\\n\\n</think>\\n\\n' }}
{%- endif -%}"""
)
LLAMA3 = """{{ bos_token }}
{%- set head, tail = '<|start_header_id|>', '<|end_header_id|>\\n\\n' -%}
{%- set system = head + 'system' + tail + 'Today Date: 26 Jul 2024\\n\\n' -%}
{%- if messages[0].role != 'system' -%}{{ system + '<|eot_id|>' }}{%- endif -%}
{%- for m in messages -%}
{%- if m.role == 'system' -%}{{ system + m.content | trim }}
{%- elif m.role == 'tool' -%}{{ head + 'ipython' + tail + m.content | tojson }}
{%- else -%}{{ head + m.role + tail + m.content | trim }}{%- endif -%}
{{ '<|eot_id|>' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ head + 'assistant' + tail }}{%- endif -%}"""
GEMMA = """{{ bos_token }}
{%- set first = messages[0].content + '\\n\\n' if messages[0].role == 'system' else '' -%}
{%- for m in (messages[1:] if first else messages) -%}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif -%}
{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else 'user') + '\\n' }}
{{- (first if loop.first else '') + m.content | trim + '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}"""
SPECIAL_ONLY = """{{ bos_token }}
{%- for m in messages -%}
{%- if m.role == 'system' -%}{{ m.content }}
{%- elif m.role == 'assistant' -%}{{ '<|Assistant|>' + m.content + eos_token }}
{%- elif m.role == 'tool' -%}{{ '<|Output|>' + m.content + '<|OutputEnd|>' }}
{%- else -%}{{ '<|User|>' + m.content }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|Assistant|>' }}{%- endif -%}"""


@cache
def _make(
    template: str, special: tuple[str, ...], end: str, start: str | None = None, tags: tuple[str, ...] = ()
) -> Any:
    """A byte-level BPE tokenizer; ``tags``: tags of replies that are tokens, but no special ones."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|pad|>", *special],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_TEXTS * 3, trainer)
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in tags])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, bos_token=start, pad_token="<|pad|>")
    fast.chat_template = template
    return fast


_IM = ("<|im_start|>", "<|im_end|>")
_EOT = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>")
_TURN = ("<bos>", "<start_of_turn>", "<end_of_turn>")
_MARKS = ("<|bos|>", "<|eos|>", "<|User|>", "<|Assistant|>", "<|Output|>", "<|OutputEnd|>")
FAMILIES: dict[str, Callable[[], Any]] = {
    "chatml": partial(_make, CHATML, _IM, "<|im_end|>"),
    "chatml_think": partial(_make, CHATML_THINK, _IM, "<|im_end|>", tags=("<think>", "</think>", "<tool_response>")),
    "llama3": partial(_make, LLAMA3, _EOT, "<|eot_id|>", "<|begin_of_text|>"),
    "gemma": partial(_make, GEMMA, _TURN, "<end_of_turn>", "<bos>"),
    "special_only": partial(_make, SPECIAL_ONLY, _MARKS, "<|eos|>", "<|bos|>"),
}
"""Name -> the tokenizer, made once. ``special_only``: nothing remains of its headers without special tokens, as of
DeepSeek's and Mistral's."""
