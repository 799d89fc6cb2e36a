"""The computed columns: the formulas, what is unknown, batches, progress and cancelling."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfocus_core.credit import SCHEMES, Batch
from actfocus_core.errors import ActFocusError
from actfocus_core.listing import Cache, Cancelled, Listing, NotReady, Query, Search, Setting, batches
from actfocus_core.listing.measures import change
from actfocus_core.runs import Run
from actfocus_core.trajectory import TokenKind, Turn
from tests.core.batches import made, seeds, split
from tests.listing.conftest import rollout, scored, values, write

UNIFORM, ACTFOCUS = Setting("uniform"), Setting("actfocus")
names = st.sampled_from(sorted(SCHEMES))


# --- change --------------------------------------------------------------------------------


def slow_change(t, a, b):
    """The definition for one rollout, token by token: (weight, advantage) of every response token under A and B."""
    constant = all(len({float(x) for _, x in tokens}) <= 1 for tokens in (a, b))
    signs = [np.sign(tokens[0][1]) if tokens else 0.0 for tokens in (a, b)]
    shares = []
    for tokens, sign in zip((a, b), (1.0, -1.0 if signs[0] * signs[1] < 0 else 1.0)):
        credit = [w * sign if constant else w * x for w, x in tokens]
        total = sum(map(abs, credit))
        shares.append([c / total if total else 0.0 for c in credit])
    if not any(map(any, shares)):
        return None
    return 0.5 * sum(abs(x - y) for x, y in zip(*shares))


@given(seeds, names, names)
def test_change_is_the_distance_of_what_the_tokens_of_a_rollout_are_given(seed, first, second):
    ts, batch = made(seed)
    credits = [Setting(name).compute(batch) for name in (first, second)]
    if any(credit.missing for credit in credits):
        assert any("turn_reward" in credit.missing or "state_key" in credit.missing for credit in credits)
        return
    found = change(batch, *credits)
    given = [[(np.float64(w) * k, np.float64(x)) for w, k, x in zip(c.weight, c.keep, c.advantage)] for c in credits]
    for t, value, *parts in zip(ts, found, *(split(np.array(g), ts) for g in given)):
        expected = slow_change(t, *([tuple(row) for row in part[t.loss_mask]] for part in parts))
        assert (np.isnan(value) and expected is None) or value == pytest.approx(expected, abs=1e-6)


@given(seeds, names)
def test_change_is_0_of_a_scheme_with_itself_and_1_with_its_opposite(seed, name):
    _, batch = made(seed)
    credit = Setting(name).compute(batch)
    if credit.missing:
        return
    itself = change(batch, credit, credit)
    assert np.all((itself == 0) | np.isnan(itself))
    opposite = change(batch, credit, replace(credit, advantage=-credit.advantage))
    some = np.bincount(batch.index, np.abs(credit.signed), len(batch.ids)) > 0
    assert np.allclose(opposite[some], 1)


@given(seeds, names, names)
def test_change_is_symmetric_and_lies_in_0_to_1(seed, first, second):
    _, batch = made(seed)
    a, b = (Setting(name).compute(batch) for name in (first, second))
    there, back = change(batch, a, b), change(batch, b, a)
    assert np.allclose(there, back, equal_nan=True)
    assert np.all(np.isnan(there) | ((there >= 0) & (there <= 1)))


def test_change_is_unknown_where_the_advantage_of_some_tokens_is():
    ts, batch = made(1)
    credit = UNIFORM.compute(batch)
    advantage = credit.advantage.copy()
    advantage[np.flatnonzero(batch.response & (batch.index == 3))[0]] = np.nan
    found = change(batch, replace(credit, advantage=advantage), ACTFOCUS.compute(batch))
    assert np.flatnonzero(np.isnan(found)).tolist() == [3] and len(ts) == 12


def test_role_only_moves_exactly_the_share_of_the_actions(listing):
    """Weights 1 and 0.1 against 1 and 1: change is the difference of the shares on actions."""
    other = Listing(listing.run, Setting("role_only"), UNIFORM, cache=Cache(None))
    a, b, moved = (values(other, name) for name in ("action_share_a", "action_share_b", "change"))
    assert np.allclose(moved, np.subtract(a, b)) and min(moved) > 0.1
    counts = [Counter(t.kinds.tolist()) for t in listing.run.trajectories()]
    expected = [c[4] / (c[4] + 0.1 * (c[3] + c[5])) for c in counts]
    assert np.allclose(a, expected)
    assert np.allclose(b, [c[4] / (c[3] + c[4] + c[5]) for c in counts])


def test_the_batch_of_a_scheme_is_the_training_step(listing):
    shares = values(listing, "action_share_a", ids=True)
    for step in listing.run.steps():
        ts = listing.run.trajectories(step)
        weights = ACTFOCUS.compute(Batch.of(ts)).weight
        for t, w in zip(ts, split(weights, ts)):
            assert shares[t.id] == pytest.approx(w[t.kinds == TokenKind.ACTION].sum() / w.sum(), rel=1e-5)


# --- unknown -------------------------------------------------------------------------------


def test_energies_are_of_the_action_tokens_and_unknown_without_a_reference(run, cache):
    listing = Listing(run, cache=cache)
    for t, top, mean in zip(run.trajectories(), values(listing, "max_energy"), values(listing, "mean_energy")):
        energy = t.signals["ref_energy"][t.kinds == TokenKind.ACTION].astype(np.float64)
        assert top == pytest.approx(energy.max()) and mean == pytest.approx(energy.mean())


def test_without_signals_the_scheme_is_unknown_and_says_what_it_lacks(tmp_path):
    plain = [replace(t, signals={}) for t in scored(1)]
    listing = Listing(write(tmp_path / "run", plain), cache=Cache(None))
    for name in ("max_energy", "mean_energy", "action_share_a", "change"):
        assert set(values(listing, name)) == {None}
    assert None not in values(listing, "action_share_b")
    assert listing.missing == {"A": ["energy"], "B": []}
    assert listing.notes == ["A (actfocus) is unknown in part: no energy"]


def test_a_step_that_was_not_scored_is_unknown_beside_one_that_was(tmp_path, cache):
    run = write(tmp_path / "run", scored(2))
    next((run.path / "signals").glob("step-00001*")).unlink()
    for reference in (None, "tiny"):
        known = values(Listing(run, reference=reference, cache=cache), "change", ids=True)
        assert {id[0] for id, value in known.items() if value is None} == {"1"}
        assert all(value is not None for id, value in known.items() if id[0] == "0")


def test_where_only_some_groups_are_scored_the_scheme_is_given_those(tmp_path):
    ts = [replace(t, signals={}) if t.group == "prompt 1" else t for t in scored(1)]
    known = [t for t in ts if t.signals]
    found = Listing(write(tmp_path / "run", ts), cache=Cache(None))
    alone = values(Listing(write(tmp_path / "known", known), cache=Cache(None)), "change", ids=True)
    assert values(found, "change", ids=True) == alone | {t.id: None for t in ts if not t.signals}
    assert found.missing == {"A": ["energy"], "B": []}
    weights = {e.id for e in found.extremes("weight_a", top=1000)}
    assert weights == set(alone) and found.extremes("credit_a", top=1)


def test_rollouts_without_a_return_have_weights_and_do_not_disturb_the_others(tmp_path):
    ts = [replace(t, reward=float("nan")) if i % 4 == 0 else t for i, t in enumerate(scored(1))]
    listing = Listing(write(tmp_path / "run", ts), cache=Cache(None))
    assert None not in values(listing, "change")
    # A scheme of whole returns gives credit among the others alone.
    others = Listing(
        write(tmp_path / "others", [t for t in ts if np.isfinite(t.ret)]), Setting("gigpo"), cache=Cache(None)
    )
    known = Listing(listing.run, Setting("gigpo"), cache=Cache(None))
    assert others.missing == known.missing == {"A": [], "B": []}
    expected, found = values(others, "change", ids=True), values(known, "change", ids=True)
    assert {id: found[id] for id in expected} == pytest.approx(expected)


def test_agents_that_are_not_trained_have_no_share(tmp_path):
    ts = [replace(t, trainable=False, agent="judge") if i % 4 == 0 else t for i, t in enumerate(scored(1))]
    shares = values(Listing(write(tmp_path / "run", ts), cache=Cache(None)), "action_share_b")
    assert [i % 4 == 0 for i in range(len(ts))] == [share is None for share in shares]


def test_illegal_is_an_invalid_turn_with_action_tokens(tmp_path):
    def turn(valid):
        return Turn("", "", [], valid, 0, 0, "", {})

    bare = np.array([0, 1, 2, 5, 3, 3, 5, 5, 5, 5, 1, 5])
    run = write(
        tmp_path / "run",
        [
            rollout("legal", turn_records=[turn(True), turn(True)]),
            rollout("illegal", turn_records=[turn(True), turn(False)]),
            rollout("malformed", kinds=[*[0, 1, 2, 5, 3, 3, 5, 5, 5, 5, 1], 4], turn_records=[turn(False), turn(True)]),
            rollout("nothing", kinds=bare, turn_records=[turn(False), turn(False)]),
        ],
    )
    expected = {"legal": False, "illegal": True, "malformed": False, "nothing": None}
    assert values(Listing(run, cache=Cache(None)), "illegal", ids=True) == expected


def test_staleness_counts_versions_from_the_newest_of_the_step(tmp_path):
    def at(id, *found, step=0):
        versions = np.full(12, -1)
        versions[[4, 8, 11]] = found
        return rollout(id, policy_version=versions, step=step)

    ts = [
        at("a", 3, 3, 4),
        at("b", 5, 6, -1),
        at("c", 9, 9, 9, step=1),
        rollout("d", step=1),
        at("e", -1, -1, -1, step=1),
    ]
    listing = Listing(write(tmp_path / "run", ts), cache=Cache(None))
    assert values(listing, "staleness", ids=True) == {"a": 3, "b": 1, "c": 0, "d": None, "e": None}


# --- settings ------------------------------------------------------------------------------


def test_settings_are_read_as_they_are_written():
    for setting in (ACTFOCUS, Setting("actfocus", {"alpha": 0.3, "signal": "nll"}), Setting("shuffle:gtpo")):
        assert Setting.parse(str(setting)) == setting and Setting.parse(str(setting)).key == setting.key
    assert Setting("actfocus", {"alpha": 0.1}).key == ACTFOCUS.key != Setting("actfocus", {"alpha": 0.2}).key


@pytest.mark.parametrize(
    "text", ["nothing", "", "actfocus,alpha", "actfocus,alpha=2", "uniform,alpha=0.1", "actfocus,signal=x"]
)
def test_settings_that_do_not_exist_are_one_line(text):
    with pytest.raises(ActFocusError) as error:
        Setting.parse(text)
    assert "\n" not in str(error.value)


def test_a_list_under_other_settings_shares_what_was_read(run, cache, monkeypatch):
    listing = Listing(run, cache=cache)
    listing.index_text()
    first = values(listing, "change")
    monkeypatch.setattr("actfocus_core.listing.listing.read_facts", lambda *_: pytest.fail("read again"))
    monkeypatch.setattr("actfocus_core.listing.listing.cached_facts", lambda *_: pytest.fail("read again"))
    monkeypatch.setattr("actfocus_core.listing.texts.TextIndex.stored", lambda *_: pytest.fail("read again"))
    other = listing.under(Setting("role_only"), UNIFORM)
    assert not other.needs(Query(search=Search("0"))) and other.total == listing.total
    assert other.needs(Query(sort="change")) == {"values"} and values(other, "change") != first
    assert values(listing.under(listing.a, listing.b, "tiny"), "change") == first


# --- computing -----------------------------------------------------------------------------


def test_what_is_not_computed_is_asked_for_and_shown_as_unknown(listing):
    query = Query(sort="change", descending=True)
    assert listing.needs(query) == listing.needs(Query(where="change > 0.1")) == {"values"}
    assert listing.needs(Query(), ["change"]) == {"values"} and not listing.needs(Query(sort="return"))
    page = listing.page()
    assert not page.ready and set(page.rows["change"].to_pylist()) == {None}
    with pytest.raises(NotReady, match="not computed yet: the computed columns") as error:
        listing.page(query)
    assert error.value.needs == {"values"}
    seen = []
    listing.compute(lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and seen[0] == (0, 24) and seen[-1] == (24, 24)
    page = listing.page(query)
    order = page.rows["change"].to_pylist()
    assert page.ready and order == sorted(order, reverse=True) and None not in order
    assert listing.page(Query(where=f"change >= {order[3]!r}")).total == 4


def test_cancelling_keeps_the_finished_steps(listing, cache):
    calls = []

    def stop():
        calls.append(1)
        return len(calls) > 2

    with pytest.raises(Cancelled):
        listing.compute(None, stop)
    kept = listing.page().rows["change"].to_pylist()
    assert {value is None for value in kept[:12]} == {False} and set(kept[12:]) == {None}
    assert not listing.computed
    again = Listing(listing.run, cache=cache)
    assert again.page().rows["change"].to_pylist() == kept
    seen = []
    again.compute(lambda done, total: seen.append(done))
    assert seen[0] == 12 and again.computed


def test_large_steps_are_divided_between_groups_and_say_so(tmp_path, monkeypatch):
    ts = sorted(scored(1), key=lambda t: t.id[::-1])  # the groups take turns
    run = write(tmp_path / "run", ts)
    whole = Listing(run, cache=Cache(None))
    shares, notes = values(whole, "action_share_b", ids=True), whole.notes
    monkeypatch.setattr(batches, "TOKENS", 120)
    monkeypatch.setattr("actfocus_core.listing.listing.TOKENS", 120)
    divided = Listing(run, cache=Cache(None))
    parts = list(batches.batches(run, 0, None, divided._index))
    assert [sorted({t.group for t in part.trajectories}) for part in parts] == [
        ["prompt 0"],
        ["prompt 1"],
        ["prompt 2"],
    ]
    assert sorted(row for part in parts for row in part.rows) == list(range(12)) and all(part.whole for part in parts)
    assert values(divided, "action_share_b", ids=True) == pytest.approx(shares)
    assert "1 step with more than 120 tokens" in divided.notes[0] and notes == []


def test_a_group_larger_than_the_memory_has_no_credit_since_it_cannot_be_compared(tmp_path, monkeypatch):
    run = write(tmp_path / "run", scored(1))
    monkeypatch.setattr(batches, "TOKENS", 10)
    listing = Listing(run, cache=Cache(None))
    shares, energies = values(listing, "change"), values(listing, "max_energy")
    assert None in shares and None not in energies
    assert len(listing.extremes("weight_b", top=10_000)) < len(listing.extremes("nll", top=10_000))


def test_the_formulas_do_not_depend_on_how_a_step_is_stored(tmp_path):
    ts = scored(1)
    one = values(Listing(write(tmp_path / "one", ts), cache=Cache(None)), "change", ids=True)
    parts = Run.create(tmp_path / "parts", {})
    for first in range(0, len(ts), 5):
        parts.add_part(0, ts[first : first + 5])
    parts.annotate(0, "tiny", ts)
    assert values(Listing(parts, cache=Cache(None)), "change", ids=True) == pytest.approx(one)


def test_computed_values_are_plain_json(listing):
    listing.compute()
    json.dumps(listing.page().rows.to_pylist(), allow_nan=False)
