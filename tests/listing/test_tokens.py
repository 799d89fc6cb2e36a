"""The highest and lowest tokens: those that sorting all tokens of the run gives."""

from dataclasses import replace

import numpy as np
import pytest

from actfocus_core.credit import Batch
from actfocus_core.errors import ActFocusError
from actfocus_core.listing import MEASURES, Cache, Cancelled, Listing, Query, Setting
from actfocus_core.signals import signal_values
from actfocus_core.trajectory import TokenKind
from tests.core.batches import split
from tests.listing.conftest import rollout, scored, write


def by_sorting(run, of, lowest=False, kind=None):
    """(value, id, token) of all sampled tokens; ``of(trajectories)``: their values, one array each."""
    found = []
    for step in run.steps():
        ts = run.trajectories(step)
        for t, values in zip(ts, of(ts)):
            asked = t.response_mask if kind is None else t.kinds == kind
            found += [(float(values[i]), t.id, int(i)) for i in np.flatnonzero(asked & np.isfinite(values))]
    return sorted(found, key=lambda item: item[0] if lowest else -item[0])


def signal(name):
    return lambda ts: [signal_values(t, name) for t in ts]


def credited(scheme, credit):
    def of(ts):
        found = Setting(scheme).compute(Batch.of(ts))
        return split(found.effective() if credit else found.keep * found.weight, ts)

    return of


def keys(extremes):
    return [(e.value, e.id, e.token) for e in extremes]


@pytest.mark.parametrize("name", ["energy", "entropy", "nll", "shift", "centred_energy", "policy_entropy"])
@pytest.mark.parametrize("lowest", [False, True])
def test_the_extremes_of_a_signal_are_those_of_all_tokens(listing, name, lowest):
    expected = by_sorting(listing.run, signal(name), lowest)
    assert keys(listing.extremes(name, top=15, lowest=lowest)) == expected[:15]
    actions = by_sorting(listing.run, signal(name), lowest, TokenKind.ACTION)
    assert keys(listing.extremes(name, top=5, lowest=lowest, kind="action")) == actions[:5]


@pytest.mark.parametrize("measure, scheme", [("weight_a", "actfocus"), ("credit_a", "actfocus"), ("credit_b", "gigpo")])
def test_weights_and_credit_are_those_of_the_step(run, measure, scheme):
    listing = Listing(run, Setting("actfocus"), Setting("gigpo"), cache=Cache(None))
    values = [value for value, *_ in by_sorting(run, credited(scheme, measure.startswith("credit")))]
    assert [e.value for e in listing.extremes(measure, top=30)] == pytest.approx(values[:30], abs=1e-12)


def test_a_token_is_named_with_all_that_a_link_needs(listing):
    [first] = listing.extremes("energy", top=1)
    t = listing.run.trajectory(first.id)
    assert first.text == t.texts[first.token] and first.turn == t.turns[first.token] and first.group == t.group
    assert first.kind == TokenKind(int(t.kinds[first.token])).name.lower() and first.step == t.step


def test_equal_values_come_in_the_order_of_the_run(listing):
    found = listing.extremes("weight_b", top=7)
    places = [(listing.ids().index(e.id), e.token) for e in found]
    assert {e.value for e in found} == {1.0} and places == sorted(places)


def test_a_query_narrows_the_rollouts_but_not_the_batch(listing):
    whole = listing.extremes("weight_a", top=10_000)
    query = Query(where='id ~ "^1-2"')
    assert listing.extremes("weight_a", top=10_000, query=query) == [e for e in whole if e.id.startswith("1-2")]
    assert listing.extremes("weight_a", query=Query(where="tokens < 0")) == []


def test_what_no_token_has_is_an_empty_list(listing):
    assert listing.extremes("recorded.advantage") == [] and "recorded.advantage" in MEASURES


def test_recorded_streams_and_values_are_measures(tmp_path):
    ts = [rollout(str(i), recorded={"advantage": np.arange(12) * (-1.0) ** i}) for i in range(2)] + [rollout("x")]
    listing = Listing(write(tmp_path / "run", ts), cache=Cache(None))
    assert keys(listing.extremes("recorded.advantage", top=2)) == [(11.0, "0", 11), (9.0, "0", 9)]
    assert keys(listing.extremes("recorded.advantage", top=1, lowest=True)) == [(-11.0, "1", 11)]


def test_tokens_outside_the_loss_have_no_weight(tmp_path):
    ts = [replace(t, in_loss=np.arange(len(t)) > 5) for t in scored(1)]
    listing = Listing(write(tmp_path / "run", ts), cache=Cache(None))
    assert min(e.token for e in listing.extremes("weight_b", top=10_000, lowest=True)) > 5


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"measure": "enrgy"}, "unknown measure 'enrgy'; available: energy"),
        ({"measure": "energy", "top": 0}, "top=0: must lie in"),
        ({"measure": "energy", "kind": "user"}, "unknown kind 'user'; available: reasoning, action, format"),
    ],
)
def test_what_cannot_be_asked_is_one_line(listing, arguments, message):
    with pytest.raises(ActFocusError, match=message.replace("(", "\\(")):
        listing.extremes(**arguments)


def test_it_tells_its_progress_and_can_be_cancelled(listing):
    seen = []
    listing.extremes("nll", on_progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 24) and seen[-1] == (24, 24)
    with pytest.raises(Cancelled):
        listing.extremes("shift", cancelled=lambda: True)
