"""Traces of trainers and of evaluations: trackio, tinker-cookbook, rLLM, OpenPipe ART."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actfocus_core.analysis.validate import diagnose
from actfocus_core.errors import ActFocusError
from actfocus_core.interop import recognise
from actfocus_core.interop.formats.rllm import OTHER_REWARDS
from actfocus_core.interop.formats.tinker import WITHOUT_PROMPT, WITHOUT_SAMPLE, WITHOUT_SUMMARY
from actfocus_core.runs import Run
from actfocus_core.trajectory import TokenKind
from tests.interop.files import FIRST, REPLIES, SECOND, messages
from tests.interop.rows_logs import (
    CALL,
    FORMATS,
    art,
    flat,
    records,
    rllm,
    tinker,
    tinker_summary,
    tinker_trajectory,
    tinker_turn,
    trackio,
    turns,
)


def left_out(run: Run) -> dict:
    return run.info["config"].get("left_out", {})


def check_exact(t, tokenizer, logprob: float = -0.5) -> None:
    """The trajectory has the ids, the mask and the log-probs of the small dialogue."""
    ids, sampled = flat(tokenizer)
    assert t.token_ids.tolist() == ids and t.response_mask.tolist() == sampled
    assert (t.logprobs[t.response_mask] == logprob).all() and np.isnan(t.logprobs[~t.response_mask]).all()


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_recognised(name, tokenizer, imported):
    run, found = imported(records(name, tokenizer), "rows.jsonl")
    assert run.info["config"]["format"] == name and len(found) >= 2
    assert diagnose(run, tokenizer=tokenizer).healthy


# --- trackio -----------------------------------------------------------------------------------


def test_trackio_wrote_traces(written_by):
    run, found = written_by("trackio/rollouts_traces.parquet")
    assert run.info["config"]["format"] == "trackio" and run.metadata.spans == "tool_call"
    assert [(t.step, t.reward, t.success) for t in found] == [(1, 1, True), (1, 0, False), (2, 1, True), (2, 0, False)]
    assert len({t.group for t in found}) == 2 and found[0].columns["model_version"] == 3
    score, weight = found[0].rewards["accuracy"]
    assert score == 1 and np.isnan(weight)
    t = found[1]
    assert (t.signals["advantage"][t.response_mask] == -0.5).all() and [len(t.turn_records) for t in found] == [2] * 4
    assert '{"name": "multiply", "arguments": {"a": 17, "b": 3}}' in t.text(TokenKind.ACTION)
    assert not left_out(run)


def test_trackio_traces_of_two_runs_are_not_one_group(imported):
    _, found = imported([trackio(0), {**trackio(1), "run": "other"}], "traces.jsonl")
    assert found[0].group != found[1].group


def test_a_trackio_trace_without_a_reward_is_not_scored(imported):
    logged = {"_type": "trackio.trace", "messages": messages(), "metadata": {"note": "x", "correct": True}}
    run, (t,) = imported({**logged, "spans": [{"kind": "tool"}]})
    assert left_out(run) == {"spans of traces": 1}
    assert run.info["config"]["format"] == "trackio" and np.isnan(t.reward) and t.success is True
    assert t.columns == {"note": "x", "correct": True} and not t.rewards and "advantage" not in t.signals


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"messages": "[{"}, "'messages' is not JSON"),
        ({"metadata": "[" * 200 + "]" * 200}, "'metadata' is nested too deep"),
        ({"metadata": "[]"}, "'metadata' is a list; it must be an object"),
        ({"metadata": {"reward": []}}, "'reward' is a list; it must be a number"),
    ],
)
def test_a_trackio_trace_with_a_wrong_field_is_one_line(change, told, imported):
    with pytest.raises(ActFocusError, match="traces.jsonl, line 1: ") as error:
        imported([{**trackio(0), **change}], "traces.jsonl")
    assert told in str(error.value) and "\n" not in str(error.value)


def test_an_sqlite_file_is_refused_with_the_way_to_export_it(file):
    with pytest.raises(ActFocusError, match="SQLite database.*export_for_static_space") as error:
        recognise(file(b"SQLite format 3\x00" + b"\x00" * 100, "project.db"))
    assert "\n" not in str(error.value)


# --- tinker-cookbook ---------------------------------------------------------------------------


def test_tinker_captured_calls(written_by):
    run, (t, other) = written_by("tinker_cookbook/capture/sample.jsonl")
    assert run.info["config"]["format"] == "tinker" and not run.info["config"]["approximate"]
    assert t.token_ids.tolist() == [11, 12, 13, 14, 21, 22, 23, 15, 16, 21, 22, 23]
    assert np.flatnonzero(t.response_mask).tolist() == [4, 5, 6, 9, 10, 11]
    assert t.logprobs[t.response_mask].tolist() == [-0.25, -0.5, -0.125] * 2
    # The reward of the group is the last turn's.
    assert [turn.reward for turn in t.turn_records] == [0.25, 1.5] and (t.reward, other.reward) == (1.75, 0)
    assert t.group == other.group and t.step == 3 and t.columns["correct"] == 1
    assert run.info["provenance"]["rewards"]["how"] == "recorded"


def test_tinker_summaries_beside_captured_calls_are_no_files_of_another_format(written_by):
    run, found = written_by("tinker_cookbook")
    assert [t.reward for t in found] == [1, 0, 1.75, 0]
    # The store's database.
    assert left_out(run) == {"files of another format": 1}
    assert "capture.db" in run.info["config"]["left_out_examples"]["files of another format"]


@pytest.mark.parametrize("name", ["iteration_000003", "iteration_000003/train_rollout_summaries.jsonl"])
def test_tinker_summaries_alone_have_no_text(name, written_by):
    with pytest.raises(ActFocusError, match="contains no rollouts; import the folder above it") as error:
        written_by(f"tinker_cookbook/{name}")
    assert "\n" not in str(error.value)


def test_tinker_summaries_that_cannot_be_read_are_counted(imported, tokenizer, tmp_path):
    row = tinker_summary(tokenizer)
    row["steps"][0]["reward"] = "high"
    (tmp_path / "train_rollout_summaries.jsonl").write_text(json.dumps(row) + "\n[]\n")
    run, (t,) = imported([tinker_turn(tokenizer, 0), tinker_turn(tokenizer, 1)], "capture/sample.jsonl")
    assert np.isnan(t.reward) and left_out(run) == {
        "summaries of rollouts that cannot be read": 1,
        "lines that are not JSON objects": 1,
    }


def test_tinker_benchmarks(written_by):
    run, found = written_by("tinker_cookbook/runs")
    assert [(t.reward, t.success, t.env) for t in found] == [(1, True, "arithmetic"), (0, False, "arithmetic")]
    assert found[0].turn_records[0].response == "It is 51." and not left_out(run)


def test_a_tinker_trajectory_that_was_cut_or_failed(imported):
    cut = {**tinker_trajectory(0), "metrics": {"max_tokens_reached": 1.0}, "example_id": "e1"}
    failed = {**tinker_trajectory(1), "error": "timeout", "metrics": {}}
    graded = tinker_trajectory(0)
    graded["turns"] = [*graded["turns"], {"role": "grader", "content": "Right.", "token_count": 0, "metadata": {}}]
    run, (a, b, c) = imported([cut, failed, graded], "trajectories.jsonl")
    assert (a.truncated, a.terminated, a.stop_reason) == (True, False, "max_tokens_reached")
    assert (b.error, b.success, b.reward) == ("timeout", None, 0) and c.group == b.group != a.group
    assert left_out(run) == {"turns of graders": 1} and "Right." not in "".join(c.texts)


def test_tinker_turns_in_any_order_are_one_rollout(imported, tokenizer):
    rows = [tinker_turn(tokenizer, 1), tinker_turn(tokenizer, 0, 1), tinker_turn(tokenizer, 0)]
    run, found = imported(rows, "capture/sample.jsonl")
    first = next(t for t in found if len(t.turn_records) == 2)
    check_exact(first, tokenizer)
    assert len(found) == 2 and len({t.group for t in found}) == 1 and np.isnan(first.reward) and first.success is None
    assert first.model == "m" and not left_out(run)


def test_tinker_rewards_are_those_of_turns_of_the_same_lengths(imported, tokenizer, tmp_path):
    summaries = [tinker_summary(tokenizer), tinker_summary(tokenizer, 1), tinker_summary(tokenizer, 0, split="test")]
    summaries[1]["steps"][0]["ac_len"] += 1
    folder = tmp_path / "iteration_000002"
    folder.mkdir()
    (folder / "train_rollout_summaries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in summaries))
    rows = [tinker_turn(tokenizer, turn, trajectory) for trajectory in (0, 1) for turn in (0, 1)]
    run, (t, other) = imported(rows, "capture/sample.jsonl")
    assert (t.reward, [turn.reward for turn in t.turn_records]) == (1.75, [0.25, 1.5]) and np.isnan(other.reward)
    assert left_out(run) == {WITHOUT_SUMMARY: 1}
    assert "return-turns" not in {finding.check for finding in diagnose(run).findings}


def test_a_tinker_history_that_changed_is_a_segment(imported, tokenizer):
    changed = tinker_turn(tokenizer, 1)
    changed["prompt_tokens"] = changed["prompt_tokens"][:10] + changed["prompt_tokens"][12:]
    run, found = imported([tinker_turn(tokenizer, 0), changed], "sample.jsonl")
    assert [(t.segment, t.rollout_id) for t in found] == [(0, found[0].id), (1, found[0].id)]
    assert found[1].parent == (0, 10) and sum(t.loss_mask.sum() for t in found) == sum(
        len(r) for _, r in turns(tokenizer)
    )


def test_tinker_samples_of_one_call_are_a_group(imported, tokenizer):
    image = {**tinker(tokenizer, 0), "prompt_tokens": None, "prompt_length": 5}
    failed = {**tinker(tokenizer, 0), "samples": None, "status": "error", "error": "x"}
    run, found = imported([tinker(tokenizer, 0), tinker(tokenizer, 1), image, failed], "sample.jsonl")
    assert len(found) == 4 and [t.group for t in found[:2]] == [found[0].group] * 2 and found[2].group != found[0].group
    assert left_out(run) == {WITHOUT_PROMPT: 2, WITHOUT_SAMPLE: 1}


def test_rows_of_the_capture_store(imported, tokenizer):
    prompt, reply = turns(tokenizer)[0]
    row = {"run_id": "r", "iteration": 1, "group_idx": 0, "traj_idx": 0, "policy_version": "m", "prompt_tokens": prompt}
    row |= {"sampled_tokens": reply, "logprobs": [-0.5] * len(reply), "created_at": 1.0, "purpose": "rollout"}
    row["metadata"] = json.dumps({"stop_reason": "length", "scope": {"worker": 3}})
    _, (t,) = imported([row], "rows.jsonl")
    assert t.token_ids.tolist() == prompt + reply and (t.truncated, t.stop_reason, t.model) == (True, "length", "m")
    assert t.columns == {"worker": 3} and t.agent == "rollout"


def test_a_tinker_call_with_a_wrong_field_is_left_out_and_the_others_are_read(imported, tokenizer):
    short = tinker_turn(tokenizer, 0, 1)
    short["samples"][0]["logprobs"].pop()
    run, found = imported([tinker_turn(tokenizer, 0), short, tinker_turn(tokenizer, 1)], "sample.jsonl")
    assert len(found) == 1 and left_out(run) == {"records that cannot be read": 1}
    told = run.info["config"]["left_out_examples"]["records that cannot be read"]
    assert "line 2" in told and "'logprobs' has 19 values; it must have 20, one per token" in told


# --- rLLM --------------------------------------------------------------------------------------


def test_rllm_episodes_with_ids(imported, tokenizer):
    run, (t, other) = imported([rllm(tokenizer, 0), rllm(tokenizer, 1)], "episodes.jsonl")
    check_exact(t, tokenizer)
    assert (t.signals["advantage"][t.response_mask] == 0.125).all() and (t.agent, t.stop_reason) == (
        "solver",
        "env_done",
    )
    assert (t.success, other.success, t.reward) == (True, False, 0.5) and t.group == other.group
    assert [turn.reward for turn in t.turn_records] == [0.25, 0.25] and t.columns == {"tools": 2}


def test_rllm_training_episodes_are_one_document_each(imported, tokenizer, tmp_path):
    run, (t,) = imported(rllm(tokenizer, 0, exact=False), "train_step_6_epoch_0/episode_hash1_idt0_0.json")
    assert run.info["config"]["approximate"] and t.step == 6 and [turn.response for turn in t.turn_records] == REPLIES
    assert t.turn_records[1].observation.strip() == SECOND and t.token_ids.tolist() == flat(tokenizer)[0]


def test_rllm_without_an_outcome_a_limit_and_other_rewards(imported, tokenizer):
    cut = rllm(tokenizer, 0) | {"termination_reason": "max_turns_exceeded"}
    cut["trajectories"][0]["reward"] = 1.0
    failed = rllm(tokenizer, 1) | {"termination_reason": "error", "is_correct": False}
    empty = rllm(tokenizer, 1)
    empty["trajectories"][0]["steps"] = []
    run, (a, b) = imported([cut, failed, empty], "episodes.jsonl")
    assert (a.truncated, a.terminated) == (True, False) and [turn.reward for turn in a.turn_records] == [0, 1]
    assert (b.success, b.error) == (None, "error")
    assert left_out(run) == {OTHER_REWARDS: 1, "trajectories without a step": 1}
    with pytest.raises(ActFocusError, match="'is_correct' is neither true nor false"):
        imported([rllm(tokenizer, 0) | {"is_correct": "perhaps"}], "episodes.jsonl")


def test_an_rllm_history_without_its_reasoning_is_a_second_context(imported, tokenizer):
    episode = rllm(tokenizer, 0, exact=False)
    later = episode["trajectories"][0]["steps"][1]["chat_completions"]
    later[2] = {"role": "assistant", "content": "<answer>Right</answer>"}
    _, found = imported(episode)
    assert [t.segment for t in found] == [0, 1] and [len(t.turn_records) for t in found] == [1, 1]
    assert [t.turn_records[0].reward for t in found] == [0.25, 0.25] and {t.reward for t in found} == {0.5}


def test_contexts_of_two_agents_in_turn_are_two_contexts(imported, tokenizer):
    prompts = [turns(tokenizer, n)[turn] for turn in (0, 1) for n in (0, 1)]
    prompts[1] = ([*prompts[1][0][:-3], *prompts[1][0][:3]], prompts[1][1])
    prompts[3] = ([*prompts[1][0], *prompts[1][1], 5], prompts[3][1])
    episode = rllm(tokenizer, 0)
    steps = [
        {"prompt_ids": prompt, "response_ids": reply, "reward": 0.25 * n} for n, (prompt, reply) in enumerate(prompts)
    ]
    episode["trajectories"][0] |= {"steps": steps, "reward": 1.5}
    _, found = imported([episode], "episodes.jsonl")
    assert [[turn.reward for turn in t.turn_records] for t in found] == [[0, 0.5], [0.25, 0.75]]
    assert [t.segment for t in found] == [0, 1] and sum(t.loss_mask.sum() for t in found) == sum(
        len(r) for _, r in prompts
    )


# --- OpenPipe ART ------------------------------------------------------------------------------


def test_art_wrote_parquet(written_by):
    run, found = written_by("art")
    assert run.info["config"]["format"] == "art" and run.metadata.spans == "tool_call"
    assert [(t.reward, t.success, t.step) for t in found] == [(1, True, 3), (0, False, 3), (0.5, False, 3)]
    assert found[0].group == found[1].group != found[2].group and found[0].columns["task"] == "17*3"
    assert [len(t.turn_records) for t in found] == [2, 2, 1] and not left_out(run)
    assert run.info["provenance"]["mask"]["how"] == "recorded"


def test_art_lines_are_groups_of_choices_and_context(imported):
    group = art(0)
    history = {"messages_and_choices": group["trajectories"][1]["messages_and_choices"], "tools": None}
    group["trajectories"][0]["additional_histories"] = [history]
    example = {"role": "assistant", "content": "<answer>Left</answer>"}
    group["trajectories"][1]["messages_and_choices"].insert(1, example)
    group["exceptions"] = [{"type": "E", "message": "m", "traceback": ""}]
    run, found = imported([group, {**art(1), "exceptions": []}], "0004.jsonl")
    assert (
        [t.segment for t in found[:2]] == [0, 1]
        and len({t.group for t in found}) == 2
        and {t.step for t in found} == {4}
    )
    assert "<answer>Left</answer>" not in found[2].text(TokenKind.ACTION) and len(found[2].turn_records) == 2
    assert left_out(run) == {"rollouts that ended in an exception, of which nothing was logged": 1}


def test_an_art_choice_that_was_cut_and_a_reward_that_is_missing(imported):
    group = art(0)
    group["trajectories"][0]["messages_and_choices"][-1]["finish_reason"] = "length"
    del group["trajectories"][1]["reward"]
    _, (cut, unscored) = imported([group], "a.jsonl")
    assert (cut.truncated, cut.stop_reason) == (True, "length") and np.isnan(unscored.reward)


# --- other formats -----------------------------------------------------------------------------


def test_similar_files_are_still_chat(imported, tmp_path):
    row = {"messages": messages(), "metadata": {"reward": 1}, "reward": 0.5, "key": "k", "run": "r"}
    assert imported([row], "a.jsonl")[0].info["config"]["format"] == "chat"
    rows = [
        {"messages": [{"role": "user", "content": FIRST}, {"role": "assistant", "tool_calls": [CALL]}], "group": "g"}
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "chat.parquet")
    assert recognise(tmp_path / "chat.parquet").name == "chat"
