"""verl's dumps of rollouts and validations: whose rewards they have, and what the reward function said."""

import json

import numpy as np
import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.interop import import_run, recognise
from actfocus_core.interop.formats.verl import BY_SUM, TIMEOUT, UNREAD_SCORES
from actfocus_core.runs import Run

ROW = {
    "input": "user\nWhich door?\nassistant\n",
    "output": "<answer>Left</answer>",
    "gts": "Left",
    "score": 1.0,
    "step": 3,
}


@pytest.fixture
def imported(tmp_path, tokenizer_folder):
    def imported(rows: list[dict], name: str = "rollouts/3.jsonl", **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps({**ROW, **row}) + "\n" for row in rows))
        run = Run.open(import_run(path, tmp_path / "run", tokenizer=tokenizer_folder, **options).path)
        assert run.info["config"]["format"] == "verl"
        return run, run.trajectories()

    return imported


def test_a_dump_of_the_current_trainer(imported):
    """Two contexts of one rollout have its reward."""
    rows = [{"uid": f"ab_c_{session}_{index}", "score": session} for session, index in ((0, 0), (0, 1), (1, 0))]
    _, found = imported(rows)
    assert [(t.reward, t.rollout, t.segment) for t in found] == [(0, 0, 0), (0, 0, 1), (1, 1, 0)]
    assert len({t.group for t in found}) == 1 and {t.step for t in found} == {3}
    assert found[0].columns == {"gts": "Left", "uid": "ab_c_0_0"}


def test_a_dump_of_the_trainer_before_it(imported):
    row = {"acc": True, "pred": "Left", "request_id": "r0", "length": 4, "tool_rewards": [0.5], "gts": ["Left", "L"]}
    run, (t,) = imported([row])
    assert t.success is True and t.columns == {"pred": "Left", "request_id": "r0", "length": 4, "gts": '["Left", "L"]'}
    assert run.info["config"]["left_out"] == {UNREAD_SCORES: 1}


@pytest.mark.parametrize(
    ("row", "total", "by"),
    [
        # compute_score returned an object: its score, without the penalty.
        ({"score": 1.0, "acc": True, "overlong_reward": -0.25}, 0.75, BY_SUM),
        ({"score": -1.0, "acc": False, "overlong_reward": -1.0}, -2.0, BY_SUM),
        # It returned a number.
        ({"score": 0.75, "acc": 1.0, "overlong_reward": -0.25}, 0.75, None),
        ({"score": 1.0, "acc": 1.0, "overlong_reward": 0}, 1.0, None),
    ],
)
def test_the_reward_of_dapo_has_a_penalty_for_length(row, total, by, imported):
    run, (t,) = imported([row | {"overlong": row["overlong_reward"] < 0}])
    assert t.reward == pytest.approx(total) and t.success is (row["acc"] in (True, 1.0))
    parts = {name: part.score for name, part in t.rewards.items()}
    assert parts == pytest.approx({"score": total - row["overlong_reward"], "overlong_reward": row["overlong_reward"]})
    assert run.metadata.provenance.rewards.how == ("derived" if by else "recorded")
    assert t.columns == {"gts": "Left", "overlong": row["overlong_reward"] < 0}


def test_a_reward_function_that_failed_says_nothing_about_the_answer(imported):
    rows = [
        {"score": 0.0, "acc": 0.0, "timeout": True},
        {"score": 0.0, "acc": 0.0, "error": "no such file"},
        {"acc": 0.0},
    ]
    _, found = imported(rows)
    assert [t.success for t in found] == [None, None, False] and [t.error for t in found] == [
        TIMEOUT,
        "no such file",
        "",
    ]


@pytest.mark.parametrize("folder", ["val", "validation_data", "gsm8k-val", "eval_120"])
def test_a_validation(folder, imported):
    """Its rows have what the reward function returned, null where it returned nothing."""
    rows = [{"reward": 1.0, "acc": 0.5, "score": 0.5, "uid": "u_0_0", "extra": None}]
    _, (t,) = imported(rows, f"{folder}/3.jsonl")
    assert (t.reward, t.success) == (0.5, False)
    assert t.columns == {"reward": 1.0, "acc": 0.5, "uid": "u_0_0", "gts": "Left", "split": "eval"}


@pytest.mark.parametrize("folder", ["rollouts", "interval", "medieval_3", "values"])
def test_other_folders_say_nothing(folder, imported):
    assert "split" not in imported([{}], f"{folder}/3.jsonl")[1][0].columns


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"score": "high"}, "'score' is \"high\"; it must be a number"),
        ({"overlong_reward": []}, "'overlong_reward' is a list; it must be a number"),
        ({"input": None}, "'input' is missing"),
        ({"step": -1}, "'step' is -1"),
    ],
)
def test_wrong_values_are_one_line(row, told, imported):
    with pytest.raises(ActFocusError, match=f"3.jsonl, line 1: {told}"):
        imported([row])


def test_an_unscored_rollout_is_unknown(imported):
    _, (t,) = imported([{"score": None}])
    assert np.isnan(t.reward) and t.success is None


def test_a_record_with_more_than_text_is_still_recognised(tmp_path):
    path = tmp_path / "1.jsonl"
    path.write_text(json.dumps({**ROW, "messages": []}) + "\n")
    assert recognise(path).name == "verl"


def test_a_file_that_cannot_be_of_the_format_is_not_opened(tmp_path, tokenizer_folder):
    (tmp_path / "1.jsonl").write_text(json.dumps(ROW) + "\n")
    (tmp_path / "table.parquet").write_bytes(b"PAR1 damaged")
    run = import_run(tmp_path, tmp_path / "run", tokenizer=tokenizer_folder, strict=True)
    assert run.info["config"]["left_out"] == {"files of another format": 1}
