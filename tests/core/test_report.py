"""The one-file report: it holds the run's numbers, and nothing of the run is more than text in it."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from actfocus_core.reports import svg
from actfocus_core.reports.html import LIMITS, render, write_report
from actfocus_core.runs import Run

from .batches import trajectories

EVIL = "</span><script>alert(1)</script><img src=x onerror=alert(2)>&lt;\"'"


class Page(HTMLParser):
    """Elements with their attributes, and the text outside the style sheet."""

    def __init__(self, html: str):
        super().__init__()
        self.elements, self.text, self.open = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def make_run(folder, ts, config=None, name="a run"):
    run = Run.create(folder / name, config or {"env": "frozen_lake", "temperature": 1.0, "seed": 7})
    run.add_trajectories(0, ts)
    run.annotate(0, "tiny", ts)
    return run


def test_text_of_the_run_is_never_markup(tmp_path):
    ts = trajectories(0, groups=9)
    for t in ts:
        t.texts = [EVIL] * len(t)
        t.group = f"{t.group} {EVIL}"
    run = make_run(tmp_path, ts, {"env": EVIL, "note": {EVIL: [EVIL]}}, name="<b>run")
    page = Page(render(run, 0, bootstrap=20)[0])
    assert not page.open
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "img", "iframe", "link", "object", "a", "form", "b"})
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") or name in ("src", "href", "srcset", "action") for name in attributes), tag
    # It is all still there to be read.
    assert "".join(page.text).count("<script>alert(1)</script>") >= len(ts[0])


def test_no_address_is_asked(run):
    html, _ = render(run, 0, bootstrap=20)
    addresses = set(re.findall(r"\b(?:https?:)?//[^\s\"'<)]+", html)) - {"http://www.w3.org/2000/svg"}
    assert not addresses and "url(" not in html and "@import" not in html
    assert "default-src 'none'" in html


def test_what_a_real_run_can_show_is_there_and_the_rest_says_why(run, tmp_path):
    facts = write_report(run, tmp_path / "report.html", 0, bootstrap=20)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    text = "".join(Page(html).text)
    assert facts["bytes"] == len(html.encode()) and facts["scored"] == []
    assert "actfocus" in facts["schemes"] and "vineppo" in facts["unavailable"]
    for said in (
        "Settings",
        "Credit schemes",
        "Action bottleneck",
        "Reporting card",
        "Correlations need at least 8 groups",
        *LIMITS,
        "Unit and estimand",
        "Effective state",
        "Source of intervention",
        "Downstream protocol",
        "Support and uncertainty",
        "Optimization interface",
        "Unavailable, as no true values are recorded: `actfocus oracle` adds it",
    ):
        assert said in text
    assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]


def test_with_values_the_scoreboard_stands_in_it(tmp_path):
    ts = trajectories(0, groups=10, rollouts=3)
    for t in ts:
        t.signals["entropy"] = abs(t.signals["entropy"])
    html, facts = render(make_run(tmp_path, ts), 0, bootstrap=20)
    text = "".join(Page(html).text)
    assert facts["scored"] == ["perfect play", "the policy's advantage"] and not facts["unavailable"]
    for said in ("ActFocus, shuffle", "EMPG, reversed", "ground truth", "no ranking", "Noise floor"):
        assert said in text
    # The null controls are collapsed, and every number has its interval under it.
    board = html[html.index("Scoreboard against perfect play") :].split("</section>")[0]
    assert (
        board.index("ActFocus<")
        < board.index(">ground truth<")
        < board.index("<details>")
        < board.index("ActFocus, shuffle")
    )
    assert re.search(r"<td class=n>-?\d\.\d\d\n\[-?\d\.\d\d, -?\d\.\d\d\]</td>", board)


def test_the_same_run_gives_the_same_file(run):
    assert render(run, 0, bootstrap=20)[0] == render(run, 0, bootstrap=20)[0]


@pytest.mark.parametrize("groups", [1, 2])
def test_degenerate_batches_have_a_report(tmp_path, groups):
    ts = trajectories(0, groups=groups, rollouts=1, turns=1)
    for t in ts:
        t.signals.clear()
    run = make_run(tmp_path, ts)
    assert "not recorded" in "".join(Page(render(run, 0, bootstrap=20)[0]).text).lower()


def test_a_run_of_many_steps_shows_them(tmp_path):
    ts = trajectories(0, groups=2)
    run = make_run(tmp_path, ts)
    later = trajectories(1, groups=2)
    for t in later:
        t.id, t.step = f"later {t.id}", 1
    run.add_trajectories(1, later)
    html, _ = render(run, 1, bootstrap=20)
    assert "Training curves" in html and html.count("<polyline") == 2


def test_few_different_returns_have_a_bar_of_one_width_each():
    drawn = svg.histogram("t", np.array([0.0] * 300 + [1.0] * 200 + [0.9, -0.1, np.nan]), "return")
    bars = re.findall(r'<rect x="([\d.]+)".*? width="([\d.]+)" height="([\d.]+)".*?<title>(.*?)</title>', drawn)
    assert [title for *_, title in bars] == ["-0.1: 1", "0: 300", "0.9: 1", "1: 200"]
    assert len({width for _, width, _, _ in bars}) == 1 and all(float(height) >= 1 for _, _, height, _ in bars)
    assert np.ptp(np.diff([float(x) for x, *_ in bars])) < 0.2
    many = np.random.default_rng(0).normal(size=500)
    assert svg.histogram("t", many, "return").count("<rect") == np.count_nonzero(np.histogram(many, 20)[0])
