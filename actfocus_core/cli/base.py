"""The ``actfocus`` command: its entry point, version, and error handling."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from actfocus_core import __version__
from actfocus_core.cli.installed import InstalledCommands
from actfocus_core.cli.show import clean
from actfocus_core.errors import ActFocusError, out_of_memory
from actfocus_core.processes import interrupt_on_termination_signals

app = typer.Typer(
    cls=InstalledCommands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="ActFocus Studio: see and steer token credit in agentic RL.",
)


def main() -> None:
    """Entry point; an error prints one line to stderr and exits with code 2."""
    interrupt_on_termination_signals()
    try:
        code = app(standalone_mode=False)
    except typer.Exit as stop:
        code = stop.exit_code
    except ActFocusError as error:
        code = _print_error(error)
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        if out_of_memory(error):
            sys.exit(
                _print_error(
                    "out of memory; reduce the work done at once, for instance with --batch-size, or close other programs"
                )
            )
        # Errors of the option parser have a message of their own.
        if not hasattr(error, "format_message"):
            raise
        code = _print_error(error.format_message()) if error.format_message() else 2
    sys.exit(code)


def _print_error(error: object) -> int:
    print("actfocus:", clean(" ".join(str(error).split())), file=sys.stderr)
    return 2


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if show:
        print(__version__)
        raise typer.Exit
