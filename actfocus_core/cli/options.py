"""Options that several commands share, and their parsing."""

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
Step = Annotated[int | None, typer.Option(min=0, help="Training step to use as the batch.", show_default="the last")]
Reference = Annotated[
    str | None, typer.Option(help="Reference model whose signals to use.", show_default="the only one")
]
Catalogue = Annotated[
    Path | None, typer.Option(help="WebShop: a product file instead of the embedded catalogue.", show_default=False)
]
Alpha = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Weight of reasoning and format tokens.", show_default="the scheme's default"),
]
Beta = Annotated[
    float | None,
    typer.Option(min=0, help="Strength of the signal on action tokens.", show_default="the scheme's default"),
]
RunArgument = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]


def key_values(pairs: list[str], flag: str = "--option") -> dict[str, Any]:
    """Parse KEY=VALUE pairs; a value that is valid JSON is parsed as JSON, any other is text.

    Raises ActFocusError, naming ``flag``, for a pair without a key or an equals sign.
    """
    options = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise ActFocusError(f"{flag} {pair!r}: must be KEY=VALUE, for instance slippery=false")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def names_in(text: str) -> list[str]:
    """Parse comma-separated names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def catalogue_option(env: str, path: Path | None) -> dict[str, str]:
    """The environment option for a product file, with its absolute path, because the run records it."""
    if path is None:
        return {}
    if env != "webshop":
        raise ActFocusError(f"--catalogue {path}: {env} has no products; use it with --env webshop")
    return {"catalogue": str(path.resolve())}


def step_of(opened: Run, step: int | None) -> int:
    """The given step, or the last if it is None. Raises ActFocusError if the run has no trajectories of it."""
    steps = opened.steps()
    if not steps or (step is not None and step not in steps):
        raise ActFocusError(
            f"{opened.path}: has no trajectories of step {step if steps else 0}; "
            f"it has {f'steps {steps[0]} to {steps[-1]}' if steps else 'none yet'}"
        )
    return steps[-1] if step is None else step


def load(name: str, device: str, all_cores: bool = False) -> Policy:
    """Load a policy, leaving one CPU core free unless it may use ``all_cores``."""
    from actfocus_core.policy import load_policy

    if not all_cores:
        spare_a_core()
    return load_policy(name, device)


def spare_a_core() -> None:
    """Leave one core for the studio. Torch reads the variable when it is first imported."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) - 1)))
