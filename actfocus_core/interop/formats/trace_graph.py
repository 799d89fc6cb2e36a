"""The graph of a verifiers trace: nodes that continue others, whose paths from root to leaf are its branches."""

from __future__ import annotations

from collections.abc import Sequence

from actfocus_core.interop.reading import Record


def parents_of(nodes: Sequence[Record]) -> list[int | None]:
    """The index of the node that each node continues, None for a root.

    A file that states no parent at all, although something after its first node was sampled, is read as one path: a reply
    is never a root. Raises ActFocusError for a parent that is not an earlier node.
    """
    parents = [node.integer("parent", None, high=max(len(nodes) - 1, 0)) for node in nodes]
    for node, (index, parent) in zip(nodes, enumerate(parents)):
        if parent is not None and parent >= index:
            raise node.error("'parent'", f"is {parent}; it must be the index of an earlier node")
    if all(parent is None for parent in parents) and any(map(_is_reply, nodes[1:])):
        return [None, *range(len(nodes) - 1)]
    return parents


def leaves_of(parents: Sequence[int | None]) -> list[int]:
    """The nodes that none continues, in their order: the ends of the branches."""
    return sorted(set(range(len(parents))) - {parent for parent in parents if parent is not None})


def path_to(parents: Sequence[int | None], leaf: int) -> list[int]:
    """The indices of the nodes from the root to a leaf."""
    path: list[int] = []
    at: int | None = leaf
    while at is not None:
        path.append(at)
        at = parents[at]
    return path[::-1]


def new_nodes(parents: Sequence[int | None], leaves: Sequence[int]) -> dict[int, list[int]]:
    """Leaf -> the nodes of its path that are on no earlier leaf's path; they are at the end of the path."""
    known: set[int] = set()
    found = {}
    for leaf in leaves:
        nodes: list[int] = []
        at: int | None = leaf
        while at is not None and at not in known:
            nodes.append(at)
            at = parents[at]
        known.update(nodes)
        found[leaf] = nodes
    return found


def exact_paths(nodes: Sequence[Record], parents: Sequence[int | None]) -> list[bool]:
    """For each node, whether it or one of its ancestors has token ids."""
    exact: list[bool] = []
    for node, parent in zip(nodes, parents):
        exact.append(bool(node.value.get("token_ids")) or (parent is not None and exact[parent]))
    return exact


def rejected_attempts(nodes: Sequence[Record], leaves: Sequence[int]) -> set[int]:
    """The leaves that are attempts at compacting the context from which the harness did not go on, which are not trained.

    Source: ``Trace.branches`` in ``verifiers/v1/trace.py`` 0.4.0.
    """

    def links(node: Record, kind: str) -> list[Record]:
        found = node.records("semantic_parents") if "semantic_parents" in node else []
        return [link for link in found if link.value.get("type") == kind]

    accepted = {link.value.get("node") for node in nodes for link in links(node, "compaction")}
    return {leaf for leaf in leaves if leaf not in accepted and links(nodes[leaf], "compaction_attempt")}


def _is_reply(node: Record) -> bool:
    mask = node.value.get("mask")
    return node.value.get("sampled") is True or (isinstance(mask, list) and any(mask))
