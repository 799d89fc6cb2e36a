"""Libraries that are not installed with the package: imported where they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from actfocus_core.errors import ActFocusError


def demand(module: str, extra: str) -> ModuleType:
    """Import a module. Raises ActFocusError that names the extra to install, or says that it does not fit."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ActFocusError(f"{extra} needs a library that is not installed ({error}); "
                            f"pip install 'actfocus[{extra}]'") from None
    except ImportError as error:
        raise ActFocusError(f"{extra} is installed and cannot be imported beside the other libraries here ({error}); "
                            f"give actfocus[{extra}] an environment of its own") from None
