"""Files of lessons: read, or one line with its place; nothing of a file is ever run."""

import io
import json
import re
import tempfile
from functools import cache
from pathlib import Path

import yaml
from hypothesis import strategies as st

from app.learn import lessons
from app.learn.facts import FACTS
from app.url import View
from tests.fuzz.cases import answered, fuzz
from tests.fuzz.damage import damaged_bytes, damaged_values

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
OURS = [LESSON.encode(), (lessons.OURS / "7-train.yaml").read_bytes()]
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi"))


@cache
def folder() -> Path:
    """Where the files lie, for as long as the process lives."""
    folder.kept = tempfile.TemporaryDirectory(prefix="actfocus-fuzz-")
    return Path(folder.kept.name)


def check(data: bytes) -> None:
    """Lessons that the page can show, or a line that names the file, mostly with the line."""
    file = folder() / "lesson.yaml"
    file.write_bytes(data)
    ours, lessons.OURS = lessons.OURS, folder() / "none"
    try:
        found = answered(lambda: lessons.load_lessons([file]))
    finally:
        lessons.OURS = ours
    for name, lesson in (found or {}).items():
        assert re.fullmatch(r"[a-z0-9-]{1,60}", name) and lesson.steps
        json.dumps(lesson.told(), allow_nan=False)
        for step in lesson.steps:
            assert View.parse(step.view) == View(**step.view)
            facts = [step.question.number] if step.question and step.question.number else []
            assert set(facts) <= set(FACTS)


@fuzz("lesson texts", {"data": b""}, {"data": LAUGHS.encode()}, {"data": b"[" * 50_000}, {"data": b"- " * 5_000},
      {"data": b"!!python/object/apply:os.system ['true']"}, {"data": b"&a [*a]"}, {"data": b"? " * 3_000}, {"data": b"{" * 20_000},
      data=st.one_of(damaged_bytes(OURS), damaged_bytes(OURS), st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace")),
                     st.binary(max_size=60)))
def test_any_file_is_lessons_or_one_line(data):
    check(data)


def _dumped(value) -> bytes:
    """As JSON, which is YAML."""
    return json.dumps(value).encode()


@fuzz("lesson values", data=damaged_values([yaml.safe_load(io.StringIO(LESSON)), yaml.safe_load(OURS[1])], faults=3).map(_dumped))
def test_any_value_in_a_lesson_is_taken_or_named(data):
    check(data)
