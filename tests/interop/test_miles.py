"""miles' dumps: the columns of the tokens joined with trajectories and the dashboard's table."""

import numpy as np
import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.interop import import_run, recognise
from actfocus_core.interop.formats.miles import AMBIGUOUS, UNKNOWN
from actfocus_core.interop.opening import open_paths
from actfocus_core.runs import Run
from tests.interop.files import stream
from tests.interop.rows_miles import columns, entry, row, table, trajectory


@pytest.fixture
def imported(tmp_path, tokenizer_folder):
    def imported(path, **options):
        run = Run.open(import_run(path, tmp_path / "run", tokenizer=tokenizer_folder, **options).path)
        assert run.info["config"]["format"] == "miles" and not run.info["config"]["approximate"]
        return run.trajectories(), run.info["config"].get("left_out", {})

    return imported


@pytest.mark.parametrize("place", ["", "dashboard_columns", "dashboard_columns/rollout_7.parquet"])
def test_tokens_are_joined_with_what_is_known_of_their_sample(place, tokenizer, imported, tmp_path):
    dump = tmp_path / "dump"
    rows = [row(tokenizer, n) for n in range(4)]
    columns(dump, rows)
    statuses = ["completed", "truncated", "aborted", "failed"]
    trajectory(dump, [entry(n, status, n * 0.5) for n, status in enumerate(statuses)])
    found, left_out = imported(dump / place)
    assert left_out == {} and [t.reward for t in found] == [0, 0.5, 1, 1.5]
    for t, one in zip(found, rows):
        length = one["total_length"] - one["response_length"]
        assert t.token_ids.tolist() == one["tokens"]
        assert t.response_mask.tolist() == [False] * length + [bool(m) for m in one["loss_mask"]]
        assert (t.logprobs[t.response_mask] == -0.5).all() and np.isnan(t.logprobs[~t.response_mask]).all()
    assert [t.group for t in found] == [found[0].group] * 2 + [found[2].group] * 2 and len(
        {t.group for t in found}
    ) == 2
    assert [(t.terminated, t.truncated, t.error, t.stop_reason) for t in found] == [
        (True, False, "", "completed"),
        (False, True, "", "truncated"),
        (False, False, "aborted", "aborted"),
        (False, False, "failed", "failed"),
    ]
    assert [t.success for t in found] == [False, False, None, None] and {t.step for t in found} == {7}


def test_the_table_of_the_dashboard_has_all_samples(tokenizer, imported, tmp_path):
    columns(tmp_path / "dump", [row(tokenizer, n) for n in range(2)], "eval_7")
    table(tmp_path / "dump", [entry(0, remove_sample=False), entry(1, "truncated", None, remove_sample=True)], "eval_7")
    (t, other), left_out = imported(tmp_path / "dump")
    assert left_out == {} and (t.reward, other.reward) == (1.0, 3.0) and t.group == other.group
    more = {"weight_version_min": 5, "mixed_version": True, "staleness": 2, "normalized_reward": 0.5}
    assert t.columns == {**more, "raw_reward": 3.0, "split": "eval"}
    assert bool(t.loss_mask.any()) and not other.loss_mask.any() and other.truncated


def test_without_companions_reward_and_group_are_unknown(tokenizer, imported, tmp_path):
    """A loss mask of null is the whole response; log-probs may be missing."""
    columns(tmp_path, [row(tokenizer, 0, loss_mask=None, rollout_log_probs=None), row(tokenizer, 1)])
    (t, other), left_out = imported(tmp_path)
    assert left_out == {} and np.isnan(t.reward) and t.success is None and (t.stop_reason, t.error) == ("", "")
    assert t.group == other.group  # the prompts are equal
    assert int(t.response_mask.sum()) == len(stream(tokenizer)[1][0]) + sum(len(b) for b, _ in stream(tokenizer)[2:])
    assert np.isnan(t.logprobs).all()


def test_contexts_of_one_sample(tokenizer, imported, tmp_path):
    dump = tmp_path / "dump"
    columns(dump, [row(tokenizer, n) for n in (0, 0, 2)])
    trajectory(dump, [entry(0, reward=0.5, sample_occurrence=1), entry(2, sample_occurrence=0), entry(9)])
    found, left_out = imported(dump)
    assert left_out == {UNKNOWN: 1} and [(t.rollout, t.segment) for t in found][1] == (0, 0)
    assert np.isnan(found[0].reward) and [t.reward for t in found[1:]] == [0.5, 1.0]


def test_contexts_that_an_older_file_does_not_tell_apart(tokenizer, imported, tmp_path):
    dump = tmp_path / "dump"
    columns(dump, [row(tokenizer, n) for n in (0, 0, 2, 2)])
    trajectory(dump, [entry(0, reward=0.5), entry(2, reward=0.0), entry(2, reward=1.0)])
    found, left_out = imported(dump)
    assert left_out == {AMBIGUOUS: 1} and [t.reward for t in found[2:]] == [0, 1]
    assert np.isnan([t.reward for t in found[:2]]).all() and [t.segment for t in found] == [0, 1, 0, 1]


def test_other_files_of_a_dump(tokenizer, imported, tmp_path):
    dump = tmp_path / "dump"
    columns(dump, [row(tokenizer, 0)])
    trajectory(dump, [entry(0)], "8")
    (dump / "rollout_data").mkdir()
    (dump / "rollout_data" / "7.pt").write_bytes(b"PK")
    (dump / "trajectory" / "7.jsonl").symlink_to(trajectory(tmp_path / "elsewhere", [entry(0)]))
    (t,), left_out = imported(dump)
    assert np.isnan(t.reward) and len(left_out) == 3
    assert left_out["files that are merged into rollouts, of which there are none beside them"] == 1


def test_trajectories_without_columns_are_chats(tmp_path):
    assert recognise(trajectory(tmp_path, [entry(0)])).name == "chat"
    with pytest.raises(ActFocusError, match="is written beside miles"):
        recognise(table(tmp_path, [entry(0)]))


def test_a_new_trajectory_is_a_new_import(tokenizer, tmp_path, tokenizer_folder):
    path = columns(tmp_path / "dump", [row(tokenizer, 0)])
    opened = [open_paths([path], tmp_path / "runs", tokenizer=tokenizer_folder)[0].path for _ in range(2)]
    trajectory(tmp_path / "dump", [entry(0)])
    assert len({*opened, open_paths([path], tmp_path / "runs", tokenizer=tokenizer_folder)[0].path}) == 2


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"total_length": 3}, "'total_length' is 3; it must be [0-9]+, the number of tokens"),
        ({"response_length": 9999}, r"'response_length' is 9999; it must be in \[0, [0-9]+\]"),
        ({"loss_mask": [1]}, "'loss_mask' has 1 values"),
        ({"rollout_log_probs": [0.0]}, "'rollout_log_probs' has 1 values"),
        ({"tokens": None}, "'tokens' is missing"),
    ],
)
def test_wrong_columns_are_one_line(changes, told, tokenizer, tmp_path, tokenizer_folder):
    path = columns(tmp_path, [row(tokenizer, 0, **changes)])
    with pytest.raises(ActFocusError, match=f"rollout_7.parquet, row 1: {told}"):
        import_run(path, tmp_path / "run", tokenizer=tokenizer_folder)


def test_a_damaged_companion_is_counted(tokenizer, imported, tmp_path):
    path = columns(tmp_path / "dump", [row(tokenizer, 0)])
    table(tmp_path / "dump", [entry(0)]).write_bytes(b"PAR1")
    (t,), left_out = imported(path)
    assert np.isnan(t.reward) and left_out == {"files that cannot be read": 1}
