"""Where nobody says whether a rollout succeeded, or what it earned, that is said, and no number stands in its place."""

import json
from dataclasses import replace

import numpy as np
import pytest

from actfocus_core.analysis.validate import diagnose
from actfocus_core.interop.exporting import export_run
from actfocus_core.oracle.values import _AFTER_EPISODE, UNSOLVED
from actfocus_core.reports.html import render
from actfocus_core.reports.token_html import facts
from actfocus_core.runs import Run
from actfocus_core.train import metrics
from tests.core.batches import trajectories
from tests.core.test_cli import actfocus

NAN = float("nan")


def _run(path, **unknown) -> Run:
    """Nine groups of four; of the first group, and of every rollout where ``everywhere``, something is unknown."""
    everywhere = unknown.pop("everywhere", False)
    run = Run.create(path, {})
    ts = trajectories(seed=4, groups=9, rollouts=4)
    run.add_trajectories(0, [replace(t, **unknown) if everywhere or k < 4 else t for k, t in enumerate(ts)])
    return Run.open(run.path)


@pytest.mark.parametrize(
    "unknown", [{"success": None}, {"success": None, "everywhere": True}, {"reward": NAN, "success": None}]
)
def test_json_of_the_command_line_holds_null_and_the_number_of_unknown_ones(unknown, tmp_path):
    run = _run(tmp_path / "r", **unknown)
    for command in ("diagnose", "credit"):
        json.loads(actfocus(command, run.path, "--json").stdout, parse_constant=pytest.fail)
    groups = json.loads(actfocus("diagnose", run.path, "--json").stdout)["groups"]
    assert groups[0]["success"] is None and groups[0]["unknown_success"] == 4
    assert (groups[0]["sigma"] is None) == ("reward" in unknown) and (groups[8]["success"] is None) == (
        "everywhere" in unknown
    )
    assert "unknown, and left out: the return of" in " ".join(actfocus("diagnose", run.path).stdout.split())


def test_an_import_says_how_many_are_unknown(tmp_path):
    for name, more, value, text in (
        ("some", {"success": None}, True, " (4 unknown)"),
        ("all", {"success": None, "everywhere": True}, False, "success: unknown"),
    ):
        run = _run(tmp_path / name, **more)
        file, _ = export_run(run, tmp_path / f"{name}.jsonl", "jsonl")
        told = json.loads(actfocus("import", "auto", file, "--out", tmp_path / f"{name}-1", "--json").stdout)
        assert (told["success"] is not None) == value and told["success_unknown"] == (4 if value else 36)
        assert text in actfocus("import", "auto", file, "--out", tmp_path / f"{name}-2").stdout


def test_a_report_says_unknown(tmp_path):
    page, _ = render(_run(tmp_path / "r", success=None), 0)
    assert "(4 unknown)" in page and "the success of 4." in page and ">nan<" not in page.lower()
    page, _ = render(_run(tmp_path / "s", success=None, everywhere=True), 0)
    assert "success unknown; " in page and "0.0% successful" not in page
    page, _ = render(_run(tmp_path / "t", success=None, reward=NAN, everywhere=True), 0)
    assert "the return of 36 rollouts, the success of 36." in page


def test_a_trajectory_says_unknown():
    t = trajectories(seed=4)[0]
    told = facts(replace(t, success=None, reward=NAN))
    assert "return unknown, success unknown" in told and "failure" not in told
    assert ", failure," in facts(replace(t, success=False)) and ", success," in facts(replace(t, success=True))


def test_metrics_leave_unknown_ones_out_and_count_them():
    ts = trajectories(seed=4)
    row = metrics.of_rollouts(ts, ts)
    assert "success/unknown" not in row and "reward/unknown" not in row
    some = [replace(t, success=None, reward=NAN) if k < 4 else t for k, t in enumerate(ts)]
    row = metrics.of_rollouts(some, some)
    assert row["success/unknown"] == row["reward/unknown"] == 4 and np.isfinite([*row.values()]).all()
    assert row["success/rate"] == np.mean([t.success for t in ts[4:]])
    assert row["reward/return"] == pytest.approx(np.mean([t.ret for t in ts[4:]]))
    none = [replace(t, success=None, reward=NAN) for t in ts]
    assert not {"success/rate", "reward/return", "reward/reward"} & set(metrics.of_rollouts(none, none))


def test_metrics_count_each_rollout_once_and_the_tokens_in_the_loss():
    ts = trajectories(seed=4)
    again = [replace(ts[0], id="more", rollout_id=ts[0].id, segment=1, parent=(0, len(ts[0])))]
    judge = [replace(ts[0], id="judge", trainable=False, reward=9.0, agent="judge")]
    row, more = metrics.of_rollouts(ts, ts), metrics.of_rollouts([*again, *judge, *ts], [*again, *judge, *ts])
    same = (
        "reward/return",
        "success/rate",
        "groups/return_std",
        "groups/total",
        "groups/zero_spread",
        "tokens/trained",
    )
    assert {name: row[name] for name in same} == {name: more[name] for name in same}


def test_the_doctor_asks_no_reward_of_a_judge(tmp_path):
    run = _run(tmp_path / "r", trainable=False, reward=NAN, agent="judge")
    assert "reward-nan" not in {f.check for f in diagnose(run).findings}
    run = _run(tmp_path / "s", reward=NAN)
    assert "reward-nan" in {f.check for f in diagnose(run).findings}


def test_the_rest_of_a_solution_is_unknown_after_an_unknown_end():
    assert _AFTER_EPISODE[True] == 0 and _AFTER_EPISODE[False] == UNSOLVED and np.isnan(_AFTER_EPISODE[None])
