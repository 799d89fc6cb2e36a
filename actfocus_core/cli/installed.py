"""Commands provided by other packages through the entry point group ``actfocus.commands``.

The name of an entry point is the name of the command, its value a function with Typer annotations. ``actfocus --help``
imports the function's module, so heavy imports belong inside the function.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import typer
from typer.core import TyperGroup

from actfocus_core.errors import ActFocusError

GROUP = "actfocus.commands"
STUDIO = "app"
"""The studio's command; if the studio is not installed, it reports how to install it."""
INSTALL = "install it with `pip install actfocus`, or in a checkout with `pip install --editable .`"


class InstalledCommands(TyperGroup):
    """The commands of installed packages, followed by the library's own; entry points are looked up on demand."""

    def list_commands(self, ctx: Any) -> list[str]:
        library = super().list_commands(ctx)
        installed = {STUDIO, *(point.name for point in entry_points(group=GROUP))}
        return [*sorted(installed - set(library)), *library]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, cmd_name) or _installed(cmd_name)


def _installed(name: str) -> Any:
    """The command with this name from an installed package; None if there is none."""
    point = next(iter(entry_points(group=GROUP, name=name)), None)
    if point is None:
        return _missing(name, f"the studio is not installed; {INSTALL}") if name == STUDIO else None
    try:
        return _command(name, point.load())
    except ImportError as error:
        return _missing(name, f"`actfocus {name}` is not fully installed ({error}); {INSTALL}")


def _command(name: str, function: Callable[..., Any], **settings: Any) -> Any:
    group = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    group.command(name, **settings)(function)
    return typer.main.get_command(group)


def _missing(name: str, message: str) -> Any:
    """A command that accepts any arguments and raises ActFocusError with this message."""

    def refuse() -> None:
        raise ActFocusError(message)

    anything = {"allow_extra_args": True, "ignore_unknown_options": True}
    return _command(name, refuse, help="Not installed.", add_help_option=False, context_settings=anything)
