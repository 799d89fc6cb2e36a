"""``Groups``: which rollouts of an import form a group, from the file's keys and checked against the prompts.

A key is unique at most within a step, an environment and a folder: programs count prompts from 0 in each of them. So a
group is all of these together. A key that another file of the folder uses for another prompt names another group. Whether keys
name each rollout, or one group has different prompts, the doctor checks.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """Where a key is unique."""

    step: int
    env: str
    scope: str
    """the folder within the import"""
    split: str
    """train, eval or empty"""


@dataclass
class _Group:
    name: str
    prompt: str
    files: set[Path]


class Groups:
    """Assigns the rollouts of an import to groups, in the order in which they are read. Memory grows with the number of
    groups."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Place, str], list[_Group]] = {}
        self._names: Counter[str] = Counter()
        self._contexts: dict[tuple[Place, str, str], str] = {}

    def name(self, place: Place, key: str, prompt: str, file: Path, rollout: str = "") -> str:
        """The name of the group, unique in the import.

        ``key``: what the file calls the group. ``prompt``: a digest of the prompt. ``rollout``: what the file calls the rollout if it has several contexts, of which the first determines the group.
        """
        known = self._contexts.get((place, key, rollout)) if rollout else None
        if known is not None:
            return known
        variants = self._groups.setdefault((place, key), [])
        group = next((g for g in variants if g.prompt == prompt), None) or next(
            (g for g in variants if file in g.files), None
        )
        if group is None:
            group = _Group(self._new_name(place, key), prompt, {file})
            variants.append(group)
        group.files.add(file)
        if rollout:
            self._contexts[place, key, rollout] = group.name
        return group.name

    def _new_name(self, place: Place, key: str) -> str:
        """A readable name; equal keys in other places get a number."""
        name = f"{place.step:05d}-{id_part(key)}"
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}~{self._names[name]}"


def id_part(key: str) -> str:
    """A key as part of an id, printable and short; a digest keeps keys distinct that had to be changed."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", key)[:48]
    return name if name == key and name else f"{name}-{hashlib.sha1(key.encode('utf-8', 'replace')).hexdigest()[:8]}"
