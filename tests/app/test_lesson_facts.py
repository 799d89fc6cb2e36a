"""The facts of lessons are the numbers of the loaded run, and answers are checked against them."""

import dataclasses
import json

import numpy as np
import pytest
from starlette.testclient import TestClient

from actfocus_core.counterfactual.store import WhatIf
from actfocus_core.credit import Batch, signal_stats, token_weights
from actfocus_core.runs import Run
from actfocus_core.train.control import write_status
from actfocus_core.trajectory import TokenKind
from actfocus_studio.data.view import View
from actfocus_studio.jobs.experiments import ExperimentRequest, Experiments
from actfocus_studio.main import build
from actfocus_studio.pages.learn.facts import FACTS, Loaded
from actfocus_studio.pages.learn.judge import Verdict, judge
from actfocus_studio.pages.learn.lessons import Choice, Comparison, Question, load_lessons
from actfocus_studio.server.api import API
from tests.app.sample import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("lessons") / "run", prompts=9, rollouts=4)


@pytest.fixture(scope="module")
def opened(run):
    """What a page has open: a trajectory with its first action token pinned, as (Loaded, trajectories, trajectory, token)."""
    trajectories = run.trajectories(0, "scripted")
    t = next(t for t in trajectories if (t.kinds == TokenKind.ACTION).any())
    token = int(np.flatnonzero(t.kinds == TokenKind.ACTION)[0])
    view = View(run="run", reference="scripted", step=0, trajectory=t.id, token=token, alpha=0.2, beta=0.8)
    return Loaded(run, view, lambda: Batch.of(trajectories)), trajectories, t, token


def test_facts_are_those_of_the_tokens(opened):
    x, trajectories, t, token = opened
    kinds = np.concatenate([t.kinds for t in trajectories])
    energy = np.concatenate([t.signals["ref_energy"] for t in trajectories])
    written = np.isin(kinds, (3, 4, 5))
    weights = token_weights(kinds, energy, 0.2, 0.8)
    expected = {
        "turns": len(t.turn_records),
        "tokens": len(t),
        "written": np.isin(t.kinds, (3, 4, 5)).sum(),
        "return": t.reward + t.penalty,
        "rollouts": 36,
        "groups": 9,
        "success": 100 * np.mean([t.success for t in trajectories]),
        "action_share": 100 * (kinds == 4).sum() / written.sum(),
        "reasoning_share": 100 * (kinds == 3).sum() / written.sum(),
        "format_share": 100 * (kinds == 5).sum() / written.sum(),
        "action_mass": 100 * weights[kinds == 4].sum() / weights.sum(),
        "reasoning_mass": 100 * weights[kinds == 3].sum() / weights.sum(),
        "action_mass_uniform": 100 * (kinds == 4).sum() / written.sum(),
        "effective_tokens": weights.sum(dtype=float) ** 2 / (weights.astype(float) ** 2).sum(),
        "response_tokens": written.sum(),
        "energy_action": energy[kinds == 4].mean(),
        "energy_reasoning": energy[kinds == 3].mean(),
        "energy_spread": energy[kinds == 4].std(),
        "token_energy": t.signals["ref_energy"][token],
        "token_entropy": t.signals["ref_entropy"][token],
        "token_top": 70,
        "token_weight": token_weights(t.kinds, t.signals["ref_energy"], 0.2, 0.8, stats=signal_stats(kinds, energy))[
            token
        ],
    }
    for name, value in expected.items():
        assert FACTS[name].value(x) == pytest.approx(float(value), rel=1e-5), name
    spread = [np.ptp([t.ret for t in trajectories if t.group == g]) == 0 for g in {t.group for t in trajectories}]
    assert FACTS["zero_spread"].value(x) == pytest.approx(100 * np.mean(spread))
    assert (
        FACTS["action_mass_uniform"].value(x)
        < FACTS["action_mass_role"].value(x)
        < FACTS["action_mass_actfocus"].value(x)
    )


@pytest.mark.parametrize("pushed", [1.0, 0.0])
def test_facts_of_an_update_are_those_of_its_tokens(opened, pushed):
    x, _, t, _ = opened
    rng, written = np.random.default_rng(2), np.isin(t.kinds, (3, 4, 5))
    change, weight = rng.normal(size=len(t)), rng.random(len(t))
    blank = np.where(written, 1.0, np.nan)
    signals = {
        "logprob_before": -blank,
        "logprob_after:actfocus": change * blank - 1,
        "weight:actfocus": weight * blank,
        "advantage:actfocus": -0.5 * pushed * blank,
    }
    what = WhatIf(
        "replay",
        {},
        {"updates": [{"scheme": "actfocus", "signal": None, "divisors": {t.id: 4.0}}]},
        [dataclasses.replace(t, signals={name: v.astype(np.float32) for name, v in signals.items()})],
    )
    moving = Loaded(x.run, x.view.model_copy(update={"motion": "actfocus"}), lambda: None, whatif=lambda: what)
    for kind, name in ((4, "moved_action"), (3, "moved_reasoning")):
        assert FACTS[name].value(moving) == pytest.approx(change[t.kinds == kind].mean(), abs=1e-6)
    # Its advantage is negative: who moved up went against the push.
    assert FACTS["moved_against"].value(moving) == (
        pytest.approx(100 * (change[written] > 0).mean()) if pushed else None
    )
    assert (
        FACTS["moved_action"].value(x) is None
        and FACTS["moved_action"].value(
            Loaded(x.run, x.view.model_copy(update={"motion": "uniform"}), lambda: None, whatif=lambda: what)
        )
        is None
    )


def test_what_cannot_be_known_is_none_and_reads_unavailable(opened, tmp_path):
    x = opened[0]
    for name in ("score_actfocus", "race_uniform"):
        assert FACTS[name].value(x) is None
    unscored = make_run(tmp_path / "unscored", prompts=2, scored=False)
    bare = Loaded(unscored, View(run="unscored", step=0), lambda: Batch.of(unscored.trajectories(0)))
    known = {name for name, fact in FACTS.items() if fact.value(bare) is not None}
    assert known >= {"rollouts", "action_share", "success"} and not known & {
        "token_energy",
        "energy_action",
        "action_mass",
        "turns",
    }
    question = Question(
        "?", "Energy {energy_action}.", (Choice("a", (Comparison("energy_action", ">", 0.0),)), Choice("b", None))
    )
    result = judge(question, 0, bare)
    assert result.correct is None and result.text == "Energy unavailable."
    assert "mean energy of action tokens" in result.why


def test_an_answer_is_checked_against_the_numbers(opened):
    x, share = opened[0], FACTS["action_share"].value(opened[0])
    number = Question("?", "{action_share}", number="action_share", within=2)
    right = [judge(number, share + d, x).correct for d in (0, 1.9, -1.9, 2.1, -2.1)]
    assert right == [True, True, True, False, False]
    assert judge(number, 0, x).text == f"{share:.1f} %"
    choices = Question(
        "?",
        "-",
        (
            Choice("high", (Comparison("action_share", ">", share - 1), Comparison("action_share", "<", share + 1))),
            Choice("other", None),
        ),
    )
    assert judge(choices, 0, x) == Verdict(correct=True, right=[0], text="-", why="")
    assert [judge(choices, answer, x).correct for answer in (1, -1, 0.5, 7)] == [False] * 4
    flipped = dataclasses.replace(
        choices, choices=(Choice("high", (Comparison("action_share", ">", share + 1),)), Choice("other", None))
    )
    assert judge(flipped, 1, x).right == [1]
    fixed = dataclasses.replace(choices, choices=(Choice("no", None), Choice("yes", ()), Choice("neither", None)))
    assert judge(fixed, 1, x).right == [1]


@pytest.fixture(scope="module")
def client(run, tmp_path_factory):
    return TestClient(build([run.path], tmp_path_factory.mktemp("runs")).app())


def reveal(client, opened, answer, **view):
    _, _, t, token = opened
    place = {"run": "run", "reference": "scripted", "step": 0, "trajectory": t.id, "token": token}
    lesson = {"lesson": "uniform", "lesson_step": 0}
    return client.post(f"{API}/learn/reveal", json={"view": place | lesson | view, "answer": answer})


def test_the_page_s_answer_is_checked_under_its_view(client, opened):
    share = FACTS["action_share"].value(opened[0])
    right, wrong = (reveal(client, opened, share + d).json() for d in (1, 30))
    assert right["correct"] and not wrong["correct"] and f"{share:.1f} %" in right["text"] == wrong["text"]
    assert reveal(client, opened, share, step=7).json()["correct"] is None, "no such step: unavailable"


@pytest.mark.parametrize("answer", [None, "7", True, [20.0], {}, float("nan"), 10**400])
def test_what_is_no_number_is_no_answer(client, opened, answer):
    body = json.dumps({"view": {"lesson": "uniform"}, "answer": answer})
    told = client.post(f"{API}/learn/reveal", content=body, headers={"Content-Type": "application/json"})
    assert told.status_code == 422 and "answer: Input should be a" in told.json()["error"]


@pytest.mark.parametrize(
    ("view", "says"),
    [
        ({"lesson": "../x"}, "there is no lesson \u201c../x\u201d here; choose one from the list"),
        ({"lesson_step": 99}, "this step of the lesson has no question; reload the page"),
        ({"run": "/etc"}, "there is no run"),
    ],
)
def test_questions_that_do_not_exist_are_one_line(client, opened, view, says):
    told = reveal(client, opened, 1, **view)
    assert told.status_code == 422 and says in told.json()["error"]


def test_every_question_can_be_answered_on_the_example_run():
    """On the default run every question has one correct answer, except those that need an experiment or an update."""
    from actfocus_core.paths import assets
    from actfocus_core.runs import Run

    run = Run.open(assets() / "runs" / "frozen-lake")
    trajectories = run.trajectories(0, "tiny")
    t = trajectories[0]
    token = int(np.flatnonzero(t.kinds == TokenKind.ACTION)[0])
    x = Loaded(
        run, View(run=run.name, reference="tiny", step=0, trajectory=t.id, token=token), lambda: Batch.of(trajectories)
    )
    for lesson in load_lessons().values():
        for step in lesson.steps:
            result = judge(step.question, 0, x) if step.question else None
            if result and lesson.name != "train" and step.view.get("stage") != 8:
                assert result.correct is not None and "unavailable" not in result.text, (lesson.name, result)
                assert len(result.right) == (0 if step.question.number else 1), (lesson.name, result)


def test_an_experiment_has_its_last_evaluations_once_all_finished_runs_have_some(tmp_path):
    asked = ExperimentRequest("FrozenLake, deterministic", "grpo", ["uniform", "actfocus"], 2, "30 seconds")
    last = {"race-1-uniform-s0": 0.5, "race-1-uniform-s1": 0.75, "race-1-actfocus-s0": 0.25, "race-1-actfocus-s1": 0.5}
    experiments = Experiments(tmp_path)
    experiments.folder.mkdir(parents=True)
    runs = [{"name": name, "scheme": name.split("-")[2], "seed": int(name[-1])} for name in last]
    (experiments.folder / "race-1.json").write_text(
        json.dumps({"id": "race-1", "made": 0.0, "request": dataclasses.asdict(asked), "steps": 2, "runs": runs})
    )
    made = [Run.create(tmp_path / name, {"command": "train"}) for name in last]
    for run in made:
        run.log({"step": 0, "eval/t1/success": 0.1})
        run.log({"step": 1, "success/rate": 0.9})
        write_status(run.path, state="finished" if run is not made[-1] else "stopped", step=2, elapsed=1.0)
    loaded = Loaded(None, View(race="race-1"), lambda: None, experiments)
    assert FACTS["race_uniform"].value(loaded) == pytest.approx(10)
    for run in made:
        run.log({"step": 2, "eval/t1/success": last[run.path.name]})
    assert FACTS["race_uniform"].value(loaded) == pytest.approx(62.5)
    assert FACTS["race_actfocus"].value(loaded) == pytest.approx(25), "of the finished one alone"
    assert FACTS["race_actfocus"].value(Loaded(None, View(race="none"), lambda: None, experiments)) is None
