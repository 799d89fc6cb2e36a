"""An update replayed in the What-if panel, and walked through step by step: the numbers are those of the stored answer."""

import re
import shutil

import numpy as np
import pytest
from playwright.sync_api import expect
from safetensors.torch import load_file, save_file

from actfocus_core.counterfactual import store
from actfocus_core.counterfactual.walkthrough import walkthrough
from tests.app.pages import LONG_MS, plain
from tests.app.sample import interesting_trajectory

pytestmark = pytest.mark.browser

SCHEMES = ["uniform", "actfocus"]
MORE, LESS = [33, 102, 172], [179, 88, 6]
"""The colours of a token that became likelier and of one that became less likely."""
COLOURS = "nodes => nodes.map((node) => node.style.backgroundColor)"


def colour(text: str) -> tuple[list[float], float]:
    """Red, green and blue of a style's colour, and its opacity."""
    numbers = [float(x) for x in re.findall(r"[\d.]+", text)]
    return numbers[:3], numbers[3] if len(numbers) > 3 else 1.0


def answer(app, run):
    """The stored answer that the panel shows, once it is whole."""
    app.whatif.expect_answer()
    app.page.wait_for_url(re.compile(r"whatif=replay-[0-9a-f]{12}"))
    return store.load(run, app.parameters()["whatif"])


def change_of(what, id: str) -> dict[str, np.ndarray]:
    """The change of the log-probability of every token of a trajectory, for each scheme."""
    t = next(t for t in what.trajectories if t.id == id)
    return {s: t.signals[f"logprob_after:{s}"] - t.signals["logprob_before"] for s in SCHEMES}


def test_an_update_is_replayed_from_tune(app, sampled_run):
    id = interesting_trajectory(sampled_run)
    panel = app.open(f"tab=tune&run=sampled-lake&trajectory={id}").whatif
    app.tune.replay()
    panel.ready()
    expect(panel.root).to_contain_text("not trained")
    panel.field("Groups").select_option("1")
    panel.start("Replay")
    what = answer(app, sampled_run)
    for row, update in zip(panel.updates.all(), what.result["updates"], strict=True):
        expect(row).to_contain_text(f"{update['gradient_norm']:.3f}")
        expect(row).to_contain_text(f"{update['update_norm']:.3f}")
    assert f"have cosine {what.result['cosine_update'][0][1]:.2f}" in plain(panel.root.text_content())
    expect(panel.root).to_contain_text("a fresh optimiser")
    # The colours are the stored changes on one scale: the deepest that is on the page is the largest change on it.
    change = change_of(what, id)
    for k, scheme in enumerate(SCHEMES):
        colours = panel.tokens(k).evaluate_all(COLOURS)
        for i in (int(np.nanargmax(change[scheme])), int(np.nanargmin(change[scheme]))):
            rgb, opacity = colour(colours[i])
            assert rgb == (MORE if change[scheme][i] > 0 else LESS)
            top = float(plain(panel.answer.locator(".af-ramp-end").last.text_content()).removeprefix("≥ +"))
            assert opacity == pytest.approx(0.75 * min(abs(change[scheme][i]) / top, 1), abs=0.05 * opacity + 0.01)
    # The third pane is their difference.
    difference = change["actfocus"] - change["uniform"]
    colours = panel.tokens(2).evaluate_all(COLOURS)
    for i in np.argsort(-np.abs(np.nan_to_num(difference)))[:5]:
        assert colour(colours[i])[0] == (MORE if difference[i] > 0 else LESS)
    t = next(t for t in what.trajectories if t.id == id)
    i = int(np.flatnonzero(t.kinds == 4)[0])
    panel.token(0, i).hover()
    before, after = t.signals["logprob_before"][i], t.signals["logprob_after:uniform"][i]
    expect(panel.readout).to_contain_text(f"{before:.3f} → {after:.3f}".replace("-", "−"))
    app.press("Escape")
    expect(panel.root).to_be_hidden()
    app.expect_address(whatif=None)


@pytest.fixture(scope="module")
def replayed(sampled_run):
    """A stored replay of one group of the sampled run."""
    from actfocus_core.counterfactual.replay import replay

    id = interesting_trajectory(sampled_run)
    what = replay(sampled_run, 0, SCHEMES, fresh=True, groups=[sampled_run.trajectory(id).group])
    store.store(sampled_run, what)
    return id, what


def test_one_update_is_walked_through_by_key(app, replayed):
    id, what = replayed
    panel = app.open(f"run=sampled-lake&trajectory={id}&whatif={what.id}").whatif
    panel.answer.get_by_role("button", name="ActFocus", exact=True).click()
    steps = walkthrough(what, id, "actfocus")
    panel.expect_stage(0)
    expect(panel.stages).to_have_count(len(steps))
    panel.root.get_by_role("heading", name="What if").focus()
    for n in range(5):
        app.press("ArrowRight")
        panel.expect_stage(n + 1)
    expect(panel.sentence).to_contain_text("6. Weights.")
    t = next(t for t in what.trajectories if t.id == id)
    i = int(np.flatnonzero(t.kinds == 4)[0])
    expect(panel.chain).to_contain_text(f"w = {steps['weights']['values'][i]:.3f}")
    expect(panel.chain).to_contain_text(f"z = {steps['z']['values'][i]:.2f}".replace("-", "−"))
    app.press("ArrowLeft")
    panel.expect_stage(4)
    # The address leads back to the step.
    app.expect_address(whatif=what.id, motion="actfocus", stage=4)
    app.page.emulate_media(reduced_motion="reduce")
    app.reload()
    panel.expect_stage(4)
    # Without motion the colours of a step are there at once.
    app.press("End")
    panel.expect_stage(8)
    change = np.array(steps["logprobs"]["change"], float)
    colours = panel.tokens(0).evaluate_all(COLOURS)
    for i in (int(np.nanargmax(change)), int(np.nanargmin(change))):
        rgb, opacity = colour(colours[i])
        assert rgb == (MORE if change[i] > 0 else LESS)
        assert opacity == pytest.approx(0.75 * abs(change[i]) / np.nanmax(np.abs(change)), abs=0.01)


@pytest.fixture(scope="module")
def trained(runs_dir):
    """A run of two training steps with all its checkpoints."""
    from actfocus_core.train import TrainConfig, train

    return train(
        TrainConfig.of(
            prompts=2,
            rollouts=4,
            minibatch=4,
            eval_every=0,
            lr=3e-4,
            mass_every=0,
            steps=2,
            scheme="actfocus",
            scheme_params={"alpha": 0.2},
            device="cpu",
            env_options={"max_turns": 3},
            seed=1,
        ),
        runs_dir / "trained",
    )


def test_a_trained_runs_own_scheme_arrives_at_its_stored_checkpoint(app, trained):
    panel = app.open("run=trained&step=2&alpha=0.7&whatif=replay").whatif
    expect(panel.root).to_contain_text("ActFocus, it reproduces the next checkpoint")
    expect(panel.field("Step").locator("option")).to_have_text(["step 1", "step 2"])
    expect(panel.field("Step")).to_have_value("2")
    expect(panel.root.get_by_label("ActFocus (this run’s scheme)")).to_be_checked()
    panel.start("Replay")
    what = answer(app, trained)
    other, own = what.result["updates"]
    # The run's own parameters and not the sidebar's, from the checkpoint of step 1 to that of step 2.
    assert (other["scheme"], own["scheme"], own["own"], own["params"]) == ("uniform", "actfocus", True, {"alpha": 0.2})
    assert what.request["step"] == 2 and own["reproduced"] <= 1e-6 and what.result["badges"] == []
    expect(panel.sentence).to_contain_text("ActFocus, this run’s scheme, reproduces the next checkpoint: ")
    same = "all parameters are equal" if own["reproduced"] == 0 else "the largest difference of a parameter is"
    expect(panel.sentence).to_contain_text(same)
    expect(panel.answer.get_by_role("columnheader").last).to_have_text("off checkpoint")
    off = [row.get_by_role("cell").last.text_content() for row in panel.updates.all()]
    assert off == ["–", f"{own['reproduced']:.0e}".replace("0e+00", "0").replace("e-0", "e−")]
    # A checkpoint that is another one is no match: the badge says how far off, and the sentence claims nothing.
    file = trained.path / "checkpoints/step-00002/policy.safetensors"
    tensors = load_file(file)
    tensors[next(iter(tensors))].view(-1)[0] += 0.5
    save_file(tensors, file, {"format": "pt"})
    panel.start("Replay")
    badge = "not the update that happened: it differs from the stored checkpoint by 0.5"
    expect(panel.root).to_contain_text(badge, timeout=LONG_MS)
    expect(panel.sentence).not_to_contain_text("reproduces the next checkpoint")


def test_the_group_on_the_page_is_answered_first_and_stays(app, trained):
    """The evaluation takes a while, so that the rest comes later."""
    shutil.rmtree(trained.path / "whatif", ignore_errors=True)
    id = trained.trajectories(2)[-1].id
    panel = app.open(f"run=trained&trajectory={id}&whatif=replay").whatif
    expect(panel.root).to_contain_text("it reproduces the next checkpoint")
    panel.field("Evaluation set").select_option("8")
    panel.start("Replay")
    so_far = "So far the changes of log-probability are those of the 4 trajectories of this group."
    expect(panel.sentence).to_contain_text(so_far, timeout=LONG_MS)
    expect(panel.answer.get_by_label("Trajectory", exact=True)).to_have_value(id)
    expect(panel.updates.first).to_contain_text("→ …")
    expect(panel.answer.get_by_label("Trajectory", exact=True).locator("option")).to_have_count(4)
    assert not list(trained.path.glob("whatif/*.json")), "a part is not kept"
    token = panel.panes.first.locator(".t.k4").first
    token.click()
    expect(token).to_be_focused()
    what = answer(app, trained)
    assert what.result["updates"][0]["evaluation"] and len(what.trajectories) == 8
    expect(panel.job).to_contain_text("This group after")
    expect(panel.sentence).not_to_contain_text("So far")
    expect(panel.updates.filter(has_text="…")).to_have_count(0)
    expect(panel.answer.get_by_label("Trajectory", exact=True).locator("option")).to_have_count(8)
    # The token that was gone to still has the focus.
    expect(token).to_be_focused()
