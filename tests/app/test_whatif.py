"""The what-if panel: what it shows is what the library says, kept in the run, linked, and harmless."""

import json
import shutil
import time
from contextlib import suppress
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import numpy as np
import psutil
import pytest
from safetensors.torch import load_file, save_file

from actfocus_core.counterfactual import store as whatif
from actfocus_core.counterfactual.replay import replay as replayed
from actfocus_core.counterfactual.walkthrough import walkthrough
from actfocus_core.errors import ActFocusError
from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.data.view import View
from actfocus_studio.jobs.whatif.process import BUSY, WhatIfProcess
from actfocus_studio.panels.whatif import requests as asking
from actfocus_studio.panels.whatif.panel import Panel
from actfocus_studio.shell.requests import answer

STATE = "ActFocus.whatif.state"
PATIENCE = 180_000
SCHEMES = ["uniform", "actfocus"]


class Shared:
    """What the panel needs of a studio."""

    def __init__(self, runs_dir):
        self.catalog, self.read_only = Catalog([], runs_dir), False


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Copies of a sample run: one to write in, one whose what-ifs cannot be kept."""
    made = tmp_path_factory.mktemp("asked")
    for name in ("lake", "closed"):
        shutil.copytree(assets() / "runs" / "frozen-lake", made / name, ignore=shutil.ignore_patterns("whatif"))
    (made / "closed" / "whatif").write_text("in the way")
    return made


@pytest.fixture(scope="module")
def panel(folder):
    made = Panel(Shared(folder), WhatIfProcess())
    yield made
    made.process.close()


def told(panel, op, run="lake", **request) -> dict:
    return json.loads(answer(json.dumps({"number": 1, "op": op, "run": run, **request}), panel.handle))


def finished(panel) -> dict:
    end = time.monotonic() + PATIENCE / 1000
    while (job := told(panel, "look")["job"])["state"] == "running" and time.monotonic() < end:
        time.sleep(0.05)
    return job


def a_trajectory(run):
    """One of a group whose returns differ, with two turns at least, all of them valid."""
    index = run.index()
    spread = index.groupby("group")["return"].transform(lambda r: r.max() > r.min())
    return index[spread & (index["n_turns"] > 1) & (index["n_valid"] == index["n_turns"])].iloc[0]["id"]


REPLAY = {"kind": "replay", "schemes": SCHEMES, "match": "rate", "groups": 1, "evaluation": 0}
BRANCH = {
    "kind": "branch",
    "turn": 0,
    "token": None,
    "rollouts": 2,
    "action": None,
    "text": None,
    "same_dice": False,
    "temperature": 1.0,
    "seed": 0,
}


# --- in Python ----------------------------------------------------------------------------------


def test_the_process_answers_as_the_library_does(panel, folder):
    run = Run.open(folder / "lake")
    id = a_trajectory(run)
    assert told(panel, "start", trajectory=id, alpha=0.2, beta=1.0, **REPLAY)["job"]["state"] == "running"
    assert told(panel, "start", trajectory=id, **REPLAY)["error"] == BUSY
    job = finished(panel)
    assert (job["state"], job["kept"]) == ("done", True), job
    group = run.trajectory(id).group
    own = replayed(
        run,
        0,
        SCHEMES,
        params={"actfocus": {"alpha": 0.2, "beta": 1.0, "signal": "energy"}},
        fresh=True,
        groups=[group],
    )
    assert job["answer"] == own.id
    found = told(panel, "show", id=own.id, trajectory=id)["what"]
    assert [t["id"] for t in found["trajectories"]] == [t.id for t in own.trajectories] and found["pane"]["id"] == id
    mine = next(t for t in own.trajectories if t.id == id)
    for scheme in SCHEMES:
        change = mine.signals[f"logprob_after:{scheme}"] - mine.signals["logprob_before"]
        np.testing.assert_allclose(np.array(found["schemes"][scheme]["change"], float), change, atol=2e-5)
    # The worlds and what the oracle says of the turns are the Trace page's.
    assert found["pane"]["turns"][0]["picture"].startswith("<svg") and found["pane"]["turns"][0]["oracle"]
    walked = told(panel, "motion", id=own.id, trajectory=id, scheme="actfocus")["motion"]
    weights = np.array(walked["steps"]["weights"]["values"], float)
    np.testing.assert_allclose(weights, mine.signals["weight:actfocus"], atol=1e-6)
    assert [row["id"] for row in told(panel, "list")["list"]] == [own.id]
    assert "no scheme 'empg'" in told(panel, "motion", id=own.id, trajectory=id, scheme="empg")["error"]


def test_what_cannot_be_kept_is_shown_and_said(panel, folder):
    run = Run.open(folder / "closed")
    told(panel, "start", run="closed", trajectory=a_trajectory(run), **BRANCH)
    job = finished(panel)
    assert (job["state"], job["kept"]) == ("done", False), job
    what = told(panel, "show", run="closed", id=job["answer"])["what"]
    assert not what["kept"] and len(what["outcomes"]) == 2 and what["original"]["id"] == a_trajectory(run)
    assert [(row["id"], row["kept"]) for row in told(panel, "list", run="closed")["list"]] == [(job["answer"], False)]
    assert (folder / "closed" / "whatif").read_text() == "in the way"
    assert "has no what-if" in told(panel, "show", id=job["answer"])["error"]


def test_cancelled_work_leaves_nothing_and_the_next_is_answered(panel, folder):
    id = a_trajectory(Run.open(folder / "lake"))
    before = set((folder / "lake").rglob("*"))
    told(panel, "start", trajectory=id, **BRANCH | {"rollouts": 64})
    assert told(panel, "cancel")["job"]["state"] == "cancelled"
    assert set((folder / "lake").rglob("*")) == before
    told(panel, "start", trajectory=id, **BRANCH | {"action": "Fly"})
    job = finished(panel)
    assert job["state"] == "failed" and "'Fly': is not one of frozen_lake; legal now: " in job["message"]


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"op": "rm"}, "unknown"),
        ({"op": None}, "unknown"),
        ({"op": "show", "id": "../run"}, "is none"),
        ({"op": "show", "id": ["x"]}, "is none"),
        ({"op": "show", "id": "replay-000000000000"}, "has no what-if"),
        ({"op": "start", "kind": "rm"}, "kind"),
        ({"op": "start", "kind": []}, "kind"),
        ({"op": "start", **REPLAY, "schemes": ["magic"]}, "schemes"),
        ({"op": "start", **REPLAY, "schemes": [["uniform"]]}, "schemes"),
        ({"op": "start", **REPLAY, "schemes": []}, "schemes"),
        ({"op": "start", **REPLAY, "schemes": ["uniform"] * 2}, "schemes"),
        ({"op": "start", **REPLAY, "match": "lr"}, "match"),
        ({"op": "start", **REPLAY, "groups": True}, "groups"),
        ({"op": "start", **REPLAY, "groups": 7}, "groups"),
        ({"op": "start", **REPLAY, "evaluation": 1000}, "evaluation"),
        ({"op": "start", **BRANCH, "rollouts": 65}, "rollouts"),
        ({"op": "start", **BRANCH, "turn": -1}, "turn"),
        ({"op": "start", **BRANCH, "turn": 99}, "turn"),
        ({"op": "start", **BRANCH, "token": 10**9}, "token"),
        ({"op": "start", **BRANCH, "temperature": 1e999}, "temperature"),
        ({"op": "start", **BRANCH, "text": "x" * 5000}, "text"),
        ({"op": "start", "kind": "edit", "turn": 0}, "text"),
        ({"op": "start", "kind": "edit", "text": "x", "first": 0, "end": "5"}, "end"),
        ({"op": "facts", "run": "../.."}, "no run"),
    ],
)
def test_a_bad_request_gives_one_clear_line(panel, request_, says):
    found = told(panel, **{"op": None, **request_})
    assert set(found) == {"error", "number"} and says in found["error"] and "\n" not in found["error"]


def test_of_a_trained_run_a_step_is_replayed_with_its_own_parameters(folder):
    run = Run.create(
        folder / "trained", {"command": "train", "model": "tiny", "scheme": "actfocus", "scheme_params": {"alpha": 0.3}}
    )
    lake = Run.open(folder / "lake")
    batch = lake.trajectories(0)[:8]
    for step in (1, 2, 3, 4):
        run.add_trajectories(step, [replace(t, id=f"{step}-{t.id}", step=step) for t in batch])
    for step in (2, 3):
        (run.path / "checkpoints" / f"step-{step:05d}").mkdir(parents=True)
    assert asking.steps(run) == [1, 3, 4]
    t, view = run.trajectories(3)[0], View(alpha=0.9)
    facts = asking.facts(run, t)
    assert (facts["trained"], facts["own"], facts["steps"]) == (True, "actfocus", [1, 3, 4])
    made = asking.replay(run, view, {**REPLAY, "step": 3}, t)
    # The run's own scheme keeps the run's parameters: the sidebar's are for the others.
    assert made == {"schemes": SCHEMES, "match": "rate", "evaluation": 0, "params": {}, "step": 3, "look": t.id}
    assert asking.replay(lake, view, REPLAY, lake.trajectories(0)[0])["params"]["actfocus"]["alpha"] == 0.9
    with pytest.raises(ActFocusError, match="has no step 9"):
        asking.replay(run, view, {**REPLAY, "step": 9}, t)


def test_a_run_whose_policy_is_not_here_says_so(panel, folder):
    from tests.app.sample import make_run

    run = make_run(folder / "scripted", prompts=1, rollouts=2)
    facts = told(panel, "facts", run="scripted")["facts"]
    assert facts["model"] is None and "“scripted” is not here" in facts["why"]
    assert (
        "“scripted” is not here"
        in told(panel, "start", run="scripted", trajectory=run.index()["id"][0], **REPLAY)["error"]
    )


# --- in a browser -------------------------------------------------------------------------------


browser = pytest.mark.browser


@pytest.fixture(scope="module")
def asked(studio, runs_dir):
    """A run of the browser's studio that was really sampled."""
    path = runs_dir / "asked"
    if not path.exists():
        shutil.copytree(assets() / "runs" / "frozen-lake", path, ignore=shutil.ignore_patterns("whatif"))
    return Run.open(path)


def opened(page, studio, asked, more=""):
    page.set_default_timeout(PATIENCE)  # Nothing is asserted about seconds: a busy machine is no failure.
    page.goto(f"{studio}/?run=asked&trajectory={a_trajectory(asked)}{more}")
    page.wait_for_function("window.ActFocus && ActFocus.trace && ActFocus.trace.state.model")
    return a_trajectory(asked)


def answered(page):
    page.wait_for_function(
        f"({STATE}.what && !{STATE}.what.result.so_far) || ({STATE}.state && {STATE}.state.state === 'failed')"
    )
    return page.evaluate(f"{STATE}.what.id")


@browser
def test_an_update_is_replayed_from_tune_and_walked_through_in_slow_motion(page, studio, asked):
    id = opened(page, studio, asked)
    page.get_by_role("tab", name="Tune").click()
    page.get_by_role("button", name="Replay …").click()
    panel = page.get_by_role("dialog", name="What if")
    panel.get_by_text("never trained").wait_for()
    panel.get_by_label("On", exact=True).select_option("1")
    panel.get_by_role("button", name="Replay", exact=True).click()
    what = whatif.load(asked, answered(page))
    rows = panel.locator(".af-updates tbody tr")
    for row, said in zip(what.result["updates"], rows.all_text_contents(), strict=True):
        assert f"{row['gradient_norm']:.3f}" in said and f"{row['update_norm']:.3f}" in said
    assert f"have cosine {what.result['cosine_update'][0][1]:.2f}".replace("-", "−") in panel.text_content()
    assert "a fresh optimiser" in panel.text_content()
    # The colours are the stored changes, on one scale.
    mine = next(t for t in what.trajectories if t.id == id)
    change = {s: mine.signals[f"logprob_after:{s}"] - mine.signals["logprob_before"] for s in SCHEMES}
    top = page.evaluate(f"{STATE}.what.top")
    for k, scheme in enumerate(SCHEMES):
        for i in (int(np.nanargmax(change[scheme])), int(np.nanargmin(change[scheme]))):
            colour = page.evaluate(f"{STATE}.group.panes[{k}].view.spans[{i}].style.backgroundColor")
            numbers = [float(x) for x in colour.removeprefix("rgba(").removesuffix(")").split(",")]
            assert numbers[:3] == ([33, 102, 172] if change[scheme][i] > 0 else [179, 88, 6])
            assert numbers[3] == pytest.approx(0.75 * min(abs(change[scheme][i]) / top, 1), abs=0.004)
    difference = page.evaluate(f"Array.from({STATE}.group.panes[2].model.signed)")
    np.testing.assert_allclose(
        np.array(difference, float)[mine.response_mask],
        (change["actfocus"] - change["uniform"])[mine.response_mask],
        atol=1e-6,
    )
    token = panel.locator(".af-pane").first.locator(".t.k4").first
    i = int(token.get_attribute("data-i"))
    token.hover()
    assert (
        f"{mine.signals['logprob_before'][i]:.3f} → {mine.signals['logprob_after:uniform'][i]:.3f}".replace("-", "−")
        in panel.locator(".af-readout").text_content()
    )
    # Slow motion: by key, with its numbers, and the address leads back to the step.
    panel.locator(".af-picker").get_by_role("button", name="ActFocus").click()
    page.wait_for_function(f"{STATE}.motion && {STATE}.motion.done")
    steps = walkthrough(what, id, "actfocus")
    assert page.evaluate("Array.from(ActFocus.motion.STAGES)") == list(steps)
    page.locator(".af-whatif h2").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(f"{STATE}.motion.stage === 5 && {STATE}.motion.done")
    assert "6. Weights." in panel.locator(".af-answer .af-sentence").text_content()
    first = int(np.flatnonzero(mine.kinds == 4)[0])
    assert f"w = {steps['weights']['values'][first]:.3f}" in panel.locator(".af-chain").text_content()
    assert f"z = {steps['z']['values'][first]:.2f}".replace("-", "−") in panel.locator(".af-chain").text_content()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"{STATE}.motion.stage === 4")
    page.wait_for_url("**stage=4**")
    query = parse_qs(urlsplit(page.url).query)
    assert (query["whatif"], query["motion"]) == ([what.id], ["actfocus"])
    page.emulate_media(reduced_motion="reduce")
    page.reload()
    page.wait_for_function(f"window.ActFocus && ActFocus.whatif && {STATE}.motion && {STATE}.motion.stage === 4")
    # Without motion a step stands there at once.
    assert page.evaluate(f"(ActFocus.motion.go({STATE}.motion, 8), {STATE}.motion.done)")
    shown = np.array(page.evaluate(f"Array.from({STATE}.motion.pane.model.signed)"))
    moved = np.array(steps["logprobs"]["change"], float)
    np.testing.assert_allclose(
        shown[mine.response_mask], (moved / np.nanmax(np.abs(moved)))[mine.response_mask], atol=1e-6
    )
    page.keyboard.press("Escape")
    assert panel.is_hidden() and page.locator(".af-whatif").count() == 1
    page.wait_for_function("!new URLSearchParams(location.search).get('whatif')")


@browser
def test_a_turn_is_branched_and_each_outcome_opens(page, studio, asked):
    id = opened(page, studio, asked)
    page.keyboard.press("w")
    panel = page.get_by_role("dialog", name="What if")
    panel.get_by_label("Then").select_option("action")
    panel.get_by_label("Action").fill("Left || Up")
    panel.get_by_label("How often").fill("4")
    panel.get_by_role("button", name="Branch", exact=True).click()
    what = whatif.load(asked, answered(page))
    assert (what.request["trajectory"], what.request["turn"], what.request["action"]) == (id, 0, "Left || Up")
    assert all(
        "".join(x for x, k, t in zip(o.texts, o.kinds, o.turns) if k == 4 and t == 0) == "Left || Up"
        for o in what.trajectories
    )
    said = panel.text_content()
    to_go = what.result["to_go"]
    assert (
        f"4 times: mean return from there {to_go['mean']:.2f} [{to_go['low']:.2f}, {to_go['high']:.2f}]".replace(
            "-", "−"
        )
        in said
    )
    assert f"Perfect play is worth {what.result['optimal']['value']:.2f} here" in said
    first = panel.locator(".af-branch").first.text_content()
    node = what.result["tree"][0]
    assert f"{node['count']} of 4" in first and f"oracle {node['optimal']['turn']:.2f}".replace("-", "−") in first
    # Every outcome opens as a trajectory beside the stored one, which stays.
    for outcome in what.trajectories[:3]:
        number = int(outcome.id.split("~")[1]) + 1
        panel.get_by_label(f"Open branch {number}", exact=True).first.click()
        page.wait_for_function(f"{STATE}.what.outcome.id === {json.dumps(outcome.id)}")
        assert page.evaluate(f"{STATE}.group.panes.map((p) => p.view.spans.map((s) => s.textContent).join(''))") == [
            "".join(asked.trajectory(id).texts),
            "".join(outcome.texts),
        ]
    assert panel.locator(".af-worlds img").count() >= 4
    page.reload()
    page.wait_for_function(f"window.ActFocus && ActFocus.whatif && {STATE}.what && {STATE}.what.id === '{what.id}'")


@browser
def test_a_span_is_edited_and_the_original_stays(page, studio, asked):
    id = opened(page, studio, asked, "&whatif=edit")
    panel = page.get_by_role("dialog", name="What if")
    panel.get_by_label("What", exact=True).select_option("answer")
    panel.get_by_label("New text").fill("<img src=x onerror=window.__pwn=1>")
    panel.get_by_role("button", name="Edit and score").click()
    what = whatif.load(asked, answered(page))
    original, edited = what.trajectories
    assert original.id == id and what.request["span"] == what.result["span"]
    said = panel.text_content()
    assert "the reply now names other actions" in said and "“<img src=x onerror=window.__pwn=1>”" in said
    texts = page.evaluate(f"{STATE}.group.panes.map((p) => p.view.spans.map((s) => s.textContent).join(''))")
    assert texts == ["".join(original.texts), "".join(edited.texts)]
    for k, t in enumerate((original, edited)):
        shown = np.array(
            page.evaluate(f"Array.from({STATE}.group.panes[{k}].model.signed, (x) => Number.isNaN(x) ? null : x)"),
            float,
        )
        np.testing.assert_allclose(shown, t.signals["credit:actfocus"], rtol=1e-4, atol=1e-9)
    # A token after the edit is linked to the one it was.
    start, stop = what.result["span"]
    panel.locator(".af-pane").first.locator(f".t[data-i='{stop}']").hover()
    assert (
        page.evaluate(f"+{STATE}.group.panes[1].box.querySelector('.t.hot').dataset.i") == stop + what.result["shift"]
    )
    before, after = what.result["energy"]["span"]
    assert f"Mean energy of the span {before:.2f} → {after:.2f}".replace("-", "−") in said
    assert page.evaluate("window.__pwn") is None


@pytest.fixture(scope="module")
def trained(runs_dir):
    """A run of two steps that was just trained, with all its checkpoints."""
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


@browser
def test_a_trained_runs_own_scheme_arrives_at_its_stored_checkpoint_and_the_page_says_so(page, studio, trained):
    page.set_default_timeout(PATIENCE)
    page.goto(f"{studio}/?run=trained&step=2&alpha=0.7&whatif=replay")
    panel = page.get_by_role("dialog", name="What if")
    panel.get_by_text("ActFocus, arrives at its next checkpoint").wait_for()
    assert panel.get_by_label("Step", exact=True).locator("option").all_text_contents() == ["step 1", "step 2"]
    assert (
        panel.get_by_label("Step", exact=True).input_value() == "2"
        and panel.get_by_label("ActFocus (own)").is_checked()
    )
    panel.get_by_role("button", name="Replay", exact=True).click()
    what = whatif.load(trained, answered(page))
    other, own = what.result["updates"]
    # The run's own parameters and not the sidebar's, from the checkpoint of step 1 to that of step 2.
    assert (other["scheme"], own["scheme"], own["own"], own["params"], what.request["step"]) == (
        "uniform",
        "actfocus",
        True,
        {"alpha": 0.2},
        2,
    )
    assert own["reproduced"] <= 1e-6 and what.result["badges"] == []
    said = panel.locator(".af-answer .af-sentence").text_content()
    assert "ActFocus, the run’s own scheme, arrives at the run’s next checkpoint: " in said
    assert (
        "every number in it is the same" if own["reproduced"] == 0 else "no number in it is farther off than"
    ) in said
    rows = panel.locator(".af-updates tbody tr")
    assert panel.locator(".af-updates thead").text_content().endswith("off checkpoint")
    assert [row.locator("td").last.text_content() for row in rows.all()] == [
        "–",
        f"{own['reproduced']:.0e}".replace("0e+00", "0").replace("e-0", "e−"),
    ]
    # A checkpoint that is another one is no match: the badge says how far off, and the sentence claims nothing.
    file = trained.path / "checkpoints/step-00002/policy.safetensors"
    tensors = load_file(file)
    name = next(iter(tensors))
    tensors[name].view(-1)[0] += 0.5
    save_file(tensors, file, {"format": "pt"})
    panel.get_by_role("button", name="Replay", exact=True).click()
    panel.get_by_text("not the update that happened: it arrives 0.5 beside the stored checkpoint").wait_for()
    assert "arrives at the run’s next checkpoint" not in panel.locator(".af-answer .af-sentence").text_content()


@browser
def test_the_group_in_sight_is_answered_first_and_stays_in_sight(page, studio, trained):
    """The evaluation takes a while, so that the rest comes later."""
    page.set_default_timeout(PATIENCE)
    shutil.rmtree(trained.path / "whatif", ignore_errors=True)
    id = trained.trajectories(2)[-1].id
    page.goto(f"{studio}/?run=trained&trajectory={id}&whatif=replay")
    panel = page.get_by_role("dialog", name="What if")
    panel.get_by_text("arrives at its next checkpoint").wait_for()
    panel.get_by_label("Evaluation set").select_option("8")
    panel.get_by_role("button", name="Replay", exact=True).click()
    page.wait_for_function(f"{STATE}.what && {STATE}.what.result.so_far")
    assert page.evaluate(f"{STATE}.what.pane.id") == id and not list(trained.path.glob("whatif/*.json"))
    assert (
        "So far the changes of log-prob are those of this group’s 4 trajectories."
        in panel.locator(".af-sentence").text_content()
    )
    assert "→ …" in panel.locator(".af-updates").text_content()
    assert panel.get_by_label("Trajectory").locator("option").count() == 4
    panel.get_by_text("The rest of the batch").wait_for()
    token = panel.locator(".af-pane").first.locator(".t.k4").first
    token.click()
    page.evaluate("window.before = document.activeElement")
    assert page.evaluate("window.before.dataset.i") == token.get_attribute("data-i")
    what = whatif.load(trained, answered(page))
    assert what.result["updates"][0]["evaluation"] and len(what.trajectories) == 8
    panel.get_by_text("This group after").wait_for()
    assert (
        "So far" not in panel.locator(".af-sentence").text_content()
        and "…" not in panel.locator(".af-updates tbody").text_content()
    )
    assert panel.get_by_label("Trajectory").locator("option").count() == 8
    # What was pointed at is still there, coloured on the scale of the whole batch.
    assert page.evaluate("document.activeElement === window.before && window.before.isConnected")
    assert page.evaluate(f"{STATE}.group.panes[0].model.signedTop === {STATE}.what.top")


def breathe(met):
    """Let the process that answers work for a moment at a time until ``met()``: however fast the machine, it is found
    at work, and it stands still when this returns."""

    def workers():
        found = []
        for p in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):  # It may have ended already.
                found += [p] if "actfocus_studio.jobs.whatif.worker" in p.cmdline() else []
        return found

    end = time.monotonic() + PATIENCE / 1000
    [process.suspend() for process in workers()]
    while not met() and time.monotonic() < end:
        [process.resume() for process in workers()]
        time.sleep(0.03)
        [process.suspend() for process in workers()]
        time.sleep(0.3)


@browser
def test_the_policy_answers_again_as_often_as_asked_and_can_be_cancelled(page, studio, asked):
    id = opened(page, studio, asked, "&whatif=branch")
    panel = page.get_by_role("dialog", name="What if")
    panel.get_by_label("How often").fill("64")
    panel.get_by_label("Temperature").fill("0.9")
    kept = set(asked.path.rglob("*"))
    # Cancelled while it is worked on: it says so, nothing is kept, and the form is free again.
    cancel = panel.get_by_role("button", name="Cancel")
    breathe(lambda: True)  # Before it is asked.
    panel.get_by_role("button", name="Branch", exact=True).click()
    cancel.focus()
    held = cancel.element_handle()
    breathe(lambda: page.evaluate(f"{STATE}.state.phase") == "rollout")
    assert held.evaluate("node => node.isConnected && document.activeElement === node"), (
        "what is told changes around it"
    )
    page.keyboard.press("Enter")
    panel.get_by_text("cancelled; nothing was kept").wait_for()
    assert (
        panel.get_by_role("button", name="Branch", exact=True).is_enabled()
        and panel.get_by_role("progressbar").count() == 0
    )
    assert set(asked.path.rglob("*")) == kept and panel.locator(".af-answer[aria-busy]").count() == 0
    # The next one is answered, by a new process: the policy's own replies, as many as were asked for.
    panel.get_by_label("How often").fill("3")
    panel.get_by_role("button", name="Branch", exact=True).click()
    what = whatif.load(asked, answered(page))
    assert {
        name: what.request[name]
        for name in ("trajectory", "turn", "token", "action", "text", "temperature", "rollouts")
    } == {"trajectory": id, "turn": 0, "token": None, "action": None, "text": None, "temperature": 0.9, "rollouts": 3}
    assert (
        f"From turn 1 on, 3 times: mean return from there {what.result['to_go']['mean']:.2f}".replace("-", "−")
        in panel.text_content()
    )
    original, begin = asked.trajectory(id), int(np.flatnonzero(asked.trajectory(id).response_mask)[0])
    assert len(what.trajectories) == 3 and all(
        t.token_ids[:begin].tolist() == original.token_ids[:begin].tolist() for t in what.trajectories
    )
    counts = [
        int(text.split(" of ")[0])
        for text in panel.locator(".af-tree")
        .first.locator(":scope > li > .af-branch .af-branch-count")
        .all_text_contents()
    ]
    assert sum(counts) == 3


@browser
def test_what_the_address_says_is_checked_and_text_stays_text(page, studio, asked):
    opened(page, studio, asked, "&whatif=%3Cimg%20src%3Dx%20onerror%3Dwindow.__pwn%3D1%3E&motion=x&stage=99")
    assert page.get_by_role("dialog", name="What if").count() == 0
    page.wait_for_function("!new URLSearchParams(location.search).get('whatif')")
    page.goto(f"{studio}/?run=asked&whatif=replay-000000000000")
    page.wait_for_function("document.querySelector('.af-whatif > [role=alert]:not([hidden])')")
    assert "has no what-if 'replay-000000000000'" in page.locator(".af-whatif > [role=alert]").text_content()
    page.goto(f"{studio}/?run=hostile&whatif=branch")
    page.wait_for_function(f"window.ActFocus && ActFocus.whatif && {STATE}.facts")
    assert "is not here" in page.locator(".af-whatif-form .af-error").text_content()
    assert page.evaluate("window.__pwn") is None


@browser
@pytest.mark.parametrize("width", [420, 800])
def test_the_panel_fits_a_narrow_screen(page, studio, asked, width):
    page.set_viewport_size({"width": width, "height": 900})
    opened(page, studio, asked, "&whatif=replay")
    page.get_by_role("button", name="Replay", exact=True).wait_for()
    assert page.evaluate("document.querySelector('.af-whatif').scrollWidth") <= width
