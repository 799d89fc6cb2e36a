"""The prefix tree: every token has a node, and a shared prefix of adjacent rows is stored once."""

import numpy as np
import pytest

from actfocus_core.policy.tiny_cpu.prefix_tree import PrefixTree, batches_by_prefix


def grown(seed: int) -> list[np.ndarray]:
    """Rows that diverge from one another: few different tokens, many shared prefixes."""
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, 3, rng.integers(1, 9))]
    for _ in range(20):
        other = rows[rng.integers(len(rows))]
        rows.append(np.concatenate([other[: rng.integers(0, len(other) + 1)], rng.integers(0, 3, rng.integers(1, 9))]))
    return rows


def prefixes(rows) -> set[tuple]:
    return {tuple(row[:n]) for row in rows for n in range(1, len(row) + 1)}


def padded(rows) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(row) for row in rows])
    ids = np.full((len(rows), lengths.max()), 7)
    for own, row in zip(ids, rows):
        own[: len(row)] = row
    return ids, lengths


@pytest.mark.parametrize("seed", range(5))
def test_every_token_has_a_node_and_a_path_to_it(seed):
    rows = grown(seed)
    for given in (rows, [rows[i] for i in next(batches_by_prefix(rows, 10**6))]):
        tree = PrefixTree(*padded(given))
        for row, place in zip(given, tree.node_of):
            at = place[: len(row)]
            assert tree.ids[at].tolist() == row.tolist() and tree.positions[at].tolist() == list(range(len(row)))
        own = [range(segment.nodes.start, segment.nodes.stop) for segment in tree.segments]
        assert [node for nodes in own for node in nodes] == list(range(len(tree.ids)))
        paths = {tuple(node for first, end in segment.path for node in range(first, end)) for segment in tree.segments}
        assert paths <= {tuple(place[: len(row)]) for row, place in zip(given, tree.node_of)}
        assert all(end - first > 0 for segment in tree.segments for first, end in segment.path)
        assert all(
            segment.prefix_length + len(nodes) == sum(end - first for first, end in segment.path)
            for segment, nodes in zip(tree.segments, own)
        )
    # Sorted, no prefix is stored twice.
    assert len(tree.ids) == len(prefixes(rows))


def test_batches_are_filled_by_the_nodes_that_rows_add():
    rows = grown(1)
    packs = list(batches_by_prefix(rows, 25))
    assert sorted(i for pack in packs for i in pack) == list(range(len(rows))) and len(packs) > 2
    sizes = [len(prefixes([rows[i] for i in pack])) for pack in packs]
    assert max(sizes) <= 25 + max(map(len, rows))
    for pack, after in zip(packs, packs[1:]):
        assert len(prefixes([rows[i] for i in [*pack, after[0]]])) > 25
    assert list(batches_by_prefix([], 10)) == []
    # A batch of equal rows is bounded too.
    assert [len(pack) for pack in batches_by_prefix([np.arange(16)] * 20, 24)] == [5, 5, 5, 5]
