"""Trajectories played on from any turn: stored answers lead where they led, others elsewhere."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from actfocus_core.cli import app
from actfocus_core.counterfactual import store as whatif
from actfocus_core.counterfactual.branch import branch, env_of
from actfocus_core.counterfactual.history import policy_before
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle import trajectory_values
from actfocus_core.policy.sampler import Reply
from actfocus_core.rollout import Episode, play_to_end
from actfocus_core.runs import Run
from actfocus_core.trajectory import TokenKind

SAMPLES = Path(__file__).parents[2] / "assets" / "runs"


@pytest.fixture(scope="module")
def lake():
    return Run.open(SAMPLES / "frozen-lake")


@pytest.fixture(scope="module")
def first(lake, tiny):
    """Six answers to the first turn of one trajectory."""
    return branch(lake, long_one(lake).id, tiny, 0, rollouts=6)


def long_one(run, turns=3):
    """A trajectory with that many turns, all of them valid."""
    index = run.index()
    return run.trajectory(index[(index.n_turns >= turns) & (index.n_valid == index.n_turns)].iloc[0]["id"])


class StoredReplies:
    """A sampler of one stream that gives the stored replies of a trajectory, from a turn on."""

    def __init__(self, t, turn, policy):
        self.t, self.turn, self.stop = t, turn, policy.chat.stop_ids()

    def begin(self, rows):
        assert rows == 1

    def keep(self, rows):
        assert rows == [0]

    def reply(self, blocks, limit, dice):
        where = np.flatnonzero((self.t.turns == self.turn) & self.t.response_mask)
        ids = self.t.token_ids[where].tolist()
        assert len(ids) <= limit
        self.turn += 1
        return [Reply(ids, self.t.logprobs[where], np.full(len(ids), np.nan, np.float32), ids[-1] in self.stop)]


@pytest.mark.parametrize("name", ["frozen-lake", "frozen-lake-slippery", "sokoban", "sudoku", "webshop"])
def test_the_original_answers_lead_where_they_led(name, tiny):
    """From every turn of a few trajectories, ids and all."""
    run = Run.open(SAMPLES / name)
    index = run.index().sort_values(["n_turns", "success"])
    for id in index["id"].iloc[[0, len(index) // 2, -1]]:
        stored = run.trajectory(id)
        for turn in range(len(stored.turn_records)):
            env = env_of(run, stored, tiny)
            env.restore(stored.turn_records[turn].state)
            episode = Episode.resume(env, tiny, stored, turn, sampling_seed=0)
            (made,) = play_to_end([episode], StoredReplies(stored, turn, tiny), tiny.context)
            assert made.token_ids.tolist() == stored.token_ids.tolist() and made.texts == stored.texts
            assert made.kinds.tolist() == stored.kinds.tolist() and made.turns.tolist() == stored.turns.tolist()
            assert made.turn_records == stored.turn_records
            assert (made.ret, made.success, made.terminated, made.truncated) == (
                stored.ret,
                stored.success,
                stored.terminated,
                stored.truncated,
            )


@pytest.mark.slow
def test_the_policy_answers_again_from_exact_ids(lake, tiny, first):
    t, what = long_one(lake), branch(lake, long_one(lake).id, tiny, 1, rollouts=3)
    begin = int(np.flatnonzero((t.turns == 1) & t.response_mask)[0])
    assert all(o.token_ids[:begin].tolist() == t.token_ids[:begin].tolist() for o in what.trajectories)
    assert len({o.text() for o in first.trajectories}) > 1 and len({o.id for o in first.trajectories}) == 6
    result = what.result
    returns = np.array([o.ret for o in what.trajectories])
    assert result["return"]["mean"] == pytest.approx(returns.mean()) and result["return"]["n"] == 3
    earlier = sum(r.reward + r.penalty for r in t.turn_records[:1])
    assert result["to_go"]["mean"] == pytest.approx(returns.mean() - earlier)
    assert result["success"]["low"] <= result["success"]["rate"] <= result["success"]["high"]
    # The same question has the same answer, another seed another one.
    same = branch(lake, t.id, tiny, 1, rollouts=3)
    assert same.id == what.id and [o.text() for o in same.trajectories] == [o.text() for o in what.trajectories]
    other = branch(lake, t.id, tiny, 1, rollouts=3, seed=1)
    assert other.id != what.id and [o.text() for o in other.trajectories] != [o.text() for o in what.trajectories]


def test_the_tree_divides_the_outcomes_and_carries_exact_values(lake, first):
    t, what = long_one(lake), first
    by_id = {o.id: o for o in what.trajectories}
    exact = {o.id: trajectory_values(o, lake.info["config"]["env_options"]) for o in what.trajectories}
    seen = []

    def walk(nodes, turn, ids):
        assert sorted(i for node in nodes for i in node["ids"]) == sorted(ids)
        for node in nodes:
            own = [by_id[i] for i in node["ids"]]
            assert node["count"] == len(own) and node["share"] == pytest.approx(len(own) / len(ids))
            assert all(o.turn_records[turn].actions == node["actions"] for o in own)
            to_go = [sum(r.reward + r.penalty for r in o.turn_records[turn:]) for o in own]
            assert node["to_go"]["mean"] == pytest.approx(np.mean(to_go))
            value = exact[own[0].id][turn]
            assert node["optimal"]["before"] == pytest.approx(value.value)
            assert node["optimal"]["turn"] == pytest.approx(value.value + value.skill)
            assert node["optimal"]["turn"] >= np.max(to_go) - 1e-9  # nobody beats perfect play where no dice fall
            seen.append(turn)
            if node["ended"]:
                assert all(len(o.turn_records) == turn + 1 for o in own) and node["children"] == []
            else:
                walk(node["children"], turn + 1, node["ids"])

    walk(what.result["tree"], 0, list(by_id))
    assert len(set(seen)) > 1
    assert what.result["optimal"]["value"] == pytest.approx(max(what.result["optimal"]["actions"].values()))
    assert what.result["original"]["return"] == t.ret


def test_a_forced_action_keeps_the_thoughts(lake, tiny):
    t = long_one(lake)
    new = next(a for a in ("Up", "Down", "Left", "Right") if a not in t.turn_records[1].actions)
    what = branch(lake, t.id, tiny, 1, action=new, rollouts=2)
    for o in what.trajectories:
        assert o.turn_records[1].actions == [new] and o.turn_records[1].valid
        thoughts = [one.token_ids[(one.turns == 1) & (one.kinds == TokenKind.REASONING)].tolist() for one in (o, t)]
        assert thoughts[0] == thoughts[1]
    (node,) = what.result["tree"]
    assert node["actions"] == [new]
    # What was forced has the policy's own log-probs, by a plain pass over the stream.
    o = what.trajectories[0]
    ids = torch.tensor(o.token_ids.astype(np.int64))[None]
    with torch.no_grad():
        logp = tiny.model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0].numpy()
    mask = o.response_mask[1:]
    np.testing.assert_allclose(o.logprobs[1:][mask], logp[mask], atol=1e-4)


def test_a_malformed_reply_can_be_given_an_action(tiny, lake, tmp_path):
    run = Run.open(shutil.copytree(lake.path, tmp_path / "lake"))
    t = long_one(run)
    broken = branch(run, t.id, tiny, 0, text="I go left.", rollouts=1)
    (o,) = broken.trajectories
    assert not o.turn_records[0].valid and o.turn_records[0].actions == [] and o.turn_records[0].penalty < 0
    assert o.turn_records[0].response == "I go left." and broken.result["forced"].startswith("I go left.")
    made = Run.create(tmp_path / "broken", run.info["config"], run.info["model"])
    made.add_trajectories(0, broken.trajectories)
    forced = branch(made, o.id, tiny, 0, action="Down || Down", rollouts=1)
    assert forced.trajectories[0].turn_records[0].valid
    assert forced.trajectories[0].turn_records[0].actions[0] == "Down"


def test_a_token_is_written_anew_and_all_before_it_stays(lake, tiny):
    t = long_one(lake)
    where = np.flatnonzero((t.turns == 1) & t.response_mask)
    token = int(where[len(where) // 2])
    what = branch(lake, t.id, tiny, token=token, rollouts=2)
    assert all(o.token_ids[:token].tolist() == t.token_ids[:token].tolist() for o in what.trajectories)
    for o in what.trajectories:
        # One reply: its parts are joined, and spans are found over the whole.
        assert o.text(turn=1).count("<think>") == t.text(turn=1).count("<think>")
        np.testing.assert_allclose(o.logprobs[where[0] : token], t.logprobs[where[0] : token])
        assert np.isfinite(o.logprobs[o.response_mask]).all()
    going = branch(lake, t.id, tiny, token=token, text=" hm", rollouts=1)
    assert all(
        o.turn_records[1].response.startswith("".join(t.texts[where[0] : token]) + " hm") for o in going.trajectories
    )
    # Forced to the end: the whole of the original reply is the original reply.
    rest = "".join(t.texts[token : where[-1]])
    ended = branch(lake, t.id, tiny, token=token, text=rest, end=True, rollouts=1)
    assert ended.trajectories[0].turn_records[1].response == t.turn_records[1].response
    assert ended.trajectories[0].turn_records[1].actions == t.turn_records[1].actions
    # The first token of a reply is the turn.
    assert branch(lake, t.id, tiny, token=int(where[0]), rollouts=1).request["token"] is None


def test_the_stored_random_numbers_are_drawn_again(tiny):
    """On slippery ice: the stored answers of one turn under the stored random numbers, and under fresh ones."""
    run = Run.open(SAMPLES / "frozen-lake-slippery")
    t = long_one(run, 3)
    said = " || ".join(t.turn_records[0].actions)
    key = t.turn_records[1].state_key
    same = branch(run, t.id, tiny, 0, action=said, common_random_numbers=True, rollouts=3)
    assert {o.turn_records[1].state_key for o in same.trajectories} == {key}
    fresh = branch(run, t.id, tiny, 0, action=said, rollouts=10)
    assert len(fresh.result["tree"]) > 1
    node = fresh.result["tree"][0]["optimal"]
    assert node["turn"] <= node["before"] + 1e-9


def test_a_branch_is_stored_and_linked(lake, first, tmp_path):
    run = Run.open(shutil.copytree(lake.path, tmp_path / "lake"))
    whatif.store(run, first)
    loaded = whatif.load(run, first.id)
    assert loaded.result == whatif.plain(first.result)
    assert [o.token_ids.tolist() for o in loaded.trajectories] == [o.token_ids.tolist() for o in first.trajectories]
    assert [row["kind"] for row in whatif.listing(run)] == ["branch"]


def test_the_command(lake, first, tmp_path):
    run = Run.open(shutil.copytree(lake.path, tmp_path / "lake"))
    id = long_one(run).id
    said = CliRunner().invoke(app, ["branch", str(run.path), id, "--turn", "0", "--rollouts", "6", "--json"])
    printed = json.loads(said.stdout)
    assert printed["id"] == first.id and printed["result"] == whatif.plain(first.result)
    shown = CliRunner().invoke(app, ["whatif", str(run.path), first.id]).stdout
    assert "optimal value" in shown and "return-to-go" in shown
    wrong = CliRunner().invoke(app, ["branch", str(run.path), id, "--turn", "0", "--action", "Fly"])
    assert isinstance(wrong.exception, ActFocusError) and len(whatif.listing(run)) == 1


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"turn": 40}, "has no turn 40"),
        ({}, "has no turn None"),
        ({"token": 0}, "token 0 is not a response token"),
        ({"token": 10**6}, "is not a response token"),
        ({"turn": 0, "rollouts": 0}, "rollouts=0"),
        ({"turn": 0, "action": "Fly"}, "'Fly': is not an action of frozen_lake; legal now: Left"),
        ({"turn": 0, "action": ""}, "is not an action of"),
        ({"turn": 0, "action": "Up", "text": "x"}, "do not give text or token"),
        ({"turn": 0, "text": "x " * 500}, "there is room for 80"),
        ({"turn": 0, "text": "<|im_end|>"}, "token of the chat template"),
        ({"turn": 0, "text": "", "end": False}, "is empty"),
        ({"turn": 0, "temperature": -1}, "temperature=-1"),
    ],
)
def test_what_cannot_be_branched_says_so_in_a_line(lake, tiny, asked, says):
    with pytest.raises(ActFocusError, match=says) as error:
        branch(lake, long_one(lake).id, tiny, **asked)
    assert "\n" not in str(error.value) and not (lake.path / "whatif").exists()


def test_a_policy_of_another_tokenizer_and_a_run_without_states(lake, policy, tiny, tmp_path):
    t = long_one(lake)
    with pytest.raises(ActFocusError, match="tokenizer"):
        branch(lake, t.id, policy, 0)
    for record in t.turn_records:
        record.state = {}
    bare = Run.create(tmp_path / "bare", lake.info["config"])
    bare.add_trajectories(0, [t])
    with pytest.raises(ActFocusError, match="without a state"):
        branch(bare, t.id, tiny, 0)
    with pytest.raises(ActFocusError, match="no trajectory 'x'"):
        branch(lake, "x", tiny, 0)


def test_the_policy_of_a_rollout_run_is_its_own(lake, tmp_path):
    assert policy_before(lake, 0).fingerprint == lake.info["model"]["fingerprint"]
    with pytest.raises(ActFocusError, match="names no policy"):
        policy_before(Run.create(tmp_path / "bare", {}), 0)
