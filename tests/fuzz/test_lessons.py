"""Files of lessons: read, or one line with its place; nothing of a file is ever run."""

import json
import re
import tempfile
from functools import cache
from pathlib import Path

import yaml

from actfocus_studio.data.view import View
from actfocus_studio.pages.learn import lessons
from actfocus_studio.pages.learn.facts import FACTS
from tests.fuzz.cases import answered, fuzz
from tests.fuzz.damage import damaged_bytes, damaged_value

LESSON = """\
- name: mine
  title: My lesson
  steps:
    - say: First.
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
          when: action_share > reasoning_share and action_share < 20
        - text: less
      reveal: "So: {reasoning_share}"
"""
OURS = [LESSON.encode(), (lessons.BUILT_IN / "7-train.yaml").read_bytes()]
VALUES = [yaml.safe_load(text) for text in OURS]
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi")
)


@cache
def folder() -> Path:
    """Where the files lie, for as long as the process lives."""
    folder.kept = tempfile.TemporaryDirectory(prefix="actfocus-fuzz-")
    return Path(folder.kept.name)


def check(data: bytes) -> None:
    """Lessons that the page can show, or a line that names the file, mostly with the line."""
    file = folder() / "lesson.yaml"
    file.write_bytes(data)
    ours, lessons.BUILT_IN = lessons.BUILT_IN, folder() / "none"
    try:
        found = answered(lambda: lessons.load_lessons([file]))
    finally:
        lessons.BUILT_IN = ours
    for name, lesson in (found or {}).items():
        assert re.fullmatch(r"[a-z0-9-]{1,60}", name) and lesson.steps
        json.dumps(lesson.summary(), allow_nan=False)
        for step in lesson.steps:
            assert View.parse(step.view) == View(**step.view)
            facts = [step.question.number] if step.question and step.question.number else []
            assert set(facts) <= set(FACTS)


@fuzz(
    "lesson texts",
    {"data": b""},
    {"data": LAUGHS.encode()},
    {"data": b"[" * 50_000},
    {"data": b"- " * 5_000},
    {"data": b"!!python/object/apply:os.system ['true']"},
    {"data": b"&a [*a]"},
    {"data": b"? " * 3_000},
    {"data": b"{" * 20_000},
    data=lambda choices: damaged_bytes(choices, choices.pick(OURS)) if choices.below(5) else choices.bytes(40),
)
def test_any_file_is_lessons_or_one_line(data):
    check(data)


# As JSON, which is YAML.
@fuzz("lesson values", data=lambda choices: json.dumps(damaged_value(choices, choices.pick(VALUES), faults=3)).encode())
def test_any_value_in_a_lesson_is_taken_or_named(data):
    check(data)
