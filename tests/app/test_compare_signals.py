"""Computing missing signals from the Compare page: reference scores and oracle values, each in a separate process."""

import shutil

import numpy as np
import pytest
from playwright.sync_api import expect

from actfocus_core.errors import ActFocusError
from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_studio.jobs.signals import Signals
from tests.app.credit import credit_of
from tests.app.pages import LONG_MS
from tests.app.sample import make_run
from tests.core.command import actfocus


@pytest.fixture(scope="module")
def plain(runs_dir):
    return Run.open(runs_dir / "plain")


@pytest.fixture
def unscored(runs_dir):
    """A run without reference scores, in the list of the studio."""
    yield make_run(runs_dir / "to-score", prompts=2, rollouts=2, scored=False)
    shutil.rmtree(runs_dir / "to-score")


@pytest.fixture
def sampled(runs_dir):
    """Rollouts of the embedded policy, scored by it, in the list of the studio."""
    sample = Run.open(assets() / "runs" / "frozen-lake")
    run = Run.create(runs_dir / "to-ask", sample.info["config"], {"name": "tiny"})
    batch = sample.trajectories(0, "tiny")[:8]
    run.add_trajectories(0, batch)
    run.annotate(0, "tiny", batch)
    yield run
    shutil.rmtree(run.path)


def test_only_what_is_in_the_lists_is_computed(plain):
    signals = Signals()
    for name in ("--help", "../m", "/etc", "Some/Model"):
        with pytest.raises(ActFocusError, match="unknown reference"):
            signals.score(plain, "plain", name)
    for name in ("--help", "../m", None, ["tiny"]):
        with pytest.raises(ActFocusError, match="unknown values"):
            signals.judge(plain, "plain", 0, name)
    assert signals.status().state == "idle"


def test_a_run_that_cannot_be_written_gives_one_line_before_any_work(tmp_path):
    run = make_run(tmp_path / "sealed", prompts=1, rollouts=2, scored=False)
    shutil.rmtree(run.path / "signals")
    (run.path / "signals").write_text("no folder")
    signals = Signals()
    for start in (lambda: signals.score(run, "sealed", "tiny"), lambda: signals.judge(run, "sealed", 0, "optimal")):
        with pytest.raises(
            ActFocusError, match=r"sealed: nothing can be stored with this run \(Not a directory\); copy"
        ):
            start()
    assert signals.status().state == "idle"
    for command in (["score", run.path], ["oracle", run.path, "--no-policy"]):
        result = actfocus(*command)
        assert (
            result.returncode == 2
            and "nothing can be stored with this run" in result.stderr
            and result.stderr.count("\n") == 1
        )


def test_what_the_run_does_not_say_cannot_be_judged(tmp_path):
    run = Run.create(tmp_path / "foreign", {"command": "import"})
    with pytest.raises(ActFocusError, match="does not state its environment"):
        Signals().judge(run, "foreign", 0, "optimal")


@pytest.mark.browser
def test_scoring_adds_what_a_scheme_lacks(app, unscored):
    app.open("run=to-score&tab=compare")
    compare, row = app.compare, app.compare.row("actfocus")
    expect(row).to_contain_text("unavailable: no energy")
    expect(compare.head(0)).to_contain_text("unavailable: no energy")
    compare.show_table()
    assert np.isnan(compare.credit("credit A")).all() and not np.isnan(compare.credit("credit B")).all()
    row.get_by_role("button", name="Score …").click()
    app.scoring.start("Score 2 groups")
    stored = "The signals of to-score were computed and stored in its folder."
    expect(compare.job).to_contain_text(stored, timeout=LONG_MS)
    expect(row).not_to_contain_text("unavailable")
    assert unscored.references() == ["tiny"]
    compare.expect_credit("credit A", credit_of(unscored, "actfocus", app.parameters()["trajectory"]))
    # Oracle values, from the row of the scheme that needs them.
    row = compare.row("oracle_optimal")
    row.get_by_role("button", name="Compute optimal values").click()
    expect(compare.scoreboards).to_have_count(1, timeout=LONG_MS)
    expect(row).not_to_contain_text("unavailable")
    expect(compare.job).to_contain_text("The signals of to-score were computed and stored in its folder.")
    expect(compare.job.get_by_role("button", name="Cancel")).to_be_hidden()
    assert unscored.annotations(0) == ["oracle-optimal"]
    # The rollouts were not sampled by a model, so policy values cannot be computed; one line gives the reason.
    compare.missing_truth.get_by_role("button", name="Compute policy values").click()
    expect(compare.job).to_contain_text("Computing signals of to-score failed: ", timeout=LONG_MS)
    expect(compare.job).to_contain_text("scripted")


@pytest.mark.browser
def test_log_probs_of_solutions_are_computed_and_can_be_cancelled(app, sampled):
    app.open("run=to-ask&tab=compare&scheme_a=a2tgpo")
    compare, row = app.compare, app.compare.row("a2tgpo")
    expect(row).to_contain_text("unavailable: no answer_logprob_before")
    compute = row.get_by_role("button", name="Compute log-probs of solutions")
    compute.click()
    compare.job.get_by_role("button", name="Cancel").click()
    expect(compare.job).to_contain_text("Computing signals of to-ask was cancelled", timeout=LONG_MS)
    assert sampled.annotations(0) == []
    # Started again and not cancelled, it completes, and the scheme has credit.
    compute.click()
    expect(compare.job).to_contain_text(
        "The signals of to-ask were computed and stored in its folder.", timeout=LONG_MS
    )
    expect(compare.job.get_by_role("button", name="Cancel")).to_be_hidden()
    expect(row).not_to_contain_text("unavailable")
    assert "oracle-answers" in sampled.annotations(0)
    compare.show_table()
    compare.expect_credit("credit A", credit_of(sampled, "a2tgpo", app.parameters()["trajectory"]))
