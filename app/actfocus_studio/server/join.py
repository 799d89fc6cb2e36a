"""The studio's JavaScript modules as one script: a browser sends one request in place of one for each module.

This is no parser of JavaScript. Of a module, its comments and the lines that begin with ``import`` or ``export`` are
read, in the forms that the studio uses; every other form is refused.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from actfocus_core.errors import ActFocusError

NAMES = r"\{\s*([\w$]+(?:,\s*[\w$]+)*),?\s*\}"
COMMENT = re.compile(r"/\*.*?\*/|(?<!\S)//[^\n]*", re.DOTALL)
STATEMENT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
IMPORT = re.compile(rf"import (?:{NAMES} from |\* as ([\w$]+) from )?'([^'\n]+)';")
EXPORT = re.compile(r"export (?=(?:const|class|function|async function) ([\w$]+))")
EXPORT_LIST = re.compile(rf"export {NAMES};")
DYNAMIC = re.compile(r"\bimport\s*[.(]")


def joined(modules: Mapping[str, str]) -> str:
    """One ES module that runs all of ``modules`` and exports ``modules``, an object of their exports by name.

    Each module runs once, after those it imports, in a function of its own that returns its exports. The order is that
    in which a browser would run them if it imported them one after another. The lines of a module follow the one that
    names it.

    ``modules``: path -> text. They import each other by paths relative to their own.
    Raises ActFocusError, with module and line, for an import or export that is not of one of these forms:
    ``import { a, b } from 'PATH';``, ``import * as a from 'PATH';``, ``import 'PATH';``, ``export { a, b };``, and
    ``export`` before a ``const``, ``class``, ``function`` or ``async function`` with a name; for a path or a name that
    is not there; and for modules that import each other.
    """
    return _Joiner(modules).text()


class _Joiner:
    def __init__(self, modules: Mapping[str, str]):
        self._modules = modules
        self._exports: dict[str, list[str]] = {}
        """Of the modules that are written, in their order."""
        self._written: list[str] = []

    def text(self) -> str:
        for name in self._modules:
            self._add(name, ())
        table = "".join(f"  '{name}': {self._variable(name)},\n" for name in self._exports)
        return f"{''.join(self._written)}export const modules = {{\n{table}}};\n"

    def _add(self, name: str, importers: tuple[str, ...]) -> None:
        """Write a module, after those it imports. ``importers``: the modules whose imports led to it."""
        if name in self._exports:
            return
        text = self._modules[name]
        code = COMMENT.sub(_blank, text)
        parts, end, exports = [], 0, []
        for statement in STATEMENT.finditer(code):
            at, replacement = statement.start(), ""
            if match := IMPORT.match(code, at):
                replacement = self._bindings(match, name, importers)
            elif match := EXPORT.match(code, at):
                exports.append(match[1])
            elif match := EXPORT_LIST.match(code, at):
                exports += _names(match[1])
            else:
                raise _error(statement, name, f"`{statement[0].strip()}` is not among the forms that can be joined")
            parts += [text[end:at], replacement, "\n" * (match[0].count("\n") - replacement.count("\n"))]
            end = match.end()
        if dynamic := DYNAMIC.search(code):
            raise _error(dynamic, name, "modules that are joined have no import() and no import.meta")
        self._exports[name] = exports
        body, returned = "".join(parts) + text[end:], ", ".join(exports)
        self._written.append(
            f"const {self._variable(name)} = (() => {{ // {name}\n{body.rstrip()}\nreturn {{ {returned} }};\n}})();\n\n"
        )

    def _bindings(self, match: re.Match[str], name: str, importers: tuple[str, ...]) -> str:
        """What stands in place of an import of module ``name``, after the imported module is written."""
        names, whole, path = match.groups()
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
        chain = (*importers, name)
        if not path.startswith(".") or target not in self._modules:
            raise _error(match, name, f"there is no module {path}")
        if target in chain:
            circle = " -> ".join([*chain[chain.index(target) :], target])
            raise _error(match, name, f"modules import each other: {circle}")
        self._add(target, chain)
        for wanted in _names(names or ""):
            if wanted not in self._exports[target]:
                raise _error(match, name, f"{target} does not export {wanted}")
        bound = f"{{ {names} }}" if names else whole
        return f"const {bound} = {self._variable(target)};" if bound else ""

    def _variable(self, name: str) -> str:
        """The variable of a module's exports, a name that no module uses."""
        return f"$${list(self._exports).index(name)}"


def _names(text: str) -> list[str]:
    return re.findall(r"[\w$]+", text)


def _blank(comment: re.Match[str]) -> str:
    """Spaces in place of a comment, so that all else keeps its place."""
    return re.sub(r"[^\n]", " ", comment[0])


def _error(match: re.Match[str], name: str, what: str) -> ActFocusError:
    line = match.string.count("\n", 0, match.start()) + 1
    return ActFocusError(f"{name}, line {line}: {what}")
