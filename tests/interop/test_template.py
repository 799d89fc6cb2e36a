"""What is learnt of a chat template: the texts around messages, and the header of each role."""

import pytest

from actfocus_core.template import Header, Template
from tests.conftest import make_tokenizer
from tests.interop.templates import FAMILIES

TEMPLATES = {name: Template(make()) for name, make in FAMILIES.items()}
HEAD, TAIL = "<|start_header_id|>", "<|end_header_id|>\n\n"
IM = [
    Header("user", "<|im_start|>user\n", "user\n", "\n", "<tool_response>\n"),
    Header("assistant", "<|im_start|>assistant\n", "assistant\n", "\n"),
    Header("system", "<|im_start|>system\n", "system\n", ""),
]
HEADERS = {
    "chatml": IM,
    "chatml_think": IM,
    "llama3": [
        Header("user", f"{HEAD}user{TAIL}", "user\n\n", ""),
        Header("assistant", f"{HEAD}assistant{TAIL}", "assistant\n\n", ""),
        Header("system", f"{HEAD}system{TAIL}", "system\n\n", ""),
        Header("tool", f"{HEAD}ipython{TAIL}", "ipython\n\n", "", '"'),
    ],
    "gemma": [
        Header("user", "<start_of_turn>user\n", "user\n", "\n"),
        Header("assistant", "<start_of_turn>model\n", "model\n", "\n"),
    ],
    "special_only": [
        Header("user", "<|User|>", "", ""),
        Header("assistant", "<|Assistant|>", "", ""),
        Header("tool", "<|Output|>", "", ""),
    ],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_headers(family):
    assert list(TEMPLATES[family].headers) == HEADERS[family]
    assert TEMPLATES[family].bare_system == (family == "special_only")


def test_ends_and_openings():
    ends = ["<|im_end|>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|eos|>"]
    assert [template.end for template in TEMPLATES.values()] == ends
    assert TEMPLATES["chatml"].openings == ("",)
    assert TEMPLATES["chatml_think"].openings == ("<think>\n", "<think>\n\n</think>\n\n")
    assert TEMPLATES["chatml_think"].generation() == "<|im_start|>assistant\n<think>\n"


def test_texts_around_messages():
    chatml, gemma = TEMPLATES["chatml"], TEMPLATES["gemma"]
    assert chatml.between(("user", "assistant", "tool")) == [
        "<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>\n<|im_start|>user\n<tool_response>\n",
        "\n</tool_response><|im_end|>\n",
    ]
    assert chatml.split_end("<|im_end|>\n<|im_start|>user\n") == ("<|im_end|>", "\n<|im_start|>user\n")
    assert chatml.split_end("\n") == ("", "\n")
    # Without the roles, tool results are messages of the user, and the system's begins the first of them.
    assert gemma.between(("system", "user", "assistant", "tool")) == [
        "<bos><start_of_turn>user\n",
        "\n\n",
        "<end_of_turn>\n<start_of_turn>model\n",
        "<end_of_turn>\n<start_of_turn>user\n",
        "<end_of_turn>\n",
    ]
    assert "must alternate" in gemma.between(("user", "user"))


@pytest.mark.parametrize("template", [None, "{{ raise_exception('no') }}", "{{ messages[-1].content }}"])
def test_a_template_without_headers(template):
    learnt = Template(make_tokenizer(template))
    assert learnt.headers == () and learnt.end == "" and learnt.opening == "" and not learnt.bare_system
    assert isinstance(learnt.between(("user", "assistant")), str)


def test_tool_results_that_need_a_call():
    """Some templates write a tool result only after a call; the header begins after the end of the call's message."""
    template = (
        "{% for m in messages %}{% if m.role == 'tool' and not messages[loop.index0 - 1].tool_calls %}"
        "{{ raise_exception('no call') }}{% endif %}<|im_start|>{{ 'result' if m.role == 'tool' else m.role }}\n"
        "{{ m.content }}{% for call in m.tool_calls or [] %}{{ call.function.name }}(){% endfor %}<|im_end|>\n"
        "{% endfor %}"
    )
    assert Template(make_tokenizer(template)).headers[-1] == Header("tool", "<|im_start|>result\n", "result\n", "\n")
