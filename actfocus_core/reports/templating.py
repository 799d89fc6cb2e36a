"""Templates of the pages that are written: Jinja, with every value escaped.

A template lays out values that Python computed. A string that enters one is text, whatever it looks like; only
``Markup``, which another template or ``svg`` made, enters as it is. A name that was not passed is an error.
"""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup


@cache
def environment(package: str) -> Environment:
    """The templates in the folder ``templates`` of ``package``, autoescaped."""
    return Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def template(name: str, package: str = "actfocus_core.reports") -> Template:
    """One template by its file name."""
    return environment(package).get_template(name)


def html(name: str, **values: object) -> Markup:
    """A template of the report as HTML, filled with ``values``."""
    return Markup(template(name).render(**values))
