"""Checks that another trainer has the version and the private methods that a plug-in was written against."""

from __future__ import annotations

import inspect
from types import ModuleType

from actfocus_core.errors import ActFocusError


def incompatible(library: ModuleType, tested: str, what: str) -> ActFocusError:
    """The error to raise if ``library`` differs from its version ``tested``."""
    return ActFocusError(
        f"{library.__name__} {library.__version__}: {what}; the weighted loss would be silently wrong. "
        f"pip install '{library.__name__}=={tested}.*'"
    )


def check_version(library: ModuleType, tested: str) -> None:
    """Raise ActFocusError unless ``library`` is a patch release of the version ``tested``, for instance 1.16."""
    if not library.__version__.startswith(f"{tested}."):
        raise incompatible(library, tested, f"the plug-in was written against {tested}")


def check_methods(library: ModuleType, tested: str, used: dict[tuple[type, str], list[str]]) -> None:
    """Raise ActFocusError unless every method of ``used``, (class, name) -> arguments, exists with these arguments."""
    for (owner, name), arguments in used.items():
        method = getattr(owner, name, None)
        if method is None or list(inspect.signature(method).parameters) != arguments:
            raise incompatible(library, tested, f"{owner.__name__}.{name}({', '.join(arguments)}) does not exist")
