"""The run folder another trainer fills: followed, stopped and gone on with like a local one. No other trainer is needed."""

import threading

import numpy as np
import pytest

from actfocus_core.credit import Batch, get_scheme
from actfocus_core.credit.weights import pooled, signal_stats, token_weights
from actfocus_core.errors import ActFocusError
from actfocus_core.plugins import batch
from actfocus_core.plugins.mirror import RunMirror
from actfocus_core.runs import Run
from actfocus_core.train import read_status, request
from actfocus_core.train.metrics import METRICS
from actfocus_core.trajectory import TokenKind

P = {"alpha": 0.1, "beta": 0.5, "signal": "energy", "format_weight": None}
CONFIG = {"command": "verl", "env": "frozen_lake", "env_options": {}, "scheme": "actfocus", "scheme_params": P}


def folder(path) -> RunMirror:
    return RunMirror(path, CONFIG, {"name": "tiny"})


def step(made: RunMirror, number: int, rollouts) -> str:
    made.store(number, rollouts, P, "tiny")
    made.log(number, {"loss/policy": 0.5, "grad/norm": float("nan"), "success/rate": -1.0}, seconds=2.0)
    return made.pending_request()


def test_a_step_is_kept_with_its_row_and_the_end_is_told(tmp_path, rollouts):
    made = folder(tmp_path / "run")
    with made.session():
        made.begin(0, 1)
        assert read_status(tmp_path / "run")["state"] == "running"
        made.store(1, rollouts, P, "tiny")
        status = read_status(tmp_path / "run")
        assert (status["step"], status["steps"], status["phase"]) == (0, 1, "update")
        made.log(1, {"loss/policy": 0.5, "grad/norm": float("nan"), "success/rate": -1.0}, seconds=2.0)
    run = Run.open(tmp_path / "run")
    assert read_status(run.path)["state"] == "finished" and run.info["config"]["steps"] == 1
    (row,) = run.metrics()[0]
    assert set(row) <= set(METRICS) and row["step"] == 1 and row["loss/policy"] == 0.5 and "grad/norm" not in row
    # What the rollouts say themselves goes before what the trainer says of them.
    assert row["success/rate"] == np.mean([t.success for t in rollouts])
    sampled = sum(int((t.kinds >= TokenKind.REASONING).sum()) for t in rollouts)
    assert row["tokens/per_second"] == sampled / 2
    weight = get_scheme("actfocus").compute(stored := Batch.of(rollouts), **P).weight
    assert row["mass/action"] == pytest.approx(weight[stored.kinds == TokenKind.ACTION].sum() / weight.sum(), rel=1e-5)
    shift = np.concatenate([(t.logprobs - t.signals["ref_logprob"])[t.response_mask] for t in rollouts]).astype(
        np.float64
    )
    assert row["kl/reference"] == pytest.approx((np.exp(-shift) - 1 + shift).mean(), abs=1e-9)
    kept = run.trajectories(1, "tiny")
    for t, new in zip(rollouts, kept):
        assert t.id == new.id and [r.state for r in t.turn_records] == [r.state for r in new.turn_records]
        np.testing.assert_array_equal(t.signals["ref_energy"], new.signals["ref_energy"])


@pytest.mark.parametrize(
    "error, state, message",
    [
        (RuntimeError("the rank is gone\nmore"), "failed", "the rank is gone"),
        (ValueError(), "failed", "ValueError"),
        (KeyboardInterrupt(), "stopped", ""),
    ],
    ids=["error", "wordless", "interrupt"],
)
def test_how_it_broke_off_is_told_and_the_folder_is_free_again(tmp_path, error, state, message):
    with pytest.raises(type(error)), (made := folder(tmp_path / "run")).session():
        made.begin(0, 5)
        raise error
    status = read_status(tmp_path / "run")
    assert (status["state"], status["message"]) == (state, message)
    with (again := folder(tmp_path / "run")).session():
        again.begin(0, 5)
    assert read_status(tmp_path / "run")["state"] == "stopped"


def test_a_run_is_gone_on_with_where_it_was_cut(tmp_path, rollouts):
    path = tmp_path / "run"
    with (made := folder(path)).session():
        made.begin(0, 3)
        request(path, "stop")
        assert step(made, 1, rollouts) == "stop"
    (first,) = Run.open(path).metrics()[0]
    with open(path / "metrics.jsonl", "a") as file:
        file.write('{"step": 2, "loss/po')  # a process that was killed
    with (made := folder(path)).session():
        made.begin(0, 3)
        # The stop was meant for the process before; what stands is not written twice.
        assert step(made, 1, rollouts) == "go"
        made.log(2, {"loss/policy": 0.25})
        made.log(3, {})
    rows = Run.open(path).metrics()[0]
    assert [row["step"] for row in rows] == [1, 2, 3] and rows[0] == first
    # A step without rollouts of its own has none of the last one's numbers.
    assert (
        rows[1].keys() == {"step", "loss/policy", "seconds/elapsed"}
        and rows[1]["seconds/elapsed"] >= first["seconds/elapsed"]
    )
    assert read_status(path)["state"] == "finished"


def test_a_pause_is_waited_for_and_left_out_of_the_time(tmp_path, rollouts):
    path = tmp_path / "run"
    with (made := folder(path)).session():
        made.begin(0, 2)
        request(path, "pause")
        before = made.elapsed
        assert made.pending_request() == "pause" and read_status(path)["state"] == "paused"
        assert made.elapsed - before < 0.25
        threading.Timer(0.1, request, (path, "go")).start()
        while made.pending_request() == "pause":
            pass
        made.log(1, {})
        assert read_status(path)["state"] == "running"


def test_one_process_trains_in_a_folder_and_only_in_a_run(tmp_path):
    with (made := folder(tmp_path / "run")).session():
        made.begin(0, 1)
        with pytest.raises(ActFocusError, match="another process"), (second := folder(tmp_path / "run")).session():
            second.begin(0, 1)
        assert read_status(tmp_path / "run")["state"] == "running"
    (tmp_path / "papers").mkdir()
    with pytest.raises(ActFocusError, match="not a run folder"), (third := folder(tmp_path / "papers")).session():
        third.begin(0, 1)
    assert not list((tmp_path / "papers").iterdir())


@pytest.mark.parametrize("cuts", [[], [1], [5, 6, 17]])
def test_weights_are_the_batch_s_however_it_is_divided(rollouts, cuts):
    """mu and sigma over what is trained on in all parts, the untrained tokens left out of both."""
    rng = np.random.default_rng(3)
    trained = [rng.random(len(t)) < 0.8 for t in rollouts]
    edges = [0, *cuts, len(rollouts)]
    parts = [slice(a, b) for a, b in zip(edges, edges[1:])]

    def stats_of(part):
        kinds = np.where(
            np.concatenate(trained[part]), np.concatenate([t.kinds for t in rollouts[part]]), TokenKind.TEMPLATE
        )
        return signal_stats(kinds, np.concatenate([t.signals["ref_energy"] for t in rollouts[part]]))

    all_stats = pooled(stats_of(part) for part in parts)
    found = [w for part in parts for w in batch.weigh(rollouts[part], P, trained[part], lambda mine: all_stats)]
    kinds = np.where(np.concatenate(trained), np.concatenate([t.kinds for t in rollouts]), 0)
    whole = token_weights(kinds, np.concatenate([t.signals["ref_energy"] for t in rollouts]), 0.1, 0.5)
    np.testing.assert_allclose(np.concatenate(found), whole, atol=1e-6)
    assert (np.concatenate(found)[~np.concatenate(trained)] == 0).all()


@pytest.mark.parametrize(
    "given", [{"gamma": 1}, {"alpha": 2}, {"beta": -1}, {"signal": "luck"}], ids=lambda g: next(iter(g))
)
def test_parameters_that_are_wrong_are_refused_by_name(given):
    with pytest.raises(ActFocusError, match=next(iter(given))):
        batch.complete_parameters(given, ("energy",), "scheme_params")
    assert batch.complete_parameters({"beta": 2}, ("energy",), "")["alpha"] == 0.1
