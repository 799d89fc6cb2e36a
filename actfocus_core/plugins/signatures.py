"""Whether another trainer is the one that a plug-in was written against: its version and the private methods it builds on."""

from __future__ import annotations

import inspect
from types import ModuleType

from actfocus_core.errors import ActFocusError


def moved(library: ModuleType, tested: str, what: str) -> ActFocusError:
    """The error to raise where ``library`` is not as its version ``tested`` is."""
    return ActFocusError(
        f"{library.__name__} {library.__version__}: {what}; the weighted loss would be wrong without a word. "
        f"pip install '{library.__name__}=={tested}.*'"
    )


def check_version(library: ModuleType, tested: str) -> None:
    """Raise ActFocusError unless ``library`` is a patch of the version ``tested``, like 1.16."""
    if not library.__version__.startswith(f"{tested}."):
        raise moved(library, tested, f"the plug-in was written against {tested}")


def check_methods(library: ModuleType, tested: str, used: dict[tuple[type, str], list[str]]) -> None:
    """Raise ActFocusError unless every method of ``used``, class and name -> arguments, is there as such."""
    for (owner, name), arguments in used.items():
        method = getattr(owner, name, None)
        if method is None or list(inspect.signature(method).parameters) != arguments:
            raise moved(library, tested, f"{owner.__name__}.{name}({', '.join(arguments)}) is not there as such")
