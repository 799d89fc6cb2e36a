"""Oracle values in a run folder: stored, read back, damaged, and made by the command line."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from actfocus_core.analysis.scoreboard import Truth
from actfocus_core.cli import app
from actfocus_core.cli.oracle import _show
from actfocus_core.credit import SCHEMES, Batch, get_scheme
from actfocus_core.errors import ActFocusError
from actfocus_core.oracle import stored as stored_truth
from actfocus_core.oracle.values import add_optimal, add_policy
from actfocus_core.runs import ANNOTATIONS, Run
from actfocus_core.trajectory import Trajectory, Turn
from tests.core.oracle_runs import K, annotated_rollouts, copies, lake_options, slippery_rollouts, table


@pytest.fixture(scope="module")
def options(tiny):
    return lake_options(tiny)


@pytest.fixture(scope="module")
def slippery(tiny, options):
    return slippery_rollouts(tiny, options)


@pytest.fixture(scope="module")
def dry(tiny, options):
    return annotated_rollouts(tiny, options)


@pytest.fixture(scope="module")
def stored(dry, tiny, options, tmp_path_factory):
    """A run of them, with all annotations."""
    run = Run.create(
        tmp_path_factory.mktemp("oracle") / "run",
        {"env": "frozen_lake", "env_options": options[False], "policy": "tiny", "temperature": 1.0},
        {"name": "tiny", "fingerprint": tiny.fingerprint},
    )
    run.add_trajectories(0, [Trajectory(**{**vars(t), "signals": {"entropy": t.signals["entropy"]}}) for t in dry])
    run.annotate(0, "tiny", dry)
    for name in ANNOTATIONS:
        run.annotate(0, name, dry, {"rollouts": K, "policy": "tiny", "fingerprint": tiny.fingerprint})
    return run


def test_every_scheme_gives_the_same_credit_on_the_stored_run(dry, stored):
    opened = Run.open(stored.path)
    assert opened.references() == ["tiny"] and opened.annotations(0) == sorted(ANNOTATIONS)
    read = opened.trajectories(0)
    mine, theirs = Batch.of(dry), Batch.of(read)
    computed = []
    for name in SCHEMES:
        a, b = get_scheme(name).compute(mine), get_scheme(name).compute(theirs)
        assert a.missing == b.missing
        np.testing.assert_array_equal(a.effective(), b.effective())
        computed += [] if a.missing else [name]
    assert {"oracle", "oracle_optimal", "vineppo", "carl", "a2tgpo"} <= set(computed)
    for signals in ("policy", "oracle"):
        for x, y in zip(vars(Truth.of(mine, signals)).values(), vars(Truth.of(theirs, signals)).values()):
            np.testing.assert_array_equal(x, y)
    alone, streamed = opened.trajectory(dry[-1].id), list(opened.stream())
    for t, others in zip([dry[-1], *dry], [[alone, read[-1]], *([s] for s in streamed)]):
        for other in others:
            assert other.signals.keys() == t.signals.keys()
            for name in t.signals:
                np.testing.assert_array_equal(other.signals[name], t.signals[name])
    assert opened.annotation_metadata(0, "oracle-policy")["rollouts"] == K


def test_annotations_leave_facts_alone_and_are_whole(dry, stored, tmp_path):
    facts = stored.path / "trajectories" / "step-00000.parquet"
    before = facts.read_bytes()
    stored.annotate(0, "oracle-optimal", dry[::-1], {"exact": True})
    assert facts.read_bytes() == before and stored.annotation_metadata(0, "oracle-optimal") == {"exact": True}
    assert sorted(p.name for p in (stored.path / "signals").iterdir()) == sorted(
        f"step-00000.{name}.parquet" for name in (*ANNOTATIONS, "tiny")
    )
    bare = [Trajectory(**{**vars(t), "signals": {}}) for t in dry]
    for name in ("oracle-policy", "oracle policy"):
        with pytest.raises(ActFocusError, match="has no policy_q, which the annotation oracle-policy requires"):
            stored.annotate(0, name, bare)
    with pytest.raises(ActFocusError, match="must cover all 6"):
        stored.annotate(0, "oracle-optimal", dry[:2])


def doctor(file, change):
    table = pq.read_table(file)
    pq.write_table(change(table), file)


def column(table, name, values):
    return table.set_column(table.column_names.index(name), name, values)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.drop_columns(["signal:policy_v"]), "no column 'signal:policy_v'.*oracle --recompute"),
        (lambda t: t.drop_columns(["id"]), "no column 'id'"),
        (
            lambda t: column(t, "id", pa.array([f"x{i}" for i in range(len(t))])),
            "has no row for trajectory.*oracle --recompute",
        ),
        (lambda t: t.slice(0, 3), "has no row for trajectory|has 3 rows"),
        (
            lambda t: column(t, "signal:policy_q", pa.array([[1.0]] * len(t), pa.list_(pa.float32()))),
            "policy_q of .* has 1 values for",
        ),
        (
            lambda t: column(t, "signal:policy_q", pa.array(["much"] * len(t))),
            "'signal:policy_q' is string; a signal must be a list of floats",
        ),
        (
            lambda t: t.append_column("signal:entropy", t["signal:policy_q"]),
            "contains 'entropy', which is not a signal of oracle-policy",
        ),
        (None, "not readable as Parquet"),
    ],
)
def test_a_broken_annotation_is_one_clear_line(stored, tmp_path, change, says):
    path = shutil.copytree(stored.path, tmp_path / "run")
    file = path / "signals" / "step-00000.oracle-policy.parquet"
    doctor(file, change) if change else file.write_bytes(b"PAR1 and no more")
    run, last = Run.open(path), stored.index()["id"].iloc[-1]
    for read in (run.trajectories, lambda: list(run.stream()), lambda: run.trajectory(last)):
        with pytest.raises(ActFocusError, match=says) as error:
            read()
        assert "\n" not in str(error.value) and str(file) in str(error.value)


def test_how_it_was_made_must_be_json(stored, tmp_path):
    path = shutil.copytree(stored.path, tmp_path / "run")
    doctor(
        path / "signals" / "step-00000.oracle-policy.parquet", lambda t: t.replace_schema_metadata({b"actfocus": b"[1"})
    )
    with pytest.raises(ActFocusError, match="not readable JSON"):
        Run.open(path).annotation_metadata(0, "oracle-policy")


def test_other_rules_than_those_played_are_noticed(slippery, options):
    with pytest.raises(ActFocusError, match="leads to another state"):
        add_optimal(copies(slippery), {**options[True], "success_rate": 0.1})
    t = copies(slippery)[0]
    t.turn_records = [Turn(**{**vars(r), "state": {}}) for r in t.turn_records]
    for add in (lambda: add_optimal([t], options[True]), lambda: add_policy([t], table, env_options=options[True])):
        with pytest.raises(ActFocusError, match="without a state"):
            add()


# --- the command -----------------------------------------------------------------------------


def actfocus(capsys, *arguments):
    app([*map(str, arguments)], standalone_mode=False)
    return capsys.readouterr()


@pytest.fixture
def bare(stored, tmp_path):
    """The run without its oracle's annotations."""
    path = shutil.copytree(stored.path, tmp_path / "bare")
    for name in ANNOTATIONS:
        (path / "signals" / f"step-00000.{name}.parquet").unlink()
    return path


def test_the_command_makes_stores_and_scores(bare, dry, capsys):
    command = ("oracle", bare, "--rollouts", K, "--answers", "--bootstrap", 10)
    said = actfocus(capsys, *command, "--progress", "jsonl", "--json")
    [step] = json.loads(said.out)["steps"]
    assert {"optimum 0", "policy 0", "answers 0", "score 0"} <= {
        json.loads(line)["phase"] for line in said.err.splitlines()
    }
    assert step["policy"]["rollouts"] == K and set(step["unscored"]) == {"ppo_gae", "turn_gae"}
    for t, mine in zip(Run.open(bare).trajectories(0), dry):
        for names in ANNOTATIONS.values():
            for name in names:
                np.testing.assert_allclose(t.signals[name], mine.signals[name], atol=1e-5)
    for board in step["boards"].values():
        rows = {row["name"]: row["scores"] for row in board["rows"]}
        assert {*SCHEMES, "shuffle:actfocus", "random:oracle", "reversed:a2tgpo"} - {"ppo_gae", "turn_gae"} <= set(rows)
        assert rows["uniform"]["where_advantage_tau"] == {
            "value": None,
            "low": None,
            "high": None,
            "n": 0,
            "why": "no ranking",
        }
        assert board["ceiling"]["scores"].keys() == rows["oracle"].keys()
    exact = {row["name"]: row["scores"] for row in step["boards"]["optimal"]["rows"]}
    assert exact["oracle_optimal"]["where_advantage"]["value"] == pytest.approx(1)
    # Again: nothing is made, the numbers are the same; as a table too.
    stamps = {p: p.stat().st_mtime_ns for p in (bare / "signals").iterdir()}
    [again] = json.loads(actfocus(capsys, *command, "--json", "--progress", "none").out)["steps"]
    assert again == step and stamps == {p: p.stat().st_mtime_ns for p in stamps}
    _show(json.loads(json.dumps(step)))
    text = capsys.readouterr().out
    assert (
        "Ranking:" in text
        and "Credit:" in text
        and "no ranking" in text
        and "ceiling" in text
        and "unavailable: ppo_gae" in text
    )
    with pytest.raises(ActFocusError, match=f"values of {K} rollouts, not of 7; --recompute"):
        actfocus(capsys, "oracle", bare, "--rollouts", 7)


def test_without_the_policy_no_model_is_asked_for(bare, capsys):
    info = json.loads((bare / "run.json").read_text())
    info["config"]["policy"], info["model"] = "no-such-model", {}
    (bare / "run.json").write_text(json.dumps(info))
    printed = json.loads(actfocus(capsys, "oracle", bare, "--no-policy", "--bootstrap", 10, "--all", "--json").out)
    assert (
        list(printed["steps"][0]["boards"]) == ["optimal"] and "policy_v" in printed["steps"][0]["unscored"]["vineppo"]
    )
    assert Run.open(bare).annotations(0) == ["oracle-optimal"]
    with pytest.raises(ActFocusError, match="no such policy"):
        actfocus(capsys, "oracle", bare)


def test_weights_that_did_not_sample_the_run_are_refused(bare, tiny, capsys, tmp_path):
    info = json.loads((bare / "run.json").read_text())
    info["model"]["fingerprint"] = "0123456789abcdef"
    (bare / "run.json").write_text(json.dumps(info))
    with pytest.raises(ActFocusError, match=f"fingerprint 0123456789abcdef; tiny is now {tiny.fingerprint}"):
        actfocus(capsys, "oracle", bare)
    run = Run.open(bare)
    run.info = {
        "config": {"command": "train", "model": "tiny", "env": "frozen_lake", "env_options": {"max_turns": 4}},
        "model": {"fingerprint": tiny.fingerprint},
    }
    own = stored_truth.env_options(run)
    assert own["max_turns"] == 4 and own["observation"] == "compact", (
        "training stores what differs from the model's options"
    )
    stored_truth.require_unchanged_policy(run, 1, tiny)
    with pytest.raises(ActFocusError, match="step 3 was sampled by weights that differ from tiny by 2 training steps"):
        stored_truth.require_unchanged_policy(run, 3, tiny)
    # Named outright it is taken at its log-probs: the embedded policy's own fit, others do not.
    noisy = tmp_path / "noisy"
    tiny.model.save_pretrained(noisy)
    tiny.tokenizer.save_pretrained(noisy)
    from safetensors.torch import load_file, save_file

    weights = load_file(noisy / "model.safetensors")
    torch.manual_seed(0)
    save_file(
        {k: v + 0.05 * torch.randn_like(v) for k, v in weights.items()}, noisy / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ActFocusError, match="step 0 was not sampled by .*noisy: its log-probs differ by"):
        actfocus(capsys, "oracle", bare, "--policy", noisy)
    assert Run.open(bare).annotations(0) == ["oracle-optimal"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--step", "3"], "no trajectories of step 3"),
        (["--step", "0", "--all"], "use one of them"),
        (["--reference", "other"], "no signals of 'other'"),
        (["--policy", "no-such"], "no such policy"),
    ],
)
def test_bad_options_of_the_command(bare, capsys, arguments, says):
    with pytest.raises(ActFocusError, match=says) as error:
        actfocus(capsys, "oracle", bare, *arguments)
    assert "\n" not in str(error.value)


def test_a_run_of_another_trainer_is_refused_in_one_line(bare, capsys):
    info = json.loads((bare / "run.json").read_text())
    del info["config"]["env_options"]
    (bare / "run.json").write_text(json.dumps(info))
    with pytest.raises(ActFocusError, match="does not state its environment"):
        actfocus(capsys, "oracle", bare)
