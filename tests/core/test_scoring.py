"""Scoring group by group: a sample, a job that was killed and goes on, and what may not be mixed."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.scoring import score_run, unscored_groups
from actfocus_core.signals import score
from tests.core.command import actfocus


def _bare(rollouts, **changes):
    return [
        replace(
            t, signals={n: v for n, v in t.signals.items() if not n.startswith("ref_")}, alternatives=None, **changes
        )
        for t in rollouts
    ]


@pytest.fixture
def unscored(tmp_path, rollouts):
    """A run of two steps, the second in two parts, over which a group may be spread."""

    def make(name="run"):
        run = Run.create(tmp_path / name, {})
        run.add_trajectories(0, _bare(rollouts))
        later = [replace(t, id=f"later-{t.id}") for t in _bare(rollouts, step=1)]
        run.add_part(1, later[::2])
        run.add_part(1, later[1::2])
        return run

    return make


def _files(run):
    return {file.name: file.read_bytes() for file in sorted((run.path / "signals").iterdir())}


def test_scores_are_those_of_the_library(unscored, tiny, rollouts):
    run = unscored()
    score_run(run, tiny, top_k=2)
    expected = score(_bare(rollouts), tiny, top_k=2)
    for a, b in zip(expected, run.trajectories(0, "tiny"), strict=True):
        for name in ("ref_energy", "ref_entropy", "ref_logprob", "ref_centred_energy"):
            np.testing.assert_allclose(a.signals[name], b.signals[name], rtol=1e-4, atol=1e-5)
        assert b.alternatives.ids.shape == (len(b), 2)
    assert run.annotated_steps("tiny") == {0, 1}
    assert run.annotation_metadata(1, "tiny") == {"reference": "tiny", "fingerprint": tiny.fingerprint, "top_k": 2}


def test_a_sample_is_scored_measured_and_resumed(unscored, tiny):
    run, whole = unscored(), unscored("whole")
    score_run(whole, tiny)
    groups = run.index().groupby("step")["group"].nunique().sum()
    tokens = int(run.index()["n_tokens"].sum())
    told = []
    sample = score_run(run, tiny, groups=1, first=run.index()["id"].iloc[-1], on_progress=lambda *n: told.append(n))
    assert (sample.groups, sample.groups_left) == (1, groups - 1) and sample.tokens + sample.tokens_left == tokens
    assert sample.seconds_left == pytest.approx(sample.seconds * sample.tokens_left / sample.tokens)
    assert told == [(sample.trajectories, sample.trajectories)]
    # The group of the trajectory that was named, wherever its rollouts are stored; the others have no signals.
    group = run.index()["group"].iloc[-1]
    for t in run.trajectories(1):
        assert ("ref_energy" in t.signals) == (t.group == group)
    assert (unscored_groups(run, "tiny"), unscored_groups(run, None)) == (groups - 1, groups) and run.references(
        0
    ) == []
    rest = score_run(run, tiny, resume=True)
    assert rest.groups == groups - 1 and rest.groups_left == 0 and rest.seconds_left == 0
    assert score_run(run, tiny, resume=True).groups == 0
    assert _files(run) == _files(whole)


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_an_interrupted_job_keeps_whole_groups_and_goes_on(unscored, tiny, stop):
    run, whole = unscored(), unscored("whole")
    score_run(whole, tiny)
    calls = 0

    def interrupt(done, total):
        nonlocal calls
        calls += 1
        if calls == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_run(run, tiny, on_progress=interrupt)
    groups = {(t.step, t.group): [] for t in run.trajectories()}
    for t in run.trajectories():
        groups[t.step, t.group].append("ref_energy" in t.signals)
    assert sum(map(all, groups.values())) == stop and all(len(set(known)) == 1 for known in groups.values())
    score_run(run, tiny, resume=True)
    assert _files(run) == _files(whole)


KILLED = """
import sys
from actfocus_core.policy import load_policy
from actfocus_core.runs import Run
from actfocus_core.scoring import score_run
score_run(Run.open(sys.argv[1]), load_policy("tiny", "cpu"), resume=True, on_progress=lambda *n: print(*n, flush=True))
"""


def test_a_killed_process_is_resumed_to_the_same_bytes(unscored, tiny):
    run, whole = unscored(), unscored("whole")
    score_run(whole, tiny)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, run.path], stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    score_run(Run.open(run.path), tiny, resume=True)
    assert {name: content for name, content in _files(run).items() if not name.startswith(".")} == _files(whole)


def test_signals_computed_in_another_way_are_not_mixed(unscored, tiny):
    run = unscored()
    score_run(run, tiny, groups=1, top_k=3)
    with pytest.raises(ActFocusError, match="was not computed by this reference model with these options"):
        score_run(run, tiny, resume=True)
    score_run(run, tiny)
    assert run.annotated_steps("tiny") == {0, 1} and run.trajectories(0)[0].alternatives is None


def test_a_complete_annotation_of_an_earlier_version_is_kept(unscored, tiny, rollouts):
    run = unscored()
    run.annotate(0, "tiny", rollouts)
    before = _files(run)["step-00000.tiny.parquet"]
    score_run(run, tiny, resume=True)
    assert _files(run)["step-00000.tiny.parquet"] == before and run.annotated_steps("tiny") == {0, 1}


def test_the_command(unscored):
    run = unscored()
    sample = actfocus(
        "score", run.path, "--groups", 1, "--first", run.index()["id"].iloc[0], "--json", "--progress", "none"
    )
    assert sample.returncode == 0 and '"groups": 1' in sample.stdout and '"seconds_left"' in sample.stdout
    assert actfocus("score", run.path, "--resume", "--progress", "none").returncode == 0
    assert run.annotated_steps("tiny") == {0, 1}
    wrong = actfocus("score", run.path, "--first", "nobody")
    assert wrong.returncode == 2 and "no trajectory 'nobody' in this run" in wrong.stderr
