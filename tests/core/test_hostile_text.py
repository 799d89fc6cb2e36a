"""Hostile text through everything that is written: pages, exports and the terminal show it as text."""

import csv
import json
from html.parser import HTMLParser

import numpy as np
import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.interop import import_run
from actfocus_core.interop.exporting import export_run
from actfocus_core.reports.html import render
from actfocus_core.runs import Run
from actfocus_core.trajectory import Trajectory
from tests.core.command import actfocus
from tests.hostile import CORPUS, LINES, MEGABYTE, NAME, UNICODE, hostile_run
from tests.interop.files import same

LARGE = (*CORPUS[:6], LINES, MEGABYTE)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The hostile run, one with two tokens that are much too long, and the first in harmless words."""
    folder = tmp_path_factory.mktemp("hostile")
    return {
        "hostile": hostile_run(folder / NAME),
        "large": hostile_run(folder / "large", LARGE),
        "plain": hostile_run(folder / "plain", ("word",) * len(CORPUS), "harmless"),
    }


class Page(HTMLParser):
    """The elements of a page with the names of their attributes, and its text."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.elements, self.text = [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data):
        self.text += data


def exported(run: Run, folder, name: str = "html"):
    return export_run(run, folder / f"{run.path.name[:3]}.{name}", name)[0]


@pytest.mark.parametrize("written", ["report", "page", "notebook"])
def test_a_page_of_hostile_text_has_the_elements_of_a_harmless_one(written, runs, tmp_path):
    make = {
        "report": lambda run: render(run, 0, "reference", bootstrap=20)[0],
        "page": lambda run: exported(run, tmp_path).read_text(encoding="utf-8"),
        "notebook": lambda run: "".join(t._repr_html_() for t in run.trajectories(0, "reference")),
    }[written]
    hostile, plain = Page(make(runs["hostile"])), Page(make(runs["plain"]))
    assert hostile.elements == plain.elements and len(plain.elements) > 100
    assert not {tag for tag, _ in hostile.elements} & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "link",
        "form",
    }
    assert not [
        name
        for _, names in hostile.elements
        for name in names
        if name.startswith("on") or name in ("href", "src", "srcdoc")
    ]
    for text in CORPUS:
        assert text in hostile.text or "\r" in text or "\x00" in text, repr(text)


@pytest.mark.parametrize("name", ["hostile", "large"])
@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_hostile_text_comes_back_as_it_went(name, format, runs, tmp_path):
    out, count = export_run(runs[name], tmp_path / f"a.{format}", format)
    assert count == 4
    for a, b in zip(
        runs[name].trajectories(0, "reference"), import_run(out, tmp_path / "r").trajectories(), strict=True
    ):
        same(a, b)


def test_hostile_text_in_tables_and_lines_comes_back(runs, tmp_path):
    ts = runs["hostile"].trajectories(0)
    with open(exported(runs["hostile"], tmp_path, "csv"), encoding="utf-8", newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == [text for t in ts for text in t.texts]
    told = [json.loads(line) for line in exported(runs["hostile"], tmp_path, "advantages").read_bytes().splitlines()]
    assert [one["id"] for one in told] == [t.id for t in ts]


@pytest.mark.parametrize(
    "arguments",
    [
        ["doctor", "RUN", "--tokenizer", "tiny"],
        ["doctor", "RUN"],
        ["credit", "RUN"],
        ["diagnose", "RUN"],
        ["whatif", "RUN"],
        ["whatif", "RUN", "EDIT"],
        ["oracle", "RUN", "--no-policy"],
        ["export", "RUN", "--format", "csv", "--id", "\x1b]0;pwn\x07"],
        ["export", "RUN", "--format", "\u202e[/]"],
        ["doctor", "no\x1b[2J[bold]where"],
        ["import", "\x9b2J", "RUN"],
        ["replay", "RUN"],
        ["train", "--scheme", NAME + "\x1b[31m"],
    ],
)
def test_a_terminal_is_shown_text_and_is_not_steered(arguments, runs):
    path = runs["hostile"].path
    edit = next((path / "whatif").glob("*.json")).stem
    told = actfocus(*[{"RUN": path, "EDIT": edit}.get(one, one) for one in arguments])
    said = told.stdout + told.stderr
    assert "Traceback" not in said and said
    assert not [c for c in said if not c.isprintable() and c != "\n"], repr(said[:500])
    assert told.returncode in (0, 1, 2) and (told.returncode < 2 or told.stderr.count("\n") == 1)


def test_labels_that_look_like_markup_of_the_terminal_are_printed(runs):
    path = runs["hostile"].path
    edit = next((path / "whatif").glob("*.json")).stem
    said = actfocus("whatif", path, edit).stdout
    assert (
        "note: [link=javascript:x]rich[/link]" in said
        and "note: [/]" in said
        and r"\x1b]0;pwn\x07" in said
        and NAME in said
    )


def test_half_of_a_surrogate_pair_is_one_line(tmp_path):
    run = Run.create(tmp_path / "run", {}, {})
    with pytest.raises((ActFocusError, UnicodeEncodeError)):
        run.add_trajectories(0, [Trajectory("a", [1, 2], [4, 4], [0, 0], [-1, np.nan], ["\ud83d", "\ude00"])])
    assert run.steps() == []
    (tmp_path / "a.jsonl").write_text('{"messages": [{"role": "assistant", "content": "\\ud83d"}]}\n')
    with pytest.raises(ActFocusError, match="half of a surrogate pair"):
        import_run(tmp_path / "a.jsonl", tmp_path / "b", tokenizer="tiny")


def test_a_message_of_hostile_text_is_tokenised_and_comes_back(tmp_path):
    text = "".join(UNICODE) + NAME + LINES
    (tmp_path / "a.jsonl").write_text(
        json.dumps(
            {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}], "reward": 1}
        )
    )
    t = import_run(tmp_path / "a.jsonl", tmp_path / "b", tokenizer="tiny").trajectories()[0]
    assert text.strip()[:40] in "".join(t.texts) or "\ufffd" in "".join(t.texts)
