"""What was made last is kept as long as it weighs no more than was asked for."""

import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actfocus_core.runs import Run
from actfocus_studio.data.cache import LruCache
from actfocus_studio.data.catalog import Catalog, locate
from actfocus_studio.data.view import View
from actfocus_studio.pages.trace import api as trace
from actfocus_studio.shell.studio import Studio
from tests.app.routes import values
from tests.app.sample import make_run


@given(st.lists(st.text("ab", max_size=5), max_size=40), st.integers(1, 12))
def test_what_is_kept_never_weighs_more_and_the_oldest_goes_first(asked, size):
    latest, made, kept = LruCache(size, len), [], OrderedDict()
    for text in asked:
        assert latest.get((text,), lambda text=text: made.append(text) or text) == text
        if text in kept:
            kept.move_to_end(text)
        else:
            assert made.pop() == text
            kept[text] = text
        while sum(map(len, kept)) > size:
            kept.popitem(last=False)
        assert not made


def test_what_is_there_is_given_while_another_is_made_and_none_is_made_twice():
    latest, begun, go, made = LruCache(8), threading.Event(), threading.Event(), []

    def slow() -> str:
        begun.set()
        assert go.wait(20)
        made.append("slow")
        return "slow"

    assert latest.get(("there",), lambda: "there") == "there"
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(latest.get, ("slow",), slow) for _ in range(3)]
        assert begun.wait(20)
        assert latest.get(("there",), slow) == "there"
        go.set()
        assert [one.result() for one in waiting] == ["slow"] * 3 and made == ["slow"]


def test_a_trajectory_that_is_kept_is_what_a_fresh_studio_says_and_follows_its_files(tmp_path):
    run = make_run(tmp_path / "run", prompts=2, rollouts=3)
    signals = (run.path / "signals").rename(tmp_path / "signals")
    studio, recent = Studio(Catalog([run.path], tmp_path / "none"), None), LruCache(1000)
    for id in run.index()["id"]:
        request = trace.OpenRequest(view=View(run="run", trajectory=id))
        first, again = (trace.opened(studio, recent, request) for _ in range(2))
        fresh = trace.opened(Studio(Catalog([run.path], tmp_path / "none"), None), LruCache(1000), request)
        assert first == again == fresh
        assert first.trajectory.id == locate(Run.open(run.path), request.view)[0].id == id
    signals.rename(run.path / "signals")
    told = trace.opened(studio, recent, request)
    assert np.isnan(values(first.tokens.energy)).all() and not np.isnan(values(told.tokens.energy)).all()
