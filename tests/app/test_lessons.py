"""Lessons: every mistake in a file has its line, and what is revealed are the numbers of the run."""

import dataclasses
import json

import numpy as np
import pytest

from actfocus_core.counterfactual.store import WhatIf
from actfocus_core.credit import Batch, signal_stats, token_weights
from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_core.train.control import write_status
from actfocus_core.trajectory import TokenKind
from actfocus_studio.data.view import View
from actfocus_studio.jobs.experiments import ExperimentRequest, Experiments
from actfocus_studio.pages.learn.facts import FACTS, Loaded
from actfocus_studio.pages.learn.judge import judge
from actfocus_studio.pages.learn.lessons import Choice, Comparison, Question, load_lessons
from tests.app.sample import make_run

GOOD = """\
- name: mine
  title: My lesson
  steps:
    - say: |
        First.

        Second.
      view: {tab: tune, alpha: 0.25, controls: true}
      pin: action
      ask: How many?
      number: action_share
      within: 3
      reveal: It is {action_share}.
    - say: Choose
      ask: Which?
      choices:
        - text: more
          when: action_share > reasoning_share
        - text: less
      reveal: "So: {reasoning_share}"
"""


def loaded(text, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    return load_lessons([file])


def test_there_are_eight_and_a_teachers_comes_after_them(tmp_path):
    ours = load_lessons()
    assert len(ours) == 8 and all(1 <= lesson.minutes <= 3 for lesson in ours.values())
    both = loaded(GOOD, tmp_path)
    assert list(both) == [*ours, "mine"]
    first, second = both["mine"].steps
    assert first.view == {"tab": "tune", "alpha": 0.25, "controls": True} and first.pin == "action"
    assert first.say == "First.\n\nSecond." and first.question.within == 3
    assert second.question.choices == (
        Choice("more", (Comparison("action_share", ">", "reasoning_share"),)),
        Choice("less", None),
    )


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("- name: mine", "- name: My Lesson", 1, "name must be of small letters"),
        ("- name: mine", "- name: energy", 1, "another lesson has that name"),
        ("  title: My lesson\n", "", 1, "lacks the field title"),
        ("  title: My lesson", "  titel: My lesson", 2, "has a field 'titel'; it may have name, title"),
        ("  title: My lesson", "  title: [a]", 2, "title must be a text"),
        ("- say: Choose", "- say:", 14, "say must be a text"),
        ("tab: tune", "tab: nowhere", 8, "tab is nowhere, which the studio does not take"),
        ("alpha: 0.25", "alpha: 7", 8, "alpha is 7, which"),
        ("alpha: 0.25", "alpha: .nan", 8, "alpha is .nan, which"),
        ("alpha: 0.25", "lesson: x", 8, "has a field 'lesson'"),
        ("pin: action", "pin: verb", 9, "pin is verb; it must be one of action"),
        ("number: action_share", "number: luck", 11, "names the fact 'luck', which there is not"),
        ("within: 3", "within: -1", 12, "within is -1; it must be a number from 0"),
        ("It is {action_share}", "It is {answer}", 13, "names the fact 'answer'"),
        ("      ask: How many?\n", "", 10, "number belongs to a question"),
        ("      reveal: It is {action_share}.\n", "", 4, "lacks the field reveal"),
        ("action_share > reasoning_share", "action_share is big", 18, "it must be a comparison such as"),
        ("action_share > reasoning_share", "__import__('os') > 1", 18, "it must be a comparison"),
        ("        - text: less\n", "", 17, "has one choice"),
        ("          when: action_share > reasoning_share\n", "", 17, "has several without when"),
        ("pin: action", "pin: action\n      pin: action", 10, "has the field pin twice"),
        ("  title: My lesson", "  title: 'My lesson", 2, "not YAML"),
        ("  title: My lesson", "\ttitle: My lesson", 2, "not YAML"),
        ("- name: mine", "- name: !!python/object/apply:os.system [echo]", 1, "name must be a text"),
    ],
)
def test_every_mistake_is_one_line_with_its_place(old, new, line, says, tmp_path):
    assert old in GOOD
    with pytest.raises(ActFocusError) as error:
        loaded(GOOD.replace(old, new, 1), tmp_path)
    message = str(error.value)
    assert message.startswith(f"{tmp_path}/mine.yaml:{line}: ") and says in message and "\n" not in message, message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", ":1: is empty"),
        (b"just text", ":1: the file must be a list"),
        (b"\xff\xfe\xfa", "not UTF-8"),
        (b"- {name: a, title: b, steps: []}", ":1: steps must be a list of steps"),
        (b"[" * 5000, "not YAML"),
        (b"- " * 600_000, "larger than"),
        (b"a: &a [*a]", ":1: the file must be a list"),
    ],
)
def test_files_that_are_no_lessons(content, says, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(ActFocusError) as error:
        load_lessons([file])
    assert says in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ActFocusError, match="not readable"):
        load_lessons([tmp_path / "nowhere.yaml"])


# --- the numbers -------------------------------------------------------------------------------


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
    wanted = {
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
    for name, value in wanted.items():
        assert FACTS[name].value(x) == pytest.approx(float(value), rel=1e-5), name
    spread = [np.ptp([t.ret for t in trajectories if t.group == g]) == 0 for g in {t.group for t in trajectories}]
    assert FACTS["zero_spread"].value(x) == pytest.approx(100 * np.mean(spread))
    assert (
        FACTS["action_mass_uniform"].value(x)
        < FACTS["action_mass_role"].value(x)
        < FACTS["action_mass_actfocus"].value(x)
    )


@pytest.mark.parametrize("pushed", [1.0, 0.0])
def test_facts_of_an_update_in_slow_motion_are_those_of_its_tokens(opened, pushed):
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
    moving = Loaded(x.run, dataclasses.replace(x.view, motion="actfocus"), lambda: None, whatif=lambda: what)
    for kind, name in ((4, "moved_action"), (3, "moved_reasoning")):
        assert FACTS[name].value(moving) == pytest.approx(change[t.kinds == kind].mean(), abs=1e-6)
    # Its advantage is negative: who moved up went against the push.
    assert FACTS["moved_against"].value(moving) == (
        pytest.approx(100 * (change[written] > 0).mean()) if pushed else None
    )
    assert (
        FACTS["moved_action"].value(x) is None
        and FACTS["moved_action"].value(
            Loaded(x.run, dataclasses.replace(x.view, motion="uniform"), lambda: None, whatif=lambda: what)
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
    told = judge(question, 0, bare)
    assert (
        told["verdict"] is None
        and told["text"] == "Energy unavailable."
        and "mean energy of the action tokens" in told["why"]
    )


def test_a_verdict_follows_the_numbers(opened):
    x, share = opened[0], FACTS["action_share"].value(opened[0])
    number = Question("?", "{action_share}", number="action_share", within=2)
    assert [judge(number, share + d, x)["verdict"] for d in (0, 1.9, -1.9, 2.1, -2.1)] == [
        True,
        True,
        True,
        False,
        False,
    ]
    for bad in (None, "7", True, [share], float("nan")):
        assert judge(number, bad, x)["verdict"] is False
    assert judge(number, 0, x)["text"] == f"{share:.1f} %"
    choices = Question(
        "?",
        "-",
        (
            Choice("high", (Comparison("action_share", ">", share - 1), Comparison("action_share", "<", share + 1))),
            Choice("other", None),
        ),
    )
    assert judge(choices, 0, x) | {"text": ""} == {"verdict": True, "right": [0], "text": "", "why": ""}
    assert judge(choices, 1, x)["verdict"] is False
    flipped = dataclasses.replace(
        choices, choices=(Choice("high", (Comparison("action_share", ">", share + 1),)), Choice("other", None))
    )
    assert judge(flipped, 1, x)["right"] == [1]
    fixed = dataclasses.replace(choices, choices=(Choice("no", None), Choice("yes", ()), Choice("neither", None)))
    assert judge(fixed, 1, x)["right"] == [1]


def test_every_question_of_ours_can_be_answered_on_the_example_run():
    """On the run that opens by default all lessons give a verdict, with one right answer; but for what needs a race or an
    update that was taken."""
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
            told = judge(step.question, 0, x) if step.question else None
            if told and lesson.name != "train" and step.view.get("stage") != 8:
                assert told["verdict"] is not None and "unavailable" not in told["text"], (lesson.name, told)
                assert len(told["right"]) == (0 if step.question.number else 1), (lesson.name, told)


def test_a_race_tells_its_last_evaluations_once_all_of_its_runs_have_some(tmp_path):
    asked = ExperimentRequest("FrozenLake, deterministic", "grpo", ["uniform", "actfocus"], 2, "30 seconds")
    last = {"race-1-uniform-s0": 0.5, "race-1-uniform-s1": 0.75, "race-1-actfocus-s0": 0.25, "race-1-actfocus-s1": 0.5}
    races = Experiments(tmp_path)
    races.folder.mkdir(parents=True)
    runs = [{"name": name, "scheme": name.split("-")[2], "seed": int(name[-1])} for name in last]
    (races.folder / "race-1.json").write_text(
        json.dumps({"id": "race-1", "made": 0.0, "request": dataclasses.asdict(asked), "steps": 2, "runs": runs})
    )
    made = [Run.create(tmp_path / name, {"command": "train"}) for name in last]
    for run in made:
        run.log({"step": 0, "eval/t1/success": 0.1})
        run.log({"step": 1, "success/rate": 0.9})
        write_status(run.path, state="finished" if run is not made[-1] else "stopped", step=2, elapsed=1.0)
    loaded = Loaded(None, View(race="race-1"), lambda: None, races)
    assert FACTS["race_uniform"].value(loaded) == pytest.approx(10)
    for run in made:
        run.log({"step": 2, "eval/t1/success": last[run.path.name]})
    assert FACTS["race_uniform"].value(loaded) == pytest.approx(62.5)
    assert FACTS["race_actfocus"].value(loaded) == pytest.approx(25), "of the finished one alone"
    assert FACTS["race_actfocus"].value(Loaded(None, View(race="none"), lambda: None, races)) is None
