"""Files of lessons: every error names file and line, and nothing in a file is executed."""

import pytest

from actfocus_core.errors import ActFocusError
from actfocus_studio.pages.learn.lessons import Choice, Comparison, load_lessons

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


def test_there_are_eight_built_in_lessons_and_others_follow(tmp_path):
    built_in = load_lessons()
    assert len(built_in) == 8 and all(1 <= lesson.minutes <= 3 for lesson in built_in.values())
    both = loaded(GOOD, tmp_path)
    assert list(both) == [*built_in, "mine"]
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
        ("- name: mine", "- name: My Lesson", 1, "name must consist of lower-case letters"),
        ("- name: mine", "- name: energy", 1, "another lesson has that name"),
        ("  title: My lesson\n", "", 1, "lacks the field title"),
        ("  title: My lesson", "  titel: My lesson", 2, "has a field 'titel'; it may have name, title"),
        ("  title: My lesson", "  title: [a]", 2, "title must be a text"),
        ("- say: Choose", "- say:", 14, "say must be a text"),
        ("tab: tune", "tab: nowhere", 8, "tab is nowhere, which is not valid"),
        ("alpha: 0.25", "alpha: 7", 8, "alpha is 7, which"),
        ("alpha: 0.25", "alpha: .nan", 8, "alpha is .nan, which"),
        ("alpha: 0.25", "lesson: x", 8, "has a field 'lesson'"),
        ("pin: action", "pin: verb", 9, "pin is verb; it must be one of action"),
        ("number: action_share", "number: luck", 11, "names the unknown fact 'luck'"),
        ("within: 3", "within: -1", 12, "within is -1; it must be a number from 0"),
        ("It is {action_share}", "It is {answer}", 13, "names the unknown fact 'answer'"),
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
