"""A trajectory in a notebook: every token in its place, text only as text, nothing loaded from anywhere."""

from html.parser import HTMLParser

import numpy as np

from actfocus_core.trajectory import Trajectory

HOSTILE = '<img src=x onerror="alert(1)">'


class Reader(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.tokens, self.open = [], [], False

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attrs = dict(attrs)
        assert not set(self.attrs) - {"class", "title"}, attrs
        self.inside = tag == "i" and "title" in self.attrs
        if self.inside:
            self.tokens.append([self.attrs["class"], self.attrs["title"], ""])

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if getattr(self, "inside", False):
            self.tokens[-1][2] += data


def test_a_trajectory_shows_itself():
    texts = ["task", "look\n", "<think>", HOSTILE, "", "Up & Left", "</answer>"]
    t = Trajectory(
        f"id {HOSTILE}",
        range(7),
        [0, 1, 5, 3, 3, 4, 5],
        [-1, 0, 0, 0, 0, 0, 0],
        [np.nan] * 2 + [-0.5] * 5,
        texts,
        signals={"ref_energy": [np.nan] * 5 + [-12.25, np.nan], HOSTILE: [1.0] * 7},
        group=HOSTILE,
    )
    html = t._repr_html_()
    read = Reader()
    read.feed(html)
    assert set(read.tags) == {"div", "style", "p", "b", "br", "i", "pre"}
    assert [text for _, _, text in read.tokens] == [text for text in texts if text]
    assert [cls for cls, _, _ in read.tokens] == ["k0 w0", "k1 w0", "k5 w10", "k3 w10", "k4 w10", "k5 w10"]
    assert read.tokens[4][1].startswith("action, id 5, turn 0, log-prob -0.5, ref_energy -12.25") and "nan" not in html
    assert "http" not in html and "url(" not in html and "@import" not in html
    assert HOSTILE not in html
    assert "0 tokens" in Trajectory("empty", [], [], [], [], [])._repr_html_()
