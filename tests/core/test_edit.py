"""Other words in one place: every other id stays, and the reference's numbers follow."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from actfocus_core.cli import app
from actfocus_core.counterfactual import store as whatif
from actfocus_core.counterfactual.edit import NOT_EXECUTED, edit
from actfocus_core.credit import Batch, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.signals import score
from actfocus_core.trajectory import TokenKind


@pytest.fixture
def lake(run, tiny, tmp_path):
    """The rollouts of the embedded policy, which is also their reference."""
    opened = Run.open(shutil.copytree(run.path, tmp_path / "lake"))
    opened.info["model"] = {"name": "tiny", "fingerprint": tiny.fingerprint}
    return opened


def some(run):
    index = run.index()
    return run.trajectory(index[(index.n_turns >= 3) & (index.n_valid == index.n_turns)].iloc[0]["id"])


def test_a_reply_is_replaced_and_all_else_keeps_its_ids(lake, tiny):
    t = some(lake)
    where = np.flatnonzero((t.turns == 1) & t.response_mask)
    what = edit(lake, t.id, "<think>no.</think><answer>Up</answer>", tiny, turn=1)
    original, edited = what.trajectories
    assert original.id == t.id and original.token_ids.tolist() == t.token_ids.tolist()
    (start, stop), (_, end) = what.result["span"], what.result["new_span"]
    assert (start, stop) == (where[0], where[-1])  # the end of the turn stays
    assert edited.token_ids[:start].tolist() == t.token_ids[:start].tolist()
    assert edited.token_ids[end:].tolist() == t.token_ids[stop:].tolist()
    assert (
        edited.token_ids[start:end].tolist()
        == tiny.tokenizer("<think>no.</think><answer>Up</answer>", add_special_tokens=False)["input_ids"]
    )
    assert what.result["shift"] == len(edited) - len(t) == end - stop
    assert (
        edited.kinds[end:].tolist() == t.kinds[stop:].tolist()
        and edited.turns[end:].tolist() == t.turns[stop:].tolist()
    )
    assert edited.text(TokenKind.ACTION, 1) == "Up" and edited.text(TokenKind.REASONING, 1) == "no."
    assert edited.turn_records[1].response == "<think>no.</think><answer>Up</answer>"
    assert edited.turn_records[1].observation == t.turn_records[1].observation
    assert edited.turn_records[0] == t.turn_records[0] and edited.turn_records[2] == t.turn_records[2]
    assert what.result["actions"] == ["Up"] and what.result["carried_out"] == t.turn_records[1].actions
    assert what.result["badges"][0] == NOT_EXECUTED


def test_the_reference_scores_what_follows_again(lake, tiny):
    t = some(lake)
    where = np.flatnonzero((t.turns == 0) & t.response_mask)
    start, stop = int(where[2]), int(where[4])
    what = edit(lake, t.id, " zz", tiny, span=(start, stop))
    _, edited = what.trajectories
    end = what.result["new_span"][1]
    # Scored as if it had always been so.
    plain = score([dataclasses.replace(edited, signals={})], tiny)[0]
    mask = edited.response_mask
    for name in ("ref_energy", "ref_entropy", "ref_logprob"):
        np.testing.assert_allclose(edited.signals[name][mask], plain.signals[name][mask], atol=1e-4)
    np.testing.assert_allclose(edited.signals["ref_energy"][:start], t.signals["ref_energy"][:start], atol=1e-4)
    after, before = edited.signals["ref_energy"][end:], t.signals["ref_energy"][stop:]
    scored = np.isfinite(before)
    assert np.abs(after - before)[scored].max() > 1e-3
    # The reference sampled these rollouts: its log-probs are the policy's.
    np.testing.assert_allclose(
        edited.logprobs[start:][mask[start:]], plain.signals["ref_logprob"][start:][mask[start:]], atol=1e-4
    )
    np.testing.assert_array_equal(edited.logprobs[:start], t.logprobs[:start])
    lake.info["model"]["fingerprint"] = "0" * 16
    _, unknown = edit(lake, t.id, " zz", tiny, span=(start, stop)).trajectories
    assert np.isnan(unknown.logprobs[start:]).all() and np.isnan(unknown.signals["entropy"][start:]).all()
    np.testing.assert_array_equal(unknown.logprobs[:start], t.logprobs[:start])


def test_weights_follow_in_the_batch_of_the_step(lake, tiny):
    t = some(lake)
    what = edit(
        lake, t.id, "<think>no.</think><answer>Up || Up</answer>", tiny, turn=1, params={"actfocus": {"beta": 2.0}}
    )
    original, edited = what.trajectories
    for one in (original, edited):
        batch = [one if other.id == t.id else other for other in lake.trajectories(0)]
        laid = Batch.of(batch)
        mine = laid.index == [o is one for o in batch].index(True)
        credit = get_scheme("actfocus").compute(laid, beta=2.0)
        mask = one.response_mask
        np.testing.assert_allclose(one.signals["weight:actfocus"][mask], credit.weight[mine][mask], rtol=1e-5)
        np.testing.assert_allclose(one.signals["credit:actfocus"][mask], credit.effective()[mine][mask], rtol=1e-5)
        assert np.isnan(one.signals["weight:actfocus"][~mask]).all()
    shares = what.result["schemes"]["actfocus"]["share"]
    assert all(sum(share.values()) == pytest.approx(1) for share in shares) and shares[0] != shares[1]
    assert edit(lake, t.id, "x", tiny, turn=1, schemes=["vineppo"]).result["schemes"] == {
        "vineppo": {"missing": ["policy_v"]}
    }


def test_an_observation_can_be_edited_too(lake, tiny):
    t = some(lake)
    where = np.flatnonzero((t.turns == 1) & (t.kinds == TokenKind.USER))
    span = (int(where[0]), int(where[0]) + 2)
    what = edit(lake, t.id, "Turn 9", tiny, span=span)
    edited = what.trajectories[1]
    assert (edited.kinds[slice(*what.result["new_span"])] == TokenKind.USER).all()
    assert (
        edited.turn_records[1].observation.startswith("Turn 9")
        and edited.turn_records[1].response == t.turn_records[1].response
    )
    assert what.result["badges"] == [NOT_EXECUTED]


def test_a_malformed_edit_is_format(lake, tiny):
    t = some(lake)
    edited = edit(lake, t.id, "Up.", tiny, turn=0).trajectories[1]
    own = (edited.turns == 0) & edited.response_mask
    assert (edited.kinds[own] == TokenKind.FORMAT).all()


def test_an_edit_is_stored_and_the_facts_stay(lake, tiny):
    facts = {f: f.read_bytes() for f in lake.path.rglob("*.parquet")}
    what = edit(lake, some(lake).id, "<think>a</think><answer>Up</answer>", tiny, turn=0)
    whatif.store(lake, what)
    loaded = whatif.load(lake, what.id)
    assert loaded.result == whatif.plain(what.result)
    for a, b in zip(loaded.trajectories, what.trajectories):
        assert a.id == b.id and a.token_ids.tolist() == b.token_ids.tolist() and a.signals.keys() == b.signals.keys()
        np.testing.assert_array_equal(a.signals["weight:actfocus"], b.signals["weight:actfocus"])
        np.testing.assert_array_equal(a.alternatives.ids, b.alternatives.ids)
    assert all(f.read_bytes() == content for f, content in facts.items())


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "needs either a turn"),
        ({"turn": 0, "span": (1, 2)}, "either a turn"),
        ({"turn": 9}, "no reply in turn 9"),
        ({"span": (5, 5)}, "a span must not be empty"),
        ({"span": (0, 10**6)}, "do not exist"),
        ({"span": (0, 60)}, "not all of one reply"),
        ({"turn": 0, "text": "a<|im_end|>b"}, "token of the chat template"),
        ({"turn": 0, "schemes": ["magic"]}, "unknown scheme"),
    ],
)
def test_what_cannot_be_edited_says_so_in_a_line(lake, tiny, asked, says):
    with pytest.raises(ActFocusError, match=says) as error:
        edit(lake, some(lake).id, **{"text": "x", "reference": tiny, **asked})
    assert "\n" not in str(error.value) and not Path(lake.path / "whatif").exists()


def test_a_reference_of_another_tokenizer_is_refused(lake, policy):
    with pytest.raises(ActFocusError, match="tokenizer"):
        edit(lake, some(lake).id, "x", policy, turn=0)


def test_the_command(lake):
    t = some(lake)
    where = np.flatnonzero((t.turns == 1) & t.response_mask)
    span = f"{where[2]}:{where[4]}"
    said = CliRunner().invoke(
        app, ["edit", str(lake.path), t.id, "--tokens", span, "--text", " zz", "--reference", "tiny", "--json"]
    )
    printed = json.loads(said.stdout)
    assert printed["result"]["span"] == [where[2], where[4]] and [row["id"] for row in whatif.listing(lake)] == [
        printed["id"]
    ]
    assert "mean energy" in CliRunner().invoke(app, ["whatif", str(lake.path), printed["id"]]).stdout
    wrong = CliRunner().invoke(
        app, ["edit", str(lake.path), t.id, "--tokens", "1-2", "--text", "x", "--reference", "tiny"]
    )
    assert isinstance(wrong.exception, ActFocusError) and "FIRST:END" in str(wrong.exception)
