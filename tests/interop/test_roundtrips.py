"""Dialogues written as each trainer writes them come back: samples, turns, groups, rewards, contents and spans.

By default a few examples per format, with any tokenizer; with ``-m ""`` many for each format and tokenizer.
"""

import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actfocus_core.interop import import_run
from actfocus_core.interop.messages import OTHER_REASONING
from actfocus_core.runs import Run
from actfocus_core.spans import RULES
from actfocus_core.trajectory import TokenKind, Trajectory
from tests.interop.dialogues import Rollout, corpora, end_of, observed, sampled_text, segments
from tests.interop.exact_rows import ADVANTAGE, logprobs
from tests.interop.templates import FAMILIES
from tests.interop.writers import WRITERS, Writer


@dataclass(frozen=True)
class Imported:
    """A corpus as it was written, and as it was read."""

    writer: Writer
    family: str
    rollouts: list[Rollout]
    """In the order of the files"""
    read: list[list[Trajectory]]
    """The segments of each"""
    run: Run

    def pairs(self) -> Iterator[tuple[Rollout, list[Trajectory]]]:
        assert len(self.read) == len(self.rollouts)
        return zip(self.rollouts, self.read)

    @property
    def unseen(self) -> bool:
        """Whether the file shows no borders of turns."""
        return self.writer.content == "bare" and self.family == "special_only"


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch):
    """The tokenizers are made, not loaded, and what is learnt of a template is kept."""
    monkeypatch.setattr("actfocus_core.policy.load_tokenizer", lambda name: FAMILIES[name]())
    monkeypatch.setattr("actfocus_core.interop.items.Renderer", cached_renderer)


@cache
def cached_renderer(tokenizer, environment):
    from actfocus_core.interop.rendering import Renderer

    return Renderer(tokenizer, environment)


def imported(name: str, family: str, corpus: list[Rollout]) -> Imported:
    writer = WRITERS[name]
    with tempfile.TemporaryDirectory() as folder:
        rollouts = writer.write(corpus, family, Path(folder, "out"))
        run = Run.open(import_run(Path(folder, "out"), Path(folder, "run"), tokenizer=family).path)
        assert run.info["config"]["format"] == writer.format
        trajectories = list(run.trajectories())
    read: dict[tuple[str, int], list[Trajectory]] = defaultdict(list)
    for trajectory in trajectories:
        read[trajectory.group, trajectory.rollout].append(trajectory)
    return Imported(writer, family, rollouts, [*read.values()], run)


def roundtrip(check: Callable[[Imported], None]):
    """A property of every format, with any tokenizer; many examples of each under the marker ``slow``."""

    def few(name, data):
        family = data.draw(st.sampled_from([*FAMILIES]))
        check(imported(name, family, data.draw(corpora(family))))

    def many(name, family, data):
        check(imported(name, family, data.draw(corpora(family))))

    few = settings(max_examples=4)(given(data=st.data())(few))
    many = settings(max_examples=60)(given(data=st.data())(many))

    @pytest.mark.parametrize("name", WRITERS)
    @pytest.mark.parametrize("family", [None, *(pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES)])
    def test(name, family):
        few(name) if family is None else many(name, family)

    test.__doc__, test.check = check.__doc__, check
    return test


# --- what was sampled ----------------------------------------------------------------------


def expected_replies(it: Imported, rollout: Rollout) -> list[str]:
    """The texts of the replies that count as sampled, without the token that ends them."""
    replies = [turn.reply for turn in rollout.turns if turn.reply.in_loss]
    if it.writer.content == "messages":
        # Nothing tells the replies of examples from those that were sampled.
        examples = [] if "examples" in it.writer.says else [turn.reply for turn in rollout.task.examples]
        return [reply.written for reply in (*examples, *replies)]
    return [sampled_text(it.family, reply) for reply in replies]


def sampled_texts(t: Trajectory) -> list[str]:
    """The texts of the maximal runs of sampled tokens."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], t.response_mask.view(np.int8), [0]])))
    return ["".join(t.texts[a:b]) for a, b in zip(edges[::2], edges[1::2])]


@roundtrip
def test_what_was_sampled(it: Imported):
    """Exactly the replies, with the token that ends them where the text has it, each once."""
    end = "" if it.writer.content == "bare" else end_of(it.family)
    for rollout, read in it.pairs():
        found = [text for t in read for text in sampled_texts(t)]
        if it.unseen:
            assert len(found) == 1 and it.run.info["provenance"]["mask"]["how"] == "guessed"
            continue
        assert found == [reply + end for reply in expected_replies(it, rollout)]
        assert [record.response for t in read for record in t.turn_records] == expected_replies(it, rollout)
        if it.writer.content == "ids":
            check_exact(it, rollout, read)
        else:
            assert all(np.isnan(t.logprobs).all() for t in read) and it.run.info["config"]["approximate"]


def check_exact(it: Imported, rollout: Rollout, read: list[Trajectory]) -> None:
    written = segments(it.family, rollout)
    assert len(read) == len(written)
    for t, blocks in zip(read, written):
        assert t.token_ids.tolist() == [token for block in blocks for token in block.ids]
        mask = np.repeat([block.sampled for block in blocks], [len(block.ids) for block in blocks])
        np.testing.assert_array_equal(t.response_mask, mask)
        expected = np.where(mask, np.float32(logprobs(t.token_ids.tolist())), np.float32(np.nan))
        np.testing.assert_array_equal(t.logprobs, expected)
        np.testing.assert_array_equal(t.signals["advantage"], np.where(mask, np.float32(ADVANTAGE), np.float32(np.nan)))


# --- borders -------------------------------------------------------------------------------


def expected_observations(it: Imported, rollout: Rollout) -> list[str]:
    """The environment's text before each reply that counts as sampled."""
    template = it.writer.content != "messages"
    task, system = rollout.task, template and it.family == "gemma"
    first = f"{task.system}\n\n" if system and task.system else ""
    contexts = [[turn.said[0][1] for turn in task.examples]]
    if "examples" not in it.writer.says:
        contexts = [[turn.said[0][1]] for turn in task.examples] + [[]]
    elif rollout.stripped:
        return _of_segments(it, rollout, first + "".join(contexts[0]))
    contexts[0].insert(0, first)
    for turn in rollout.turns:
        contexts[-1].append(observed(it.family, turn.said, template))
        if turn.reply.in_loss:
            contexts.append([])
    return ["".join(texts) for texts in contexts[:-1]]


def _of_segments(it: Imported, rollout: Rollout, before: str) -> list[str]:
    """As ``expected_observations``, where a segment begins with all that was said before it."""
    said = [observed(it.family, turn.said, True) for turn in rollout.turns]
    observations, number = [], 0
    for blocks in segments(it.family, rollout):
        for at in range(len(blocks) // 2):
            observations.append(said[number] if at else before + "".join(said[: number + 1]))
            number += 1
    return observations


def system_text(it: Imported, rollout: Rollout) -> str:
    if it.writer.content != "messages" and it.family == "gemma":
        return ""
    dated = it.writer.content != "messages" and it.family == "llama3"
    return ("Today Date: 26 Jul 2024\n\n" if dated else "") + rollout.task.system


@roundtrip
def test_borders(it: Imported):
    """The texts of the environment between the replies, and the system's message."""
    for rollout, read in it.pairs():
        if it.unseen:
            assert len(read[0].turn_records) == 1
            continue
        records = [record for t in read for record in t.turn_records]
        found = [record.observation for record in records]
        assert same_lines(it, found, expected_observations(it, rollout))
        for t in read:
            system = "".join(text for text, kind in zip(t.texts, t.kinds) if kind == TokenKind.SYSTEM)
            assert same_lines(it, [system], [system_text(it, rollout)])
            assert len(t.turn_records) == len(sampled_texts(t))


def same_lines(it: Imported, found: list[str], expected: list[str]) -> bool:
    """Whether the texts are equal. Without special tokens, a token can end a text with the template's line break."""
    if it.writer.content != "bare":
        return found == expected
    return [text.replace("\n", "") for text in found] == [text.replace("\n", "") for text in expected]


# --- groups --------------------------------------------------------------------------------


@roundtrip
def test_groups(it: Imported):
    """Rollouts are one group if they have the same step, environment and task; all segments count as one rollout."""
    says = it.writer.says
    expected, found = defaultdict(list), defaultdict(list)
    for number, (rollout, read) in enumerate(it.pairs()):
        expected[rollout.step if "step" in says else 0, rollout.task.env, rollout.task.number].append(number)
        found[read[0].group].append(number)
        assert [t.segment for t in read] == [*range(len(read))]
        assert len({t.rollout_id for t in read}) == 1 and (len(read) == 1 or read[0].rollout_id)
        assert {t.step for t in read} == {rollout.step if "step" in says else 0}
        assert {t.env for t in read} == {rollout.task.env if "env" in says else ""}
    assert sorted(expected.values()) == sorted(found.values())


# --- rewards -------------------------------------------------------------------------------


@roundtrip
def test_rewards(it: Imported):
    """Rewards, their components, outcomes and errors; what was not scored or stated is unknown."""
    says = it.writer.says
    for rollout, read in it.pairs():
        reward = rollout.reward
        success = rollout.success
        if success is None and not rollout.error and reward is not None:
            success = reward >= 1
        for t in read:
            assert np.isnan(t.reward) if reward is None else t.reward == pytest.approx(reward)
            assert (t.success, t.error) == (success, rollout.error)
            components = {name.removesuffix("_reward"): c.score for name, c in t.rewards.items() if c.known}
            known = {name: score for name, score in (rollout.scores or {}).items() if score is not None}
            assert components == (known if "components" in says else {})


# --- contents ------------------------------------------------------------------------------


@roundtrip
def test_contents(it: Imported):
    """Every thought is there once, every call with its arguments, and nothing was left out."""
    assert not it.run.info["config"].get("left_out")
    for rollout, read in it.pairs():
        text = "".join(text for t in read for text in sampled_texts(t))
        for turn in rollout.turns:
            if turn.reply.in_loss and turn.reply.thought:
                assert text.count(turn.reply.thought.split()[-1]) == 1
        found = [json.loads(call) for call in re.findall(r"<tool_call>\n(.*?)\n</tool_call>", text, re.S)]
        calls = [call for turn in rollout.turns if turn.reply.in_loss for call in turn.reply.calls]
        assert found == [call.object for call in calls]


UNREAD = {
    "image_url parts": {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]},
    "input_audio parts": {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": ""}}]},
    "encrypted or unreadable reasoning": {"role": "assistant", "content": "x", "reasoning_details": [{"data": "q"}]},
    OTHER_REASONING: {"role": "assistant", "content": "<think>a</think>x", "reasoning": "b"},
    "tool calls whose arguments have an unknown name": {
        "role": "assistant",
        "tool_calls": [{"function": {"name": "f", "payload": {}}}],
    },
    "items of the type 'web_search'": {"type": "web_search", "query": "q"},
}


@settings(max_examples=25)
@given(kinds=st.lists(st.sampled_from([*UNREAD]), min_size=1, max_size=5))
def test_what_has_no_place_in_a_text_is_counted(kinds):
    messages = [{"role": "user", "content": "q"}]
    for kind in kinds:
        messages += [UNREAD[kind], {"role": "user" if "role" in UNREAD[kind] else "tool", "content": "go on"}]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.jsonl")
        path.write_text(json.dumps({"messages": [*messages, {"role": "assistant", "content": "done"}]}))
        run = import_run(path, Path(folder, "run"), tokenizer="chatml")
    assert run.info["config"]["left_out"] == dict(Counter(kinds))


@pytest.mark.parametrize("content", [{"result": 42}, {"text": ""}, {}, {"é": [None, {"a": "b"}]}])
def test_a_tool_can_return_an_object(content, tmp_path):
    path = tmp_path / "a.jsonl"
    call = {"role": "assistant", "content": "I call it"}
    path.write_text(
        json.dumps({"messages": [{"role": "user", "content": "q"}, call, {"role": "tool", "content": content}]})
    )
    run = import_run(path, tmp_path / "run", tokenizer="chatml")
    (t,) = Run.open(run.path).trajectories()
    shown = "".join(text for text, kind in zip(t.texts, t.kinds) if kind == TokenKind.USER)
    assert shown.removeprefix("q").strip() == json.dumps(content, ensure_ascii=False)


# --- spans ---------------------------------------------------------------------------------

ACTIONS = [
    *"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    "-1",
    "+2",
    "-4",
    "+x",
    "±3",
    "\N{MINUS SIGN}5",
    "-0.5",
    "12",
    "Left",
    "go to A",
]
REPLIES = {
    "think_answer": ["<think>a plan</think><answer>{}</answer>", "<think>\nso\n</think>\n<answer> {} </answer>"],
    "tool_call": ["<think>a plan</think><tool_call>{}</tool_call>", "I call\n<tool_call>\n{}\n</tool_call>"],
    "boxed": ["<think>a plan</think>\\boxed{{{}}}", "It is $\\boxed{{{}}}$."],
    "react": ["Thought: a plan\nAction: {}", "Action:{}\nThought: next"],
    "pattern:go\\((?P<action>[^)]*)\\)": ["I go({})", "go({}) now"],
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rule", REPLIES)
def test_every_action_has_a_token(rule, family, tmp_path):
    """Single letters, digits, signs and words, whatever token they share with the tags around them."""
    assert {*RULES} < {*REPLIES}
    rows = [(action, reply.format(action)) for action in ACTIONS for reply in REPLIES[rule]]
    path = tmp_path / "a.jsonl"
    lines = [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": reply}]} for _, reply in rows
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    run = import_run(path, tmp_path / "run", tokenizer=family, spans=rule)
    for (action, reply), t in zip(rows, Run.open(run.path).trajectories(), strict=True):
        tokens = "".join(text for text, kind in zip(t.texts, t.kinds) if kind == TokenKind.ACTION)
        assert action in tokens, (reply, tokens)
        assert t.turn_records[0].actions == [action]
