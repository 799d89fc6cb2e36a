"""The cache: in the user's folder, read again where it is right, and computed again where it is not."""

from collections import Counter

import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.listing import Cache, Listing, Query, Setting
from actfocus_core.listing.measures import measures
from tests.listing.conftest import values


def stored(tmp_path):
    return {file.name: file for file in (tmp_path / "cache").rglob("*.arrow")}


def test_nothing_is_written_beside_the_run(run, listing, tmp_path):
    before = sorted(run.path.rglob("*"))
    values(listing, "change")
    listing.index_text()
    assert sorted(run.path.rglob("*")) == before
    kinds = Counter(name.partition("-")[0].removesuffix(".arrow") for name in stored(tmp_path))
    assert kinds == {"facts": 1, "values": 1, "text": 2}


def test_what_is_stored_is_not_computed_again(run, cache, monkeypatch):
    first = values(Listing(run, cache=cache), "change")
    monkeypatch.setattr("actfocus_core.listing.values.measures", lambda *_: pytest.fail("computed again"))
    monkeypatch.setattr("actfocus_core.listing.facts._part", lambda *_: pytest.fail("read again"))
    again = Listing(run, cache=cache)
    assert again.computed and values(again, "change") == first


def test_other_settings_and_other_scores_are_computed_anew(run, cache):
    first = values(Listing(run, cache=cache), "change")
    other = Listing(run, Setting("actfocus", {"alpha": 0.5}), cache=cache)
    assert not other.computed and values(other, "change") != first
    ts = run.trajectories(1)
    for t in ts:
        t.signals["ref_energy"] = -t.signals["ref_energy"]
    run.annotate(1, "tiny", ts)
    assert not other.current
    changed = Listing(run, cache=cache)
    assert changed.current
    kept = changed.page().rows["change"].to_pylist()
    assert kept[:12] == first[:12] and set(kept[12:]) == {None}
    assert values(changed, "change")[12:] != first[12:]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "link"])
def test_a_damaged_cache_is_computed_again(run, cache, tmp_path, damage):
    first = Listing(run, cache=cache)
    expected, texts = values(first, "change"), first.index_text()
    for file in stored(tmp_path).values():
        content = bytearray(file.read_bytes())
        if damage == "flip":
            content[len(content) // 2] ^= 1
        file.unlink()
        if damage == "link":
            file.symlink_to(tmp_path / "elsewhere")
        else:
            file.write_bytes({"cut": content[:-9], "flip": content, "empty": b"", "text": b"no arrow"}[damage])
    again = Listing(run, cache=cache)
    assert not again.computed and again.needs(Query(), ["change"]) == {"values"}
    assert values(again, "change") == expected and texts is None
    again.index_text()
    assert Listing(run, cache=cache).computed


def test_a_cache_that_cannot_be_written_only_costs_time(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    listing = Listing(run, cache=Cache(tmp_path / "file/listing"))
    assert None not in values(listing, "change")
    listing.index_text()
    assert listing.ids() and (tmp_path / "file").read_text() == "in the way"


def test_the_files_that_were_used_last_stay_within_the_limit(run, tmp_path):
    cache = Cache(tmp_path / "cache/listing/run", limit=1)
    listing = Listing(run, cache=cache)
    values(listing, "change")
    assert len(stored(tmp_path)) == 1


def test_the_default_cache_is_the_users_and_a_run_elsewhere_has_its_own(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    Listing(run).page()
    folders = list((tmp_path / "home/actfocus/listing").iterdir())
    assert [folder.name.partition("-")[0] for folder in folders] == ["run"]
    assert Cache.of(tmp_path / "a/run").folder != Cache.of(tmp_path / "b/run").folder


def test_a_run_that_changes_while_it_is_read_is_one_line(run, cache, monkeypatch):
    listing = Listing(run, cache=cache)

    def change_it(*arguments):
        file = run.parts(0)[0].facts(run.path)
        file.touch()
        return measures(*arguments)

    listing.needs(Query(sort="change"))
    monkeypatch.setattr("actfocus_core.listing.values.measures", change_it)
    with pytest.raises(ActFocusError, match="step 0 was changed while it was read; open the run again"):
        listing.compute()
