"""What is wrong with a run and its import, and what only looks like it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.doctor.dialogues import REPLY, group, rollout


def _steps(*steps):
    return {"trajectories": [rollout(f"s{step}", step=step, group=f"g{step}") for step in steps]}


def _metrics(*rows, steps=(1, 2, 3, 4, 5, 6)):
    names = ("loss", "success", "entropy")
    return {**_steps(*steps), "metrics": [{"step": step, **{names[n]: 0.5 for n in kept}} for step, kept in rows]}


def _import(**config):
    return {"trajectories": [rollout()], "config": {"command": "import", **config}}


ALL = (0, 1, 2)
GUESSED = {"how": "derived", "rule": "every message of the assistant counts as sampled"}
CASES = {
    "missing-steps": (
        lambda: _steps(1, 2, 3, 6, 7),
        [lambda: _steps(1, 2, 3), lambda: _steps(5, 10, 15, 20), lambda: _steps(1, 2, 5, 10, 20)],
    ),
    "missing-metrics": (
        lambda: _metrics((1, ALL), (2, ALL), (3, (0, 1)), (4, ALL), (5, ALL), (6, ALL)),
        [
            lambda: _metrics(*((step, ALL) for step in range(1, 7))),
            # An evaluation every third step.
            lambda: _metrics(*((step, ALL if step % 3 == 0 else (0, 1)) for step in range(1, 7))),
            lambda: _steps(1, 2, 3),
        ],
    ),
    "approximate": (
        lambda: _import(approximate=True),
        [lambda: _import(approximate=False), lambda: _import(), lambda: {"trajectories": [rollout()]}],
    ),
    "mask-unstated": (
        lambda: {**_import(), "provenance": {"mask": GUESSED}},
        [
            lambda: {**_import(), "provenance": {"mask": {"how": "recorded"}}},
            lambda: {**_import(), "provenance": {"groups": GUESSED}},
            lambda: _import(),
        ],
    ),
    "left-out": (
        lambda: _import(left_out={"empty files": 2}, left_out_examples={"empty files": "a.jsonl"}),
        [lambda: _import(left_out={}), lambda: _import(), lambda: {"trajectories": [rollout(columns={"left_out": 2})]}],
    ),
    "environment-text": (
        lambda: _import(environment_text={"<information>": 3}),
        [lambda: _import(environment_text={}), lambda: _import(environment_spans="none"), lambda: _import()],
    ),
    "span-rule": (
        lambda: _import(spans="boxed", spans_by="content", action_tokens_by_rule={"boxed": 4}, replies_examined=2),
        [lambda: _import(spans="boxed"), lambda: _import(action_tokens_by_rule={"boxed": 4}), lambda: _import()],
    ),
    "success-by-reward": (
        lambda: _import(success_at=1.0, success_by={"reward": 5}),
        [lambda: _import(success_at=1.0, success_by={"file": 5}), lambda: _import(success_at=1.0), lambda: _import()],
    ),
    "reward-columns": (
        lambda: _import(reward_columns=["a"], numeric_columns=["a", "b"], reward_columns_by="name"),
        [
            lambda: _import(reward_columns=["a"], numeric_columns=["a", "b"], reward_columns_by="given"),
            lambda: _import(reward_columns=["a"], numeric_columns=["a"], reward_columns_by="only"),
            lambda: _import(),
        ],
    ),
    "reward-unknown": (
        lambda: _import(numeric_columns=["a", "b"], reward_columns_by="unknown"),
        [
            lambda: _import(numeric_columns=["a"], reward_columns=["a"], reward_columns_by="only"),
            lambda: _import(numeric_columns=[], reward_columns_by="unknown"),
            lambda: _import(),
        ],
    ),
    "no-tokenizer": (
        lambda: {"trajectories": [rollout()]},
        [],
    ),
}


@pytest.mark.parametrize("rule", CASES)
def test_it_is_found(rule, doctor):
    finding = doctor(**CASES[rule][0]())[rule]
    assert (finding.count, finding.of, len(finding.examples)) == (1, 1, 1)


@pytest.mark.parametrize(
    ("rule", "number"), [(rule, n) for rule, (_, others) in CASES.items() for n in range(len(others))]
)
def test_what_looks_like_it_is_not(rule, number, doctor):
    assert rule not in doctor(**CASES[rule][1][number]())


def test_missing_steps_and_metrics_are_named(doctor):
    rows = _metrics((1, ALL), (2, ALL), (4, ALL), (5, (0, 1)), (6, ALL), (9, ALL), steps=(1, 2, 3, 4, 5, 6, 9))
    found = doctor(**rows)
    assert "between 6 and 9; the usual distance is 1" in found["missing-steps"].message
    assert "none for step 3; entropy in 1 of 6 steps, first in step 5" in found["missing-metrics"].message


def test_two_rows_of_a_step_are_read_together(doctor):
    """A trainer logs its evaluation in a row of its own."""
    rows = [{"step": step, name: 0.5} for step in range(1, 7) for name in ("loss", "eval")]
    assert "missing-metrics" not in doctor(**_steps(1, 2, 3), metrics=rows)


# --- ids and texts -------------------------------------------------------------------------------


def _longer(t):
    texts = list(t.texts)
    texts[0] += "!"
    return texts


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("token-ids", {"token_ids": lambda t: np.where(np.arange(len(t)) == 3, 900_000, t.token_ids)}),
        ("token-ids", {"token_ids": lambda t: np.where(np.arange(len(t)) == 3, -1, t.token_ids)}),
        ("ids-text", {"texts": _longer}),
        ("", {}),
        ("", {"logprobs": lambda t: np.full(len(t), np.nan)}),
        ("", {"turns": lambda t: t.turns}),
    ],
)
def test_ids_are_checked_against_the_text(rule, change, tiny, rollouts, doctor):
    import dataclasses

    t = dataclasses.replace(rollouts[0], **{name: new(rollouts[0]) for name, new in change.items()}, alternatives=None)
    found = {"token-ids", "ids-text", "no-tokenizer"} & set(doctor([t], tokenizer=tiny.tokenizer))
    assert found == ({rule} if rule else set())


def test_a_policy_of_ones_own_and_another(tiny, rollouts, doctor):
    import dataclasses

    shifted = np.where(rollouts[0].response_mask, np.roll(np.nan_to_num(rollouts[0].logprobs), 1), np.nan)
    other = dataclasses.replace(rollouts[0], logprobs=shifted)
    found = doctor([other, *rollouts[1:3]], reference=tiny, tokenizer=tiny.tokenizer)
    assert (found["logprob-reference"].count, found["logprob-reference"].examples) == (1, [other.id])


@pytest.fixture(scope="module")
def two_tokenizers():
    """Two tokenizers with ids for the words of several languages, learnt from them in another order."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = "the door is open and left room \u043a\u043e\u043c\u043d\u0430\u0442\u0430 \u0434\u0432\u0435\u0440\u044c "
    words += "\u05d7\u05d3\u05e8 \u05d3\u05dc\u05ea \u90e8\u5c4b \u95e8\u5f00 \u03b8\u03cd\u03c1\u03b1 key lamp"
    found = []
    for order in (1, -1):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        # Words that are joined are one token, as they are in large vocabularies.
        joined = " ".join(a + b for a in words.split()[::order] for b in words.split()[::-order])
        texts = [" ".join(words.split()[::order])] * 5 + [joined] * 2
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())[::order]
        trainer = trainers.BpeTrainer(
            vocab_size=900,
            show_progress=False,
            special_tokens=["<|im_start|>", "<|im_end|>"],
            initial_alphabet=alphabet,
        )
        tokenizer.train_from_iterator(texts, trainer)
        found.append(PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>"))
    return found


PLAIN = "the door is open and the lamp is left, open the door and take the key to the room; the lamp is open. " * 3


@pytest.mark.parametrize(
    ("writer", "text", "is_found"),
    [
        (0, PLAIN, True),
        (1, PLAIN, False),
        # Many languages, with the right tokenizer.
        (
            1,
            "room \u043a\u043e\u043c\u043d\u0430\u0442\u0430 \u05d7\u05d3\u05e8 \u90e8\u5c4b \u03b8\u03cd\u03c1\u03b1 door "
            * 9,
            False,
        ),
        (1, "<|im_start|>user\n" + PLAIN + "<|im_end|>", False),
        # Too short to tell.
        (0, "the door", False),
    ],
)
def test_ids_of_another_tokenizer(writer, text, is_found, two_tokenizers, doctor):
    from actfocus_core.dialogue import TokenTexts
    from actfocus_core.trajectory import TokenKind, Trajectory

    reader = two_tokenizers[1]
    ids = two_tokenizers[writer](text, add_special_tokens=False)["input_ids"]
    reply = reader("left", add_special_tokens=False)["input_ids"]
    texts = TokenTexts(reader, reader.eos_token_id)([*ids, *reply])
    kinds = [TokenKind.USER] * len(ids) + [TokenKind.ACTION] * len(reply)
    t = Trajectory("r0", [*ids, *reply], kinds, [0] * len(kinds), [np.nan] * len(ids) + [-0.5] * len(reply), texts)
    found = doctor([t], tokenizer=reader)
    assert ("other-tokenizer" in found) == is_found


def test_a_trajectory_that_cannot_be_read_is_counted(tmp_path):
    from actfocus_core.analysis.validate import diagnose
    from actfocus_core.runs import Run

    run = Run.create(tmp_path / "r", {})
    run.add_trajectories(0, group([0.0, 1.0]) + [rollout("c", replies=(REPLY,))])
    file = run.path / "trajectories/step-00000.parquet"
    table = pq.read_table(file)
    kinds = table["kinds"].to_pylist()
    kinds[1] = kinds[1][:-1]
    column = pa.array(kinds, pa.list_(pa.uint8()))
    pq.write_table(table.set_column(table.column_names.index("kinds"), table.schema.field("kinds"), column), file)
    found = {finding.check: finding for finding in diagnose(run).findings}
    assert found["unreadable"].count == 1 and "kinds has" in found["unreadable"].message
