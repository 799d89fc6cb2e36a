"""What an imported file does not say is not made up: which rows are one group, which one rollout, and what the reward is."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from actfocus_core.analysis.validate import diagnose
from actfocus_core.cli import app as command
from actfocus_core.errors import ActFocusError
from actfocus_core.interop import import_run
from actfocus_core.interop.exporting import export_run
from actfocus_core.interop.formats.trl import NO_NUMBERS, explains
from actfocus_core.runs import Run
from tests.interop.files import FIRST, REPLIES, advantages, messages, records, same, write

# --- verl ------------------------------------------------------------------------------------


def verl_rows(uids: list, **more) -> list[dict]:
    return [
        {
            "input": f"user\n{FIRST}\nassistant\n",
            "output": REPLIES[0] + " " * n,
            "score": float(n % 2),
            "step": 7,
            "uid": uid,
            **more,
        }
        for n, uid in enumerate(uids)
    ]


@pytest.mark.parametrize("uid", ["9f1c-4e", "a_b_c", "math_12", "5f0c6b1e-3a7e-4c57-9a8e-1c2d3e4f5a6b", "0"])
def test_verl_groups_by_the_prompt_in_a_key_of_three_parts(uid, read):
    ts = read(
        "verl", verl_rows([f"{uid}_{session}_0" for session in (0, 1, 2, 10)] + [f"{uid}-other_0_0"])
    ).trajectories()
    assert len({t.group for t in ts[:4]}) == 1 and ts[4].group != ts[0].group
    assert len({t.rollout_key for t in ts}) == 5 and advantages(ts) == [-1, 1, -1, 1, 0]
    assert ts[3].columns == {"uid": f"{uid}_10_0"}


@pytest.mark.parametrize("uids", [["p-1", "p-1", "p_2", "p_2"], ["3_4", "3_4", "5_6", "5_6"], [11, 11, 12, 12]])
def test_verl_before_that_groups_by_the_uid_itself(uids, read):
    ts = read("verl", verl_rows(uids)).trajectories()
    assert [t.group == ts[0].group for t in ts] == [True, True, False, False] and not any(t.columns for t in ts)
    assert [t.rollout for t in ts] == [0, 1, 0, 1] and not any(t.rollout_id for t in ts)


def test_verl_without_a_uid_groups_by_the_prompt(read):
    rows = [{**row, "request_id": f"r_{n}_0"} for n, row in enumerate(verl_rows([None] * 3))]
    assert len({t.group for t in read("verl", rows).trajectories()}) == 1


def test_verl_contexts_of_a_session_are_one_rollout(read):
    """Three contexts of a rollout that earned 1 beside one of a rollout that earned 0: the mean is 0.5."""
    rows = verl_rows(["u_0_0", "u_1_0", "u_0_1", "u_0_2"])
    for row, score in zip(rows, (1.0, 0.0, 1.0, 1.0)):
        row["score"] = score
    ts = read("verl", rows).trajectories()
    assert [t.rollout for t in ts] == [0, 1, 0, 0] and len({t.id for t in ts}) == 4 and ts[0].id == ts[0].rollout_id
    assert advantages(ts) == [1, -1, 1, 1]


# --- TRL -------------------------------------------------------------------------------------

GRADES = np.array([[1, 0.5], [0, 0.25], [1, 0], [0, 0.75], [0, 0], [1, 1], [0, 0.5], [1, 0.5]])
"""Two groups of four rollouts, graded by two reward functions."""


def trl_rows(columns: dict, weights=(1.0, 1.0), scale: bool = True, conversational: bool = True) -> list[dict]:
    """What TRL writes for GRADES under these reward weights; ``columns`` in their order, a list of values each."""
    returns = (GRADES * weights).sum(1).reshape(2, 4)
    centred = returns - returns.mean(1, keepdims=True)
    centred /= returns.std(1, ddof=1, keepdims=True) + 1e-4 if scale else 1.0
    prompts = (
        [messages()[:2], [messages()[0], {"role": "user", "content": "Elsewhere"}]]
        if conversational
        else [FIRST, "Elsewhere"]
    )
    reply = messages()[2:] if conversational else REPLIES[0]
    return [
        {
            "step": 5,
            "prompt": prompts[n // 4],
            "completion": reply,
            **{name: values[n] for name, values in columns.items()},
            "advantage": float(np.float32(centred.ravel()[n])),
        }
        for n in range(8)
    ]


FIRST_GRADE, SECOND_GRADE = GRADES.T.tolist()
LENGTHS = [210, 190, 333, 80, 95, 400, 120, 7]


@pytest.mark.parametrize("conversational", [True, False])
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize(
    ("names", "by"),
    [
        (("accuracy_reward", "Format_Reward", "tokens"), "name"),
        (("right", "form", "tokens"), "advantage"),
        # One name misleads: the advantages need both columns.
        (("accuracy_reward", "form", "tokens"), "advantage"),
        (("right", "form", "reward_model_ms"), "advantage"),
    ],
)
def test_trl_rewards_are_told_from_extra_columns(names, by, scale, conversational, read):
    columns = dict(zip(names, (FIRST_GRADE, SECOND_GRADE, LENGTHS)))
    columns |= {"reward_model_version": ["v3"] * 8, "checked": [True, False] * 4, "note": [None] * 8}
    run = read("trl", trl_rows(columns, scale=scale, conversational=conversational))
    config, ts = run.info["config"], run.trajectories()
    assert (config["reward_columns"], config["reward_columns_by"]) == (list(names[:2]), by)
    assert [t.reward for t in ts] == GRADES.sum(1).tolist() and ts[0].ret == ts[0].turn_records[-1].reward
    assert ts[1].columns == {names[2]: 190, "reward_model_version": "v3", "checked": False}
    finding = {f.check: f for f in diagnose(run).findings}["reward-columns"]
    assert finding.severity == "info" and all(name in finding.message for name in names)


def test_trl_a_single_number_is_the_reward(read):
    run = read("trl", trl_rows({"solved": FIRST_GRADE, "comment": ["x", None] * 4}, weights=(1.0, 0.0)))
    assert run.info["config"]["reward_columns_by"] == "only" and [t.reward for t in run.trajectories()] == FIRST_GRADE
    assert not {"reward-columns", "reward-unknown"} & {f.check for f in diagnose(run).findings}


def test_trl_functions_that_do_not_grade_every_rollout(read):
    """None is left out of a sum, and where no function graded there is no reward; a column with gaps is numeric all the same."""
    rows = trl_rows(
        {
            "right": FIRST_GRADE,
            "form": [None, *SECOND_GRADE[1:]],
            "seconds": [None] * 4 + [1.5, 2, 0.5, 9],
            "seen": LENGTHS,
        }
    )
    returns = np.array([1, 0.25, 1, 0.75])
    for row, advantage in zip(rows, (returns - returns.mean()) / (returns.std(ddof=1) + 1e-4)):
        row["advantage"] = advantage
    rows.append({**rows[0], "right": None, "form": None, "advantage": 0.0})
    run = read("trl", rows)
    assert run.info["config"]["reward_columns"] == ["right", "form"]
    ts = run.trajectories()
    assert [t.reward for t in ts[:4]] == returns.tolist() and np.isnan(ts[8].reward)
    assert "seconds" not in ts[0].columns and ts[4].columns["seconds"] == 1.5


@pytest.mark.parametrize(
    ("columns", "weights"),
    [
        # The weights are not in the file, and no plain sum gives these advantages.
        ({"accuracy_reward": FIRST_GRADE, "format_reward": SECOND_GRADE}, (1.0, 0.3)),
        # Constant in every group: the advantages are the same with and without it.
        ({"right": FIRST_GRADE, "form": SECOND_GRADE, "difficulty": [0.25] * 4 + [0.75] * 4}, (1.0, 1.0)),
        ({"right": [1.0] * 8, "form": [0.5] * 8, "difficulty": [2] * 8}, (0.0, 0.0)),
    ],
)
def test_trl_rewards_that_cannot_be_told_are_unknown_and_asked_for(columns, weights, read, tmp_path, tokenizer_folder):
    run = read("trl", trl_rows(columns, weights))
    assert run.info["config"]["reward_columns_by"] == "unknown"
    ts = run.trajectories()
    assert all(np.isnan(t.reward) for t in ts) and set(ts[0].columns) == set(columns)
    finding = {f.check: f for f in diagnose(run).findings}["reward-unknown"]
    assert (
        finding.severity == "warning"
        and "--reward-columns" in finding.message
        and ", ".join(columns) in finding.message
    )
    names = list(columns)[:2]
    told = CliRunner().invoke(
        command,
        [
            "import",
            "trl",
            str(tmp_path),
            "--tokenizer",
            tokenizer_folder,
            "--progress",
            "none",
            "--out",
            str(tmp_path / "again"),
            "--reward-columns",
            ", ".join(names),
        ],
    )
    assert told.exit_code == 0 and f"reward columns: {', '.join(names)} (given)" in told.stdout
    ts = Run.open(tmp_path / "again").trajectories()
    assert [t.reward for t in ts] == np.sum([columns[name] for name in names], 0).tolist()


def test_trl_several_files_decide_together(tokenizer_folder, tmp_path):
    """An extra that is constant in one file varies in the next; one that comes later is no reward."""
    columns = {"right": FIRST_GRADE, "form": SECOND_GRADE, "level": [1] * 8}
    later = [{**row, "step": 6, "level": 3 + n, "slow": 0.5} for n, row in enumerate(trl_rows(columns))]
    pq.write_table(pa.Table.from_pylist(later), tmp_path / "completions_00006.parquet")
    write("trl", tmp_path, trl_rows(columns))
    run = import_run(tmp_path, tmp_path / "all", tokenizer=tokenizer_folder, format="trl")
    assert run.info["config"]["reward_columns"] == ["right", "form"]
    assert [t.reward for t in run.trajectories()] == GRADES.sum(1).tolist() * 2


@pytest.mark.parametrize(
    ("format", "given", "says"),
    [
        ("trl", ["right", "forms"], r"no numeric column 'forms'; choose reward columns from right, form$"),
        ("trl", [], "no numeric column ''"),
        ("trl", ["note"], "no numeric column 'note'"),
        ("chat", ["right"], "chat JSONL defines the reward; --reward-columns is for TRL completions"),
    ],
)
def test_reward_columns_that_are_not_there(format, given, says, tokenizer, tokenizer_folder, tmp_path):
    rows = (
        trl_rows({"right": FIRST_GRADE, "form": SECOND_GRADE, "note": ["a"] * 8})
        if format == "trl"
        else records("chat", tokenizer)
    )
    with pytest.raises(ActFocusError, match=says):
        import_run(write(format, tmp_path, rows), tmp_path / "run", tokenizer=tokenizer_folder, reward_columns=given)
    assert not (tmp_path / "run").exists()


def test_what_advantages_say_of_returns():
    returns = np.array([0, 1, 2, 5.0])
    centred = returns - returns.mean()
    assert explains(returns, centred) and explains(returns, 0.1 * centred) and explains(returns[:2], centred[:2])
    assert explains(returns, -centred) is False and explains(returns**2, centred) is False
    assert explains(np.ones(3), np.zeros(3)) and explains(np.ones(3), np.array([1, 0, -1.0])) is False
    assert explains(returns, np.zeros(4)) is False and explains(returns[:1], centred[:1]) is None
    unscored = np.array([np.nan, 0, 1])
    assert explains(unscored, np.array([0, -1, 1.0])) and explains(unscored, np.array([1, -1, 1.0])) is False


# --- success ---------------------------------------------------------------------------------


def test_a_file_that_does_not_say_gives_unknown_and_a_known_reward_is_judged_by_the_rule(read):
    dialogue = [{"role": "user", "content": "2 + 2"}, {"role": "assistant", "content": "4"}]
    rows = [{"messages": dialogue, "reward": reward} for reward in (1.0, 0.25, None)]
    ts = read("chat", rows).trajectories()
    assert [t.success for t in ts] == [True, False, None] and np.isnan(ts[2].reward)


# --- keeping it ------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_columns_and_rollouts_survive_storing_and_our_own_formats(format, tokenizer, read, tmp_path):
    run = read("verl", [*verl_rows(["u_0_0", "u_0_1", "u_1_0"]), *verl_rows(["legacy"])])
    file, _ = export_run(run, tmp_path / f"out.{format}", format)
    back = import_run(file, tmp_path / "back")
    for a, b in zip(run.trajectories(), back.trajectories(), strict=True):
        same(a, b)
    assert [t.columns.get("uid") for t in back.trajectories()] == ["u_0_0", "u_0_1", "u_1_0", None]
    assert [bool(t.rollout_id) for t in back.trajectories()] == [True] * 3 + [False]


def test_a_run_without_them_has_no_such_columns(tokenizer, read, tmp_path):
    run = read("chat", records("chat", tokenizer))
    assert not {"columns", "rollout_id"} & set(pq.read_schema(run.parts(0)[0].facts(run.path)).names)
    export_run(run, tmp_path / "out.jsonl", "jsonl")
    assert not {"columns", "rollout_id"} & set(json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0]))


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("columns", pa.array(["{", "{}", None, ""]), "column 'columns' is not JSON"),
        ("columns", pa.array(["[1]", "{}", None, ""]), "columns must be an object of text"),
        ("columns", pa.array(['{"a": [1]}', "{}", None, ""]), "columns must be an object of text.*'a' is not"),
        ("columns", pa.array(['{"a": NaN}', "{}", None, ""]), "finite numbers; 'a' is not"),
        ("columns", pa.array(['{"a": "\\ud800"}', "{}", None, ""]), "an unpaired surrogate"),
        ("columns", pa.array(["[" * 100000, "{}", None, ""]), "column 'columns' is not JSON"),
        ("columns", pa.array([1, 2, 3, 4]), "column 'columns' is int64; it must be string"),
        ("rollout_id", pa.array([1, 2, 3, 4]), "column 'rollout_id' is int64; it must be string"),
    ],
)
def test_a_strangers_columns_are_one_line(name, values, says, tokenizer, read):
    run = read("chat", records("chat", tokenizer))
    file = run.parts(0)[0].facts(run.path)
    pq.write_table(pq.read_table(file).append_column(name, values), file)
    with pytest.raises(ActFocusError, match=says) as error:
        run.trajectories()
    assert "\n" not in str(error.value)


def test_a_column_that_is_named_like_a_reward_and_is_text_is_told(tokenizer, read):
    rows = [{**row, "style_reward": "high", "kept_reward": True} for row in records("trl", tokenizer)]
    run = read("trl", rows)
    assert run.info["config"]["reward_columns"] == ["accuracy_reward", "format_reward"]
    assert run.info["config"]["left_out"] == {NO_NUMBERS: 2 * len(rows)}
