"""Turn borders in text as trainers dump it, text that only looks like it, and the time that it takes."""

import pytest

from actfocus_core.interop.borders import Borders
from actfocus_core.interop.samples import SAMPLED, Part
from actfocus_core.trajectory import TokenKind
from tests.conftest import make_tokenizer
from tests.fuzz.cases import in_time
from tests.interop.templates import FAMILIES

BORDERS = {name: Borders(make()) for name, make in FAMILIES.items()}
S, U, T, X = TokenKind.SYSTEM, TokenKind.USER, TokenKind.TEMPLATE, SAMPLED
PLAY = "system\nPlay.\nuser\nRoom A\nassistant\n"
CALL = '<tool_call>\n{"name": "calc", "arguments": {"sum": "12+30"}}\n</tool_call>'
RESULT = "<tool_response>\n42\n</tool_response>"
LEFT, RIGHT = "<think>the left door</think><answer>left</answer>", "<think>only right</think><answer>right</answer>"
COMPLETIONS = {
    "control_verl_chatml": ("chatml", [(LEFT, X), ("\nuser\n", T), ("Room B", U), ("\nassistant\n", T), (RIGHT, X)]),
    "verl_llama3_multiturn": (
        "llama3",
        [(LEFT, X), ("user\n\n", T), ("Room B. Doors: right.", U), ("assistant\n\n", T), (RIGHT, X)],
    ),
    "llama3 after letters": (
        "llama3",
        [("I go left", X), ("user\n\n", T), ("Room B", U), ("assistant\n\n", T), ("The answer is 42", X)]
        + [("user\n\n", T), ("a grid ____", U), ("assistant\n\n", T), ("right", X)],
    ),
    "llama3 after a space": (
        "llama3",
        [("left ", X), ("user\n\n", T), ("Room B.", U), ("assistant\n\n", T), ("ok", X)],
    ),
    "llama3 parallel results": (
        "llama3",
        [(CALL, X), ("ipython\n\n", T), ('"4"', U), ("ipython\n\n", T), ('"2"', U), ("assistant\n\n", T), ("42", X)],
    ),
    "gemma": ("gemma", [(LEFT, X), ("\nuser\n", T), ("Room B", U), ("\nmodel\n", T), (RIGHT, X)]),
    "verl_toolloop_no_newline": (
        "chatml",
        [(CALL, X), ("user\n", T), (RESULT, U), ("\nassistant\n", T), ("<think>\nIt gave 42.\n</think>\nIt is 42.", X)],
    ),
    "a tool loop after words": (
        "chatml",
        [("I call it", X), ("user\n", T), (RESULT, U), ("\nassistant\n", T), ("42", X)],
    ),
    "an interaction without a line break": (
        "chatml",
        [("I go left", X), ("user\n", T), ("Wrong.", U), ("\nassistant\n", T), ("right", X)],
    ),
    "verl_ends_in_tool_result": ("chatml", [(CALL, X), ("\nuser\n", T), (RESULT, U)]),
    "a cut tool result": ("chatml", [(CALL, X), ("\nuser\n", T), ("<tool_response>\n4", U)]),
    "a cut tool result of llama3": ("llama3", [('{"name": "f"}', X), ("ipython\n\n", T), ('"4', U)]),
    "ends in an observation": ("chatml", [(LEFT, X), ("\nuser\n", T), ("Room B", U)]),
    "ends in an observation after words": (
        "chatml",
        [
            (LEFT, X),
            ("\nuser\n", T),
            ("Room B", U),
            ("\nassistant\n", T),
            ("I go left.", X),
            ("\nuser\n", T),
            ("Room C", U),
        ],
    ),
    "ends in an observation after a sentence": ("llama3", [("I go left.", X), ("user\n\n", T), ("Room B", U)]),
    "ends in the result of a call": ("llama3", [("[f(x)]", X), ("ipython\n\n", T), ("4", U)]),
    "ends in a header": ("chatml", [(LEFT, X), ("\nuser\n", T), ("Room B", U), ("\nassistant", T)]),
    "trl_tool_results_in_completion": (
        "chatml",
        [(CALL, X), ("\nuser\n", T), (RESULT, U), ("\nassistant\n", T), ("It is 42.", X)],
    ),
    "a tool result, then the user": (
        "chatml",
        [(CALL, X), ("\nuser\n", T), (RESULT, U), ("\nuser\n", T), ("Go on", U), ("\nassistant\n", T), ("42", X)],
    ),
    "opened thoughts": (
        "chatml_think",
        [
            ("left?\n</think>\n" + CALL, X),
            ("\nuser\n", T),
            (RESULT, U),
            ("\nassistant\n<think>\n", T),
            ("so 42\n</think>\n42", X),
        ],
    ),
    "a list of roles in a thought": (
        "chatml",
        [("<think>They are\nuser\nadmin\nassistant\nok</think>" + CALL, X), ("\nuser\n", T), (RESULT, U)],
    ),
    "a list of roles before a real border": (
        "chatml",
        [("admin\nuser\nguest\n<answer>x</answer>", X), ("\nuser\n", T), ("Room B", U), ("\nassistant\n", T), ("y", X)],
    ),
    "a message about a tag that is missing": (
        "chatml",
        [("<think>left", X), ("\nuser\n", T), ("Close it with </think>.", U), ("\nassistant\n", T), (RIGHT, X)],
    ),
    "a tool result on one line": ("chatml", [("4?", X), ("user\n", T), ("<tool_response>4</tool_response>", U)]),
    "headers inside a tool result": (
        "chatml",
        [(CALL, X), ("\nuser\n", T), ("<tool_response>\nroot\nuser\nx\nassistant\ny\n</tool_response>", U)]
        + [("\nassistant\n", T), ("42", X)],
    ),
    "skyrl_multiturn_response": (
        "chatml",
        [
            (LEFT + "<|im_end|>", X),
            ("\n<|im_start|>user\n", T),
            ("Room B", U),
            ("<|im_end|>\n<|im_start|>assistant\n", T),
        ]
        + [(RIGHT + "<|im_end|>", X)],
    ),
    "special tokens without a line break": (
        "chatml",
        [
            (CALL + "<|im_end|>", X),
            ("<|im_start|>user\n", T),
            (RESULT, U),
            ("<|im_end|>\n<|im_start|>assistant\n", T),
            ("4", X),
        ],
    ),
    "a role the template has not": (
        "chatml",
        [
            ("f()<|im_end|>", X),
            ("\n<|im_start|>observation\n", T),
            ("4", U),
            ("<|im_end|>\n<|im_start|>assistant\n", T),
            ("4", X),
        ],
    ),
    "another end of a turn": (
        "llama3",
        [("f()<|eom_id|>", X), ("<|start_header_id|>ipython<|end_header_id|>\n\n", T), ('"4"', U), ("<|eot_id|>", T)],
    ),
    "padding": ("chatml", [("left<|im_end|>", X), ("\n<|pad|><|pad|>", T)]),
    "padding after a cut reply": ("chatml", [("left", X), ("<|pad|><|pad|>", T)]),
    "special tokens only": (
        "special_only",
        [("f()<|eos|>", X), ("<|Output|>", T), ("4", U), ("<|OutputEnd|><|Assistant|>", T), ("4<|eos|>", X)],
    ),
    "verl_inline_information": ("chatml", [(f"{LEFT}\n<information>Page 1</information>\n{RIGHT}", X)]),
    "react_inline_observation": ("chatml", [("Action: search[mill]\nObservation: two brothers.\nThought: done", X)]),
}


@pytest.mark.parametrize("case", COMPLETIONS)
def test_completions(case):
    family, expected = COMPLETIONS[case]
    text = "".join(text for text, _ in expected)
    assert BORDERS[family].completion(text) == [Part(text, kind) for text, kind in expected]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "text",
    [
        "I will ask the user\nand then the assistant\nanswers.",
        "I will ask the user\n\nand then the assistant\n\nanswers.",
        "The superuser\n\nruns it, its assistant\n\nwaits.",
        "I will ask the user\nnow.\nassistant\nHello",
        "Only a superuser\nmay.\nassistant\nHello",
        "The end-user\n\nand the AI-assistant\n\ntalk.",
        "There are:\nadmin\nuser\nguest",
        "There are:\n- admin\nuser\n- guest\n",
        "A table:\n}\nuser\nguest",
        "Roles:\nuser\nassistant\nsystem\n",
        "Roles:\n\nuser\n\nassistant\n\nsystem",
        "<think>Roles are user\nand\nassistant\nonly</think><answer>user</answer>",
        "<answer>\nuser\nA\nassistant\nB\n</answer>",
        "My assistant\nknows.\nassistant\n",
        "user",
        "assistant\n",
        "User\n\nHello.\n\nAssistant\n\nHi.",
    ],
)
def test_ordinary_text_is_one_reply(family, text):
    assert BORDERS[family].completion(text) == [Part(text, X)]
    assert BORDERS[family].how(text) == ""


PROMPTS = {
    "control_verl_chatml": (
        "chatml",
        [("system\n", T), ("Play.", S), ("\nuser\n", T), ("Room A", U), ("\nassistant\n", T)],
    ),
    "verl_inline_information": ("chatml", [("user\n", T), ("Who built the mill?", U), ("\nassistant\n", T)]),
    "verl_llama3_multiturn": (
        "llama3",
        [
            ("system\n\n", T),
            ("You are a careful player.", S),
            ("user\n\n", T),
            ("Doors: left.", U),
            ("assistant\n\n", T),
        ],
    ),
    "gemma": ("gemma", [("user\n", T), ("Room A", U), ("\nmodel\n", T)]),
    "opened thoughts": ("chatml_think", [("user\n", T), ("Room A", U), ("\nassistant\n<think>\n", T)]),
    "closed thoughts": ("chatml_think", [("user\n", T), ("Room A", U), ("\nassistant\n<think>\n\n</think>\n\n", T)]),
    "examples": (
        "chatml",
        [("user\n", T), ("1+1", U), ("\nassistant\n2\nuser\n", T), ("2+2", U), ("\nassistant\n", T)],
    ),
    "a line with a role": ("chatml", [("user\n", T), ("Ask the\nassistant\nnow", U), ("\nassistant\n", T)]),
    "no generation prompt": ("chatml", [("system\n", T), ("Play.", S), ("\nuser\n", T), ("Room A", U)]),
    "the system's message alone": ("chatml", [("system\n", T), ("Play.", S)]),
    "special tokens": (
        "chatml",
        [("<|pad|><|im_start|>system\n", T), ("Play.", S), ("<|im_end|>\n<|im_start|>user\n", T), ("Room A", U)]
        + [("<|im_end|>\n<|im_start|>assistant\n", T)],
    ),
    "examples with special tokens": (
        "gemma",
        [("<bos><start_of_turn>user\n", T), ("1+1", U)]
        + [("<end_of_turn>\n<start_of_turn>model\n2<end_of_turn>\n<start_of_turn>user\n", T), ("2+2", U)]
        + [("<end_of_turn>\n<start_of_turn>model\n", T)],
    ),
    "a system's message without a header": (
        "special_only",
        [("<|bos|>", T), ("Play.", S), ("<|User|>", T), ("Room A", U), ("<|Assistant|>", T)],
    ),
    "a system's message alone at the beginning": (
        "special_only",
        [("Play.", S), ("<|User|>", T), ("Room A", U), ("<|Assistant|>", T)],
    ),
    "plain": ("chatml", [("Question: who built the old mill?\nuser\nx\nassistant\n", U)]),
    "cut at its beginning": ("chatml", [("lay.<|im_end|>\n<|im_start|>user\nRoom A<|im_end|>\n", U)]),
    "no header remains": ("special_only", [("Play.Room A", U)]),
}


@pytest.mark.parametrize("case", PROMPTS)
def test_prompts(case):
    family, expected = PROMPTS[case]
    text = "".join(text for text, _ in expected)
    assert BORDERS[family].prompt(text) == [Part(text, kind) for text, kind in expected]


def test_the_prompt_shows_how_replies_are_opened():
    closed = "<think>\n\n</think>\n\n"
    completion = f"4{chr(10)}user\nand?\nassistant\n{closed}5"
    for prompt, template, reply in [
        (f"user\nQ\nassistant\n{closed}", f"\nassistant\n{closed}", "5"),
        ("user\nQ\nassistant\n<think>\n", "\nassistant\n<think>\n", "\n</think>\n\n5"),
        ("", "\nassistant\n<think>\n", "\n</think>\n\n5"),
    ]:
        parts = BORDERS["chatml_think"].completion(completion, prompt)
        assert parts[-2:] == [Part(template, T), Part(reply, X)]


def test_a_policy_that_writes_headers_itself():
    """Some policies go on after a message; where the reply does not end, no template wrote the next header."""
    tokenizer = make_tokenizer(special=("<|im_start|>", "<|im_end|>", "<|return|>"), end="<|return|>")
    reply = "think<|im_end|>\n<|im_start|>assistant\nanswer<|return|>"
    assert Borders(tokenizer).completion(reply) == [Part(reply, X)]


@pytest.mark.parametrize(
    ("template", "prompt", "completion"),
    [
        (
            "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{{ eos_token if m.role == 'assistant' }}\n"
            "{% endfor %}"
            "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
            [("<|user|>\n", T), ("1+1", U), ("\n<|assistant|>\n", T)],
            [("2", X), ("\n<|user|>\n", T), ("and?", U), ("\n<|assistant|>\n", T), ("3", X)],
        ),
        (
            "{% for m in messages %}"
            "{{ '[INST] ' + m.content + ' [/INST]' if m.role == 'user' else m.content + eos_token }}{% endfor %}",
            [("[INST] ", T), ("1+1", U), (" [/INST]", T)],
            [("2", X), ("[INST] ", T), ("and?", U), (" [/INST]", T), ("3", X)],
        ),
    ],
)
def test_headers_that_are_plain_text(template, prompt, completion):
    borders = Borders(make_tokenizer(template))
    assert borders.visible_without_special_tokens
    for method, expected in ((borders.prompt, prompt), (borders.completion, completion)):
        assert method("".join(text for text, _ in expected)) == [Part(text, kind) for text, kind in expected]


@pytest.mark.parametrize(
    "template", [None, "{{ raise_exception('no') }}", "{% for m in messages %}{{ m.content }}{% endfor %}"]
)
def test_a_template_without_headers(template):
    borders = Borders(make_tokenizer(template))
    assert not borders.visible_without_special_tokens
    assert borders.prompt(PLAY) == [Part(PLAY, U)]
    assert borders.completion(LEFT + "\nuser\nRoom B\nassistant\n" + RIGHT)[0].kind == X
    assert borders.how(PLAY) == ""


PIECES = ["user\n", "assistant\n", "\nuser\nx\nassistant\n", " ", "<think>", "<|im_start|>", "<|im_end|>", "a"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("piece", [*PIECES, "xuser\n\nxassistant\n\n", "\nuser\n<tool_response>\n"])
def test_long_texts_take_linear_time(family, piece):
    def split(text: str) -> None:
        BORDERS[family].prompt(text)
        BORDERS[family].completion(text)

    in_time(split, {"text": "user\n\n" + piece * ((1 << 17) // len(piece)) + "assistant\n\n"})
