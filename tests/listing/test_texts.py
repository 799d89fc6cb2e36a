"""Search: hits as plain Python counts them, the token they begin in, kinds, and the index on disk."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actfocus_core.errors import ActFocusError
from actfocus_core.listing import Cache, Cancelled, Listing, NotReady, Query, Search, texts
from actfocus_core.listing.texts import KINDS, decode_ends, encode_lengths
from tests.listing.conftest import TEXTS, rollout, write

LETTERS = st.sampled_from(["", "a", "b", "ab", "é", "\U0001f642", ".", "aa\n", "A" * 300])


def searched(listing, search):
    listing.index_text()
    rows = listing.page(Query(search=search), limit=1000, columns=["id", "hits", "first_hit"]).rows.to_pylist()
    return {row["id"]: (row["hits"], row["first_hit"]) for row in rows}


def expected(t, pattern, kind=None):
    """Hits and the token of the first, from the texts of one trajectory; within a kind in every unbroken piece of it."""
    pieces, hits, first = [], 0, None
    for i, (text, number) in enumerate(zip(t.texts, t.kinds.tolist())):
        group = 0 if kind is None else number
        if not pieces or pieces[-1][0] != group:
            pieces.append((group, i, []))
        pieces[-1][2].append(text)
    for group, start, parts in pieces:
        if kind is not None and group != KINDS[kind]:
            continue
        found = list(re.finditer(pattern, "".join(parts)))
        if found and first is None:
            ends = np.cumsum([len(text) for text in parts])
            first = start + int(np.searchsorted(ends, found[0].start(), side="right"))
        hits += len(found)
    return (hits, first) if hits else None


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Three files of rollouts of every length, in an order of kinds that changes."""
    rng = np.random.default_rng(3)
    letters = ["", "a", "b", "ab", "é", "\U0001f642", ".", "aa\n", "A" * 300]
    made = []
    for number in range(60):
        count = int(rng.integers(0, 30))
        kinds = np.repeat(rng.integers(0, 6, count), rng.integers(1, 4, count))[:count]
        texts = [letters[i] for i in rng.integers(0, len(letters), count)]
        made.append(
            rollout(
                f"{number:02d}",
                step=number // 20,
                token_ids=np.arange(count),
                kinds=kinds,
                turns=np.zeros(count),
                logprobs=np.zeros(count),
                texts=texts,
            )
        )
    folder = tmp_path_factory.mktemp("texts")
    return Listing(write(folder / "run", made), cache=Cache(folder / "cache/run")), made


@given(st.lists(LETTERS, min_size=1, max_size=3).map("".join), st.sampled_from([None, *KINDS]))
def test_text_is_found_where_python_finds_it(several, text, kind):
    if not text:
        return
    listing, made = several
    wanted = {t.id: hit for t in made if (hit := expected(t, re.escape(text), kind))}
    assert searched(listing, Search(text, kind=kind)) == wanted


@pytest.mark.parametrize(
    "pattern", ["a+b", "[é.]", "^a", "b\\n?$", "(?i)a{3}", "a.b", "\\bb", "\\Ab|a$", "\\p{So}", "\\.|A{299}"]
)
@pytest.mark.parametrize("kind", [None, "action"])
def test_expressions_are_found_where_python_finds_them(several, pattern, kind):
    listing, made = several
    # RE2's \\b knows ASCII only.
    same = pattern.replace("\\bb", "(?a:\\bb)").replace("\\p{So}", "\U0001f642").replace("$", r"\Z")
    wanted = {t.id: hit for t in made if (hit := expected(t, same, kind))}
    assert wanted and searched(listing, Search(pattern, True, kind=kind)) == wanted


def test_files_that_are_read_in_pieces_have_the_same_texts(tmp_path):
    ts = [rollout(f"{i:03d}", texts=[f"{i:03d} ", *TEXTS[1:]]) for i in range(300)]
    listing = Listing(write(tmp_path / "run", ts), cache=Cache(None))
    assert searched(listing, Search("299")) == {"299": (1, 0)} and searched(listing, Search("257 a")) == {}
    assert len(searched(listing, Search("00"))) == 12 and searched(listing, Search("256  a hole")) == {"256": (1, 0)}


def test_special_characters_of_text_are_text(tmp_path):
    texts = [*TEXTS[:-1], r"a.b*c[d](e){f}^$|\d?+ -#&~"]
    listing = Listing(write(tmp_path / "run", [rollout("a", texts=texts), rollout("b")]), cache=Cache(None))
    assert searched(listing, Search(texts[-1])) == {"a": (1, 11)}
    for letter in texts[-1]:
        assert "a" in searched(listing, Search(letter)), letter
    assert searched(listing, Search(".b*")) == {"a": (1, 11)} and searched(listing, Search("a.c")) == {}


def test_hits_lie_across_tokens_and_kinds_but_not_when_a_kind_is_asked_for(tmp_path):
    listing = Listing(write(tmp_path / "run", [rollout("a")]), cache=Cache(None))
    assert searched(listing, Search("hole")) == {"a": (3, 1)}
    assert searched(listing, Search("hole", kind="reasoning")) == {"a": (1, 4)}
    assert searched(listing, Search("hole", kind="action")) == {"a": (1, 11)}
    assert searched(listing, Search("hole", kind="observation")) == {"a": (1, 1)}
    assert searched(listing, Search("<answer>Up<")) == {"a": (1, 7)} and not searched(
        listing, Search("<ans", kind="action")
    )
    assert searched(listing, Search("\U0001f642U")) == {"a": (1, 10)}
    assert searched(listing, Search("HOLE", ignore_case=True)) == {"a": (3, 1)} and not searched(
        listing, Search("HOLE")
    )
    assert searched(listing, Search("H.LE", True, ignore_case=True)) == {"a": (3, 1)}


def test_hits_can_be_sorted_and_combined_with_a_filter(tmp_path):
    ts = [rollout(str(i), texts=[*TEXTS[:-1], "Up" + " hole" * i], success=i % 2 == 0) for i in range(4)]
    listing = Listing(write(tmp_path / "run", ts), cache=Cache(None))
    search = Search("hole")
    assert listing.needs(Query(search=search)) == {"text"}
    with pytest.raises(NotReady, match="the index of the texts"):
        listing.page(Query(search=search))
    listing.index_text()
    assert listing.ids(Query(search=search, sort="hits", descending=True)) == ["3", "2", "1", "0"]
    assert listing.ids(Query("success", search, "hits", True)) == ["2", "0"]
    assert listing.ids(Query(search=Search("Up"), sort="first_hit")) == ["0", "1", "2", "3"]
    assert listing.page(Query(search=search)).columns[-2:] == listing.columns[-2:]


def test_filters_look_into_the_texts(tmp_path):
    ts = [rollout("a"), rollout("b", texts=["-"] * 12), rollout("c", texts=[*TEXTS[:-1], "Down"])]
    listing = Listing(write(tmp_path / "run", ts), cache=Cache(None))
    assert listing.needs(Query('contains(text, "hole")')) == {"text"}
    listing.index_text()
    assert listing.ids(Query('contains(text, "hole")')) == ["a", "c"]
    assert listing.ids(Query('not contains(action, "hole")')) == ["b", "c"]
    assert listing.ids(Query('reasoning ~ "^h.le" and action ~ "Down|Left"')) == ["c"]
    assert listing.ids(Query('contains(observation, "hole") and id != "a"')) == ["c"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("",), "the text is empty"),
        (("(", True), "'(' is not a regular expression of RE2"),
        (("a*", True), "matches the empty text"),
        (("(?<=a)b", True), "is not a regular expression of RE2"),
        (("a", False, False, "system"), "unknown kind 'system'; available: reasoning, action, observation"),
    ],
)
def test_searches_that_cannot_be_are_one_line(arguments, message):
    with pytest.raises(ActFocusError) as error:
        Search(*arguments)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_half_a_character_is_one_line(tmp_path):
    for regex in (False, True):
        with pytest.raises(ActFocusError, match="search: .* is no text"):
            Search("\ud800", regex)
    listing = Listing(write(tmp_path / "run", [rollout("a")]), cache=Cache(None))
    with pytest.raises(ActFocusError, match="where: .* is no text"):
        listing.page(Query('id == "\ud800"'))


@given(st.lists(st.integers(0, 1200), max_size=30))
def test_lengths_of_tokens_survive_their_bytes(lengths):
    encoded, counts = encode_lengths(np.array(lengths, np.int64))
    assert counts.sum() == len(encoded) and decode_ends(encoded).tolist() == np.cumsum(lengths, dtype=int).tolist()


def test_the_index_is_built_once_with_progress_and_only_for_new_files(tmp_path, cache, monkeypatch):
    run = write(tmp_path / "run", [rollout(f"{step}-{i}", step=step) for step in range(3) for i in range(4)])
    seen = []
    Listing(run, cache=cache).index_text(lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and seen[-1] == (12, 12)
    run.add_part(2, [rollout("new", texts=[*TEXTS[:-1], "unheard of"])])
    read, plain = [], texts._batches

    def noted(file, report):
        read.append(file.name)
        return plain(file, report)

    monkeypatch.setattr(texts, "_batches", noted)
    again = Listing(run, cache=cache)
    assert again.needs(Query(search=Search("x"))) == {"text"}
    assert searched(again, Search("unheard")) == {"new": (1, 11)} and read == ["step-00002.part-0000.parquet"]
    assert not Listing(run, cache=cache).needs(Query(search=Search("x")))


def test_building_the_index_can_be_cancelled(run, cache):
    listing = Listing(run, cache=cache)
    with pytest.raises(Cancelled):
        listing.index_text(None, lambda: True)
    assert listing.needs(Query(search=Search("x"))) == {"text"}
