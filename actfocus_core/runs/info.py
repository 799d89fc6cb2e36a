"""run.json: what made a run."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from pathlib import Path
from types import NoneType
from typing import Any

import actfocus_core
from actfocus_core.errors import ActFocusError
from actfocus_core.files import read_json
from actfocus_core.paths import appearing

FORMAT = "actfocus-run"


VERSION = 1


TRAINED = ("train", "trl", "verl")
"""``command`` in run.json's config where the weights move from step to step."""


_INFO: dict[str, dict[str, type]] = {
    "config": {
        **dict.fromkeys(
            ("command", "env", "policy", "model", "scheme", "tokenizer", "spans", "stamp", "algorithm"), str
        ),
        "env_options": dict,
        "scheme_params": dict,
    },
    "model": {"name": str, "fingerprint": str},
}
"""What of run.json is text or an object, where it is there."""


def read_info(file: Path) -> dict[str, Any]:
    """A checked run.json: what the readers take from it has its type, and parts that are missing are empty."""
    try:
        info = read_json(file)
    except OSError as error:
        raise ActFocusError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ActFocusError(f"{file}: not readable JSON ({error})") from None
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise ActFocusError(f'{file}: "format" is not "{FORMAT}"; this is not a run of actfocus')
    if info.get("version") != VERSION:
        raise ActFocusError(f'{file}: "version" is {info.get("version")!r}; this actfocus reads version {VERSION}')
    for part in ("config", "model", "versions"):
        info[part] = {} if info.get(part) is None else info[part]
        if not isinstance(info[part], dict):
            raise ActFocusError(f'{file}: "{part}" must be an object')
    for part, kinds in _INFO.items():
        for name, kind in kinds.items():
            if not isinstance(info[part].get(name), (kind, NoneType)):
                raise ActFocusError(f'{file}: "{name}" in "{part}" must be {"an object" if kind is dict else "text"}')
    return info


def write_info(folder: Path, info: dict[str, Any]) -> None:
    with appearing(folder / "run.json", durable=True) as part:
        part.write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    names = ("torch", "transformers", "numpy", "pyarrow")
    found = {"actfocus": actfocus_core.__version__, "python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
