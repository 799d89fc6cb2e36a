"""Templates of start scripts, in which every inserted value is quoted for its context.

A model's name or an environment's option may be untrusted text, so a template inserts only numbers and the results of
these filters; anything else raises TypeError:

* ``repr``: a Python literal;
* ``sh``: one word of a POSIX shell;
* ``g``: a number in its shortest form.

``json`` writes JSON and ``hydra`` the value of a Hydra override; both are then quoted by ``sh``.
"""

from __future__ import annotations

import json
import re
import shlex
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


class Quoted(str):
    """Text that a script may contain unchanged."""


def hydra_value(text: str) -> str:
    r"""A string as the value of a Hydra override; bare where Hydra reads it as the same string, else in single quotes.

    In quotes, backslashes before a quote are doubled and the quote is escaped; ``${`` is escaped for OmegaConf, which
    would interpolate it. Source: Hydra 1.3, "Override grammar", and OmegaConf 2.3, "Escaping in interpolations".
    """
    if re.fullmatch(r"[\w./-]+( [\w./-]+)*", text, re.ASCII) and not _is_typed(text):
        return text
    text = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)
    text = re.sub(r"(\\*)'", lambda match: match[1] * 2 + r"\'", text)
    text = re.sub(r"\\+\Z", lambda match: match[0] * 2, text)
    return f"'{text}'"


def _is_typed(text: str) -> bool:
    """Whether Hydra reads a bare word as a number, a truth value or null."""
    if text.lower() in ("true", "false", "null"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def script(template: str, **values: object) -> str:
    """A template of this package, rendered with ``values``."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("actfocus_core.interop", "templates"),
        autoescape=False,
        finalize=_quoted,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "repr": lambda value: Quoted(repr(value)),
        "sh": lambda text: Quoted(shlex.quote(text)),
        "g": lambda number: Quoted(f"{number:g}"),
        "json": json.dumps,
        "hydra": hydra_value,
    }
    return environment


def _quoted(value: object) -> object:
    """The value, if a script may contain it."""
    if not isinstance(value, Quoted | int | float):
        raise TypeError(f"a template inserts {value!r} without a filter that quotes it")
    return value
