"""Branches of verifiers' traces: segments of one rollout, whose shared replies are sampled once."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from actfocus_core.advantages import grpo_advantages
from actfocus_core.analysis.diagnostics import action_bottleneck
from actfocus_core.analysis.validate import diagnose
from actfocus_core.cli import app as command
from actfocus_core.credit import Batch
from actfocus_core.errors import ActFocusError
from actfocus_core.interop import import_run
from actfocus_core.runs import Run
from actfocus_core.train.groups import filter_groups
from actfocus_core.trajectory import TokenKind
from actfocus_studio.data.batch_cache import constants
from actfocus_studio.data.cache import LruCache
from actfocus_studio.pages.groups.diagnosis import diagnosis
from tests.app.routes import values
from tests.interop.files import advantages, records, write


def branched(tokenizer, parents: list[int], exact: bool) -> dict:
    """An episode whose trace has the dialogue's five nodes and then, for each parent, a question and a reply of its own."""
    row = records("verifiers", tokenizer)[0]
    nodes = row["traces"][0]["nodes"]
    for number, parent in enumerate(parents):
        word = f"<think>again</think><answer>Left {number}</answer>"
        ids = tokenizer(word + "<|im_end|>", add_special_tokens=False)["input_ids"]
        nodes.append({**nodes[3], "parent": parent})
        nodes.append(
            {
                **nodes[4],
                "parent": len(nodes) - 1,
                "message": {"role": "assistant", "content": word},
                "token_ids": ids,
                "mask": [True] * len(ids),
                **{name: [-0.5] * len(ids) for name in ("logprobs", "advantages", "reference_logprobs")},
            }
        )
    if not exact:
        for node in nodes:
            node |= {"token_ids": [], "mask": [], "logprobs": []}
            node.pop("advantages", None), node.pop("reference_logprobs", None)
    return row


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("parents", "replies"),
    [
        # A fork at the first reply, at the last, three branches, and a branch of a branch.
        ([2], [2, 1]),
        ([4], [3]),
        ([2, 2], [2, 1, 1]),
        ([2, 6, 6], [2, 2, 1]),
    ],
)
def test_a_reply_that_branches_share_is_sampled_once(parents, replies, exact, tokenizer, read):
    run = read("verifiers", [branched(tokenizer, parents, exact)])
    ts = run.trajectories()
    assert (
        [len(t.turn_records) for t in ts] == replies
        and {t.rollout for t in ts} == {0}
        and {t.reward for t in ts} == {1.0}
    )
    assert len({t.id for t in ts}) == len(ts) and {t.rollout_id for t in ts} == ({ts[0].id} if len(ts) > 1 else {""})
    sampled = ["".join(text for text, on in zip(t.texts, t.response_mask) if on) for t in ts]
    for word in ("go right", "now é🙂", *(f"Left {n}" for n in range(len(parents)))):
        assert sum(text.count(word) for text in sampled) == 1
    for t in ts:
        assert "go right" in "".join(t.texts)
        assert not exact or (np.isfinite(t.logprobs) == t.response_mask).all()
        assert not exact or (np.isfinite(t.signals["advantage"]) == t.response_mask).all()
    for t in ts[1:]:
        begin = "".join(t.texts).index("go right")
        at = next(i for i in range(len(t)) if len("".join(t.texts[: i + 1])) > begin)
        assert t.kinds[at] == TokenKind.TEMPLATE
    assert diagnose(run, tokenizer=tokenizer).healthy


def test_a_rollout_counts_once_in_its_group_whatever_its_branches(tokenizer, tokenizer_folder, read, tmp_path):
    rows = records("verifiers", tokenizer)  # two groups, with the rewards 1 and 0 each
    rows[0] = branched(tokenizer, [2, 2], exact=True)
    rows[2]["traces"][0]["rewards"]["goal"]["score"] = 0.9
    run = read("verifiers", rows)
    ts = run.trajectories()
    assert [t.rollout for t in ts] == [0, 0, 0, 1, 0, 1] and advantages(ts[:4]) == [1, 1, 1, -1]
    assert [constants(ts).advantages[t.id] for t in ts[:4]] == pytest.approx([1, 1, 1, -1], abs=1e-5)
    group = action_bottleneck(Batch.of(ts))["groups"][0]
    assert (group["rollouts"], group["mean_return"], group["sigma"], group["success"]) == (2, 0.5, 0.5, 0.5)
    # Counted by trajectory, the returns of the second group would spread more.
    assert {t.group for t in filter_groups(ts, 0.5)} == {ts[0].group}
    assert values(diagnosis(run, None, None, LruCache(1)).found.rollouts.return_).tolist() == [1, 0, 0.9, 0]
    told = CliRunner().invoke(
        command,
        [
            "import",
            "auto",
            str(tmp_path / "traces.jsonl"),
            "--tokenizer",
            tokenizer_folder,
            "--progress",
            "none",
            "--json",
            "--out",
            str(tmp_path / "again"),
        ],
    )
    assert json.loads(told.stdout)["success"] == 0.25


def test_a_group_of_one_branched_rollout_has_one_rollout(tokenizer, read):
    found = {f.check for f in diagnose(read("verifiers", [branched(tokenizer, [2], exact=True)])).findings}
    assert "single-rollout" in found and "zero-spread" not in found


def test_advantages_of_rollouts_given_by_name():
    returns, groups, rollouts = np.array([9, 1, 0, 3, 3.0]), list("aaabb"), ["x", "x", "y", "x", "x"]
    # The last row's return stands for the rollout, as verl has it; names are of one group.
    np.testing.assert_allclose(grpo_advantages(returns, groups, rollouts=rollouts), [1, 1, -1, 0, 0], atol=1e-5)
    np.testing.assert_array_equal(
        grpo_advantages(returns, groups), grpo_advantages(returns, groups, rollouts=list("12345"))
    )
    with pytest.raises(ActFocusError, match="4 rollouts for 5 groups"):
        grpo_advantages(returns, groups, rollouts=rollouts[:4])


@pytest.mark.parametrize("exact", [True, False])
def test_a_branch_without_a_reply_of_its_own_is_left_out_and_said(exact, tokenizer, read):
    row = branched(tokenizer, [2], exact)
    row["traces"][0]["nodes"].pop()
    row["traces"].append({"agent": {"trainable": False}})
    run = read("verifiers", [row])
    assert len(run.index()) == 1 and run.trajectories()[0].rollout_id == ""
    left_out = {"branches in which nothing new was sampled": 1, "traces of agents that are not trained": 1}
    assert run.info["config"]["left_out"] == left_out
    finding = {f.check: f for f in diagnose(run).findings}["left-out"]
    assert all(f"1 {what}" in finding.message for what in left_out) and finding.count == finding.of == 1


def test_the_prompts_own_replies_are_not_sampled(tokenizer, read):
    """verifiers marks an assistant's message that no model call made; the mask decides where there are ids."""
    row = branched(tokenizer, [], exact=False)
    row["traces"][0]["nodes"][2]["sampled"] = False
    t = read("verifiers", [row]).trajectories()[0]
    assert len(t.turn_records) == 1 and "go right" not in t.text(TokenKind.REASONING) and "go right" in t.text()


def test_agents_that_are_not_trained_are_left_out_and_said(tokenizer, tokenizer_folder, tmp_path):
    rows = records("verifiers", tokenizer)
    for row in rows:
        player = row["traces"][0]
        judge = {
            **player,
            "id": "j",
            "agent": {"name": "judge", "config": {"model": "other"}, "trainable": False},
            "rewards": {},
        }
        row["traces"] = [judge, player, {**judge, "rewards": {"main": {"score": 0.3}}}]
    rows[0]["traces"][1]["agent"]["trainable"] = True
    path = write("verifiers", tmp_path, rows)
    options = ["--tokenizer", tokenizer_folder, "--progress", "none"]
    shown = CliRunner().invoke(command, ["import", "auto", str(path), *options, "--out", str(tmp_path / "run")])
    assert shown.exit_code == 0 and "left out: 8 traces of agents that are not trained" in shown.stdout
    run = Run.open(tmp_path / "run")
    assert [t.reward for t in run.trajectories()] == [1, 0, 1, 0] and {t.model for t in run.trajectories()} == {
        "some-model"
    }
    assert run.info["config"]["left_out"] == {"traces of agents that are not trained": 8}
    for row in rows:
        row["traces"].pop(1)
    with pytest.raises(ActFocusError, match="holds no rollout.*; left out: 8 traces of agents that are not trained"):
        import_run(write("verifiers", tmp_path, rows), tmp_path / "none", tokenizer=tokenizer_folder)


def test_a_branch_is_a_segment_with_the_components_of_its_reward(tokenizer, read):
    row = branched(tokenizer, [2], exact=True)
    row["traces"][0] |= {
        "rewards": {"goal": {"score": 1.0, "weight": 2.0}, "short": -0.5, "style": None},
        "stop_condition": "max_turns",
    }
    ts = read("verifiers", [row]).trajectories()
    assert [t.segment for t in ts] == [0, 1] and len({t.rollout_key for t in ts}) == 1
    for t in ts:
        assert t.rewards == {"goal": (1.0, 2.0), "short": (-0.5, 1.0)} and t.reward == 1.5
        assert t.stop_reason == "max_turns" and t.truncated
