"""The stored columns: what a run states is listed as it is, what it does not state is unknown."""

import pyarrow as pa
import pyarrow.parquet
import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.listing import Cache, Listing, Query
from actfocus_core.runs.parquet import write_table
from actfocus_core.trajectory import Turn
from tests.listing.conftest import rollout, write

BAD = Turn("see", "Fly", [], False, 0, 0, "", {})


@pytest.fixture
def listing(tmp_path):
    run = write(
        tmp_path / "run",
        [
            rollout(
                "a", reward=1.0, penalty=-0.5, success=True, env="lake", group="g", step=1, stop_reason="end of turn"
            ),
            rollout(
                "b",
                reward=float("nan"),
                turn_records=[BAD, BAD],
                truncated=True,
                error="timeout",
                agent="judge",
                step=1,
            ),
            rollout(
                "c", rewards={"format": (0.5, 2.0)}, reward=1.0, columns={"task": "x", "n": 3, "ok": True, "mix": 1}
            ),
            rollout(
                "d", success=False, columns={"task": None, "n": 0.5, "mix": "one", "split": "test"}, trainable=False
            ),
        ],
    )
    return Listing(run, cache=Cache(None))


def rows(listing, *columns, query=None):
    return listing.page(query or Query(), columns=["id", *columns]).rows.to_pylist()


def column(listing, name):
    return {row["id"]: row[name] for row in rows(listing, name)}


def test_what_is_not_stated_is_unknown_and_not_false_or_zero(listing):
    assert column(listing, "success") == {"a": True, "b": None, "c": None, "d": False}
    assert column(listing, "return") == {"a": 0.5, "b": None, "c": 1.0, "d": 0.0}
    assert column(listing, "reward")["b"] is None
    assert column(listing, "stop_reason") == {"a": "end of turn", "b": None, "c": None, "d": None}
    assert column(listing, "error") == {"a": "", "b": "timeout", "c": "", "d": ""}
    assert column(listing, "split") == {"a": None, "b": None, "c": None, "d": "test"}


def test_counts_are_those_of_the_tokens_and_turns(listing):
    [row] = listing.page(Query(where='id == "b"')).rows.to_pylist()
    expected = {"turns": 2, "tokens": 12, "sampled_tokens": 8, "action_tokens": 2, "malformed": True, "truncated": True}
    assert {name: row[name] for name in expected} == expected and row["agent"] == "judge"
    assert column(listing, "malformed") == {"a": False, "b": True, "c": False, "d": False}
    assert column(listing, "trainable")["d"] is False


def test_components_of_the_reward_and_columns_of_the_file_are_columns(listing):
    assert column(listing, "rewards.format") == {"a": None, "b": None, "c": 0.5, "d": None}
    kinds = {c.name: c.kind for c in listing.columns if c.name.startswith("columns.")}
    assert kinds == {
        "columns.task": "text",
        "columns.n": "number",
        "columns.ok": "truth",
        "columns.mix": "text",
        "columns.split": "text",
    }
    assert column(listing, "columns.n") == {"a": None, "b": None, "c": 3, "d": 0.5}
    assert column(listing, "columns.mix") == {"a": None, "b": None, "c": "1", "d": "one"}


def test_every_column_has_a_title_and_a_meaning_and_is_on_the_page(listing):
    page = listing.page()
    assert [c.name for c in page.columns] == page.rows.column_names
    for c in listing.columns:
        assert c.title and c.meaning.endswith(".") and c.kind in ("number", "text", "truth"), c
    types = {"number": (pa.int64(), pa.float64()), "text": (pa.string(),), "truth": (pa.bool_(),)}
    assert all(page.rows[c.name].type in types[c.kind] for c in page.columns)


def test_more_columns_than_are_listed_are_counted(tmp_path):
    run = write(tmp_path / "run", [rollout("a", columns={f"c{i}": i for i in range(230)})])
    listing = Listing(run, cache=Cache(None))
    assert sum(c.name.startswith("columns.") for c in listing.columns) == 200
    assert listing.notes == ["30 further columns of the imported file or components of the reward are not listed"]


def test_sorting_keeps_unknown_last_and_equal_ones_in_order(listing):
    assert listing.ids(Query(sort="return")) == ["d", "a", "c", "b"]
    assert listing.ids(Query(sort="return", descending=True)) == ["c", "a", "d", "b"]
    assert listing.ids(Query(sort="tokens", descending=True)) == listing.ids() == ["c", "d", "a", "b"]
    assert listing.ids(Query(descending=True)) == ["b", "a", "d", "c"]
    assert listing.ids(Query(sort="columns.task")) == ["c", "d", "a", "b"]


def test_pages_and_places_are_parts_of_the_whole_order(listing):
    query = Query(where="tokens > 3", sort="id", descending=True)
    assert listing.ids(query) == ["d", "c", "b", "a"]
    page = listing.page(query, offset=1, limit=2)
    assert (page.total, page.of, page.ids, page.rows.num_rows) == (4, 4, ["c", "b"], 2)
    assert listing.page(query, offset=9).ids == [] and listing.page(query, limit=0).rows.num_rows == 0
    assert [listing.place(query, id) for id in ("d", "a", "unknown")] == [0, 3, None]
    assert listing.place(Query(where="success"), "b") is None


def test_unknown_columns_are_one_line_with_a_proposal(listing):
    with pytest.raises(ActFocusError, match="sort: no column 'retrun'; did you mean return?"):
        listing.page(Query(sort="retrun"))
    with pytest.raises(ActFocusError, match="columns: no column 'zzz'; there are id, step"):
        listing.page(columns=["zzz"])
    for bad in (Query(sort="hits"), Query(where="hits > 1")):
        with pytest.raises(ActFocusError, match="hits"):
            listing.page(bad)
    with pytest.raises(ActFocusError, match="has no signals of 'none'; it has none"):
        Listing(listing.run, reference="none", cache=Cache(None))


def test_the_first_rows_are_those_of_the_whole_list(tmp_path, cache):
    run = write(tmp_path / "run", [rollout(f"{step}-{i}", step=step) for step in range(4) for i in range(3)])
    listing = Listing(run, cache=cache)
    first = listing.first(5)
    assert (first.total, first.of, first.ready) == (12, 12, False)
    assert not list((tmp_path / "cache").rglob("*.arrow"))  # nothing but the first files was read
    whole = listing.page(limit=5)
    assert first.ids == whole.ids and first.rows.equals(whole.rows)
    assert Listing(run, cache=cache).first(5).rows.equals(whole.rows)
    assert Listing(run, cache=Cache(None)).first(100).ids == listing.ids()


def test_a_run_without_rollouts_is_an_empty_list(tmp_path, cache):
    listing = Listing(write(tmp_path / "run", []), cache=cache)
    assert listing.first().total == 0 and listing.page(Query(where="success", sort="return")).ids == []
    listing.compute()
    listing.index_text()
    assert listing.extremes("energy") == [] and listing.notes == []


def test_a_growing_run_makes_the_list_old_and_the_next_one_has_both(tmp_path, cache):
    run = write(tmp_path / "run", [rollout("a")])
    listing = Listing(run, cache=cache)
    assert listing.ids() == ["a"] and listing.current
    run.add_part(0, [rollout("b")])
    assert not listing.current and listing.ids() == ["a"]
    assert Listing(run, cache=cache).ids() == ["a", "b"]


def with_columns(tmp_path, text):
    """The list of a run whose only rollout has this in the place of its columns."""
    run = write(tmp_path / "run", [rollout("a", columns={"a": 1})])
    file = run.parts()[0].facts(run.path)
    table = pa.parquet.read_table(file)
    write_table(table.set_column(table.column_names.index("columns"), "columns", pa.array([text])), file)
    return Listing(run, cache=Cache(None))


@pytest.mark.parametrize("text", ['{"a": ', "[1]", "3", "[" * 100_000])
def test_damaged_columns_of_the_file_are_one_line(tmp_path, text):
    with pytest.raises(ActFocusError, match="column 'columns' is not"):
        with_columns(tmp_path, text).page()


def test_a_number_that_is_none_is_unknown(tmp_path):
    assert rows(with_columns(tmp_path, '{"a": 1e999}'), "columns.a") == [{"id": "a", "columns.a": None}]


def test_names_of_the_file_with_spaces_can_be_asked_for(tmp_path):
    run = write(tmp_path / "run", [rollout("a", columns={"how long": 2}), rollout("b", columns={"how long": 5})])
    listing = Listing(run, cache=Cache(None))
    assert listing.ids(Query(where="`columns.how long` > 3")) == ["b"]


def test_whole_numbers_stay_whole_and_huge_ones_do_not_overflow(tmp_path):
    run = write(tmp_path / "run", [rollout("a", columns={"n": 2**53 - 1, "m": 2**70}), rollout("b", columns={"n": -7})])
    listing = Listing(run, cache=Cache(None))
    assert column(listing, "columns.n") == {"a": 2**53 - 1, "b": -7}
    assert column(listing, "columns.m") == {"a": float(2**70), "b": None}
