"""Rows as a forest: every token stands in it, and what neighbours begin alike with stands there once."""

import numpy as np
import pytest

from actfocus_core.policy.tiny_cpu.forest import Forest, alike


def grown(seed: int) -> list[np.ndarray]:
    """Rows that branch off one another: few different tokens, many common beginnings."""
    dice = np.random.default_rng(seed)
    rows = [dice.integers(0, 3, dice.integers(1, 9))]
    for _ in range(20):
        other = rows[dice.integers(len(rows))]
        rows.append(
            np.concatenate([other[: dice.integers(0, len(other) + 1)], dice.integers(0, 3, dice.integers(1, 9))])
        )
    return rows


def beginnings(rows) -> set[tuple]:
    return {tuple(row[:n]) for row in rows for n in range(1, len(row) + 1)}


def padded(rows) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(row) for row in rows])
    ids = np.full((len(rows), lengths.max()), 7)
    for own, row in zip(ids, rows):
        own[: len(row)] = row
    return ids, lengths


@pytest.mark.parametrize("seed", range(5))
def test_every_token_has_a_node_and_a_way_to_it(seed):
    rows = grown(seed)
    for given in (rows, [rows[i] for i in next(alike(rows, 10**6))]):
        forest = Forest(*padded(given))
        for row, place in zip(given, forest.place):
            at = place[: len(row)]
            assert forest.ids[at].tolist() == row.tolist() and forest.positions[at].tolist() == list(range(len(row)))
        own = [range(branch.own.start, branch.own.stop) for branch in forest.branches]
        assert [node for nodes in own for node in nodes] == list(range(len(forest.ids)))
        ways = {tuple(node for first, end in branch.path for node in range(first, end)) for branch in forest.branches}
        assert ways <= {tuple(place[: len(row)]) for row, place in zip(given, forest.place)}
        assert all(end - first > 0 for branch in forest.branches for first, end in branch.path)
        assert all(
            branch.before + len(nodes) == sum(end - first for first, end in branch.path)
            for branch, nodes in zip(forest.branches, own)
        )
    # Sorted, nothing stands in it twice.
    assert len(forest.ids) == len(beginnings(rows))


def test_rows_are_packed_by_what_they_add():
    rows = grown(1)
    packs = list(alike(rows, 25))
    assert sorted(i for pack in packs for i in pack) == list(range(len(rows))) and len(packs) > 2
    sizes = [len(beginnings([rows[i] for i in pack])) for pack in packs]
    assert max(sizes) <= 25 + max(map(len, rows))
    for pack, after in zip(packs, packs[1:]):
        assert len(beginnings([rows[i] for i in [*pack, after[0]]])) > 25
    assert list(alike([], 10)) == []
    # A policy that says one and the same gives no batch without end.
    assert [len(pack) for pack in alike([np.arange(16)] * 20, 24)] == [5, 5, 5, 5]
