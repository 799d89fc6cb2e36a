"""The ``actfocus`` command. Heavy imports are inside the command functions, which keeps ``--help`` fast."""

from actfocus_core.cli import rollouts, listing, credit, oracle, exchange, doctor, training, whatif  # noqa: F401, I001 - in the order of --help
from actfocus_core.cli.base import app, main

__all__ = ["app", "main"]
