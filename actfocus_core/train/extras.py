"""Libraries that are not installed with the package: imported where they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from actfocus_core.errors import ActFocusError


def demand(module: str, extra: str) -> ModuleType:
    """Import a module. Raises ActFocusError that names the extra to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ActFocusError(f"{extra} needs a library that is not installed ({error}); "
                            f"pip install 'actfocus[{extra}]'") from None
