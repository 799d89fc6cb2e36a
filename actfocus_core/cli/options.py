"""Options that several commands share, and how they are read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from actfocus_core.errors import ActFocusError

if TYPE_CHECKING:
    from actfocus_core.policy import Policy
    from actfocus_core.runs import Run

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
ProgressMode = Annotated[
    Literal["bar", "lines", "jsonl", "none"], typer.Option(help="How to show progress, on stderr.")
]
Step = Annotated[int | None, typer.Option(min=0, help="The batch is one training step.", show_default="the last")]
Reference = Annotated[str | None, typer.Option(help="Whose signals to use.", show_default="the only one")]
Catalogue = Annotated[
    Path | None, typer.Option(help="WebShop: a product file in place of the embedded catalogue.", show_default=False)
]
RunArgument = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]


def key_values(pairs: list[str], flag: str = "--option") -> dict[str, Any]:
    """KEY=VALUE pairs; values are read as JSON where they are JSON, else as text."""
    options = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise ActFocusError(f"{flag} {pair!r}: give KEY=VALUE, for instance slippery=false")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def names_in(text: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def catalogue_option(env: str, path: Path | None) -> dict[str, str]:
    """The environment's option for a product file, in full: a run remembers where it was."""
    if path is None:
        return {}
    if env != "webshop":
        raise ActFocusError(f"--catalogue {path}: {env} has no products; it is for --env webshop")
    return {"catalogue": str(path.resolve())}


def step_of(opened: Run, step: int | None) -> int:
    """The step asked for, or the last. Raises ActFocusError where the run has no such trajectories."""
    steps = opened.steps()
    if not steps or (step is not None and step not in steps):
        raise ActFocusError(
            f"{opened.path}: has no trajectories of step {step if steps else 0}; "
            f"it has {f'steps {steps[0]} to {steps[-1]}' if steps else 'none yet'}"
        )
    return steps[-1] if step is None else step


def load(name: str, device: str) -> Policy:
    """Load a policy for a long piece of work."""
    from actfocus_core.policy import load_policy

    spare_a_core()
    return load_policy(name, device)


def spare_a_core() -> None:
    """Leave one core to the page: torch reads this when it is first imported."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) - 1)))
