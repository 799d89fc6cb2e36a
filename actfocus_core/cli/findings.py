"""The findings of the doctor in a terminal."""

from __future__ import annotations

import shlex
from textwrap import shorten, wrap
from typing import TYPE_CHECKING

from actfocus_core.analysis.validate.rules import RULES
from actfocus_core.cli.show import clean

if TYPE_CHECKING:
    from actfocus_core.analysis.validate import Finding, Report

LINES, WIDTH = 22, 100
"""What fits on one screen beside the prompt"""
COLOURS = {"error": "red", "warning": "yellow", "info": "blue"}


def print_findings(report: Report, path: str, whole: bool = False) -> None:
    """Print a report: at most LINES lines of WIDTH columns, or with ``whole`` all of it.

    ``path``: what was checked, for the command that prints the rest.
    """
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    width = min(console.width, WIDTH)
    found = f"{len(report.findings)} findings" if report.findings else "no problems found"
    console.print(f"{report.trajectories} trajectories, {report.tokens} tokens: {found}")
    mask = f"what was sampled: {report.mask}"
    console.print(escape(clean(mask if whole else shorten(mask, width, placeholder=" ..."))))
    full = [_whole(finding, width, whole) for finding in report.findings]
    blocks = full if whole else _on_one_screen(report.findings, full, width)
    for finding, (head, *lines) in zip(report.findings, blocks):
        colour = COLOURS[finding.severity]
        console.print(f"[{colour}]{finding.severity:8}[/] [bold]{finding.check}[/]: {escape(head)}")
        for line in lines:
            console.print(f"{'':9}{escape(line)}")
    if blocks != full:
        more = len(report.findings) - len(blocks)
        rest = f"{more} more, and all" if more else "all"
        console.print(escape(f"{rest} in full: actfocus doctor {shlex.quote(clean(path))} --all"))


def _on_one_screen(findings: list[Finding], blocks: list[list[str]], width: int) -> list[list[str]]:
    """The blocks of lines, the last of them shortened or left out until they fit."""
    blocks = list(blocks)
    for number in reversed(range(len(findings))):
        if sum(map(len, blocks)) > LINES - 3:
            blocks[number] = _short(findings[number], width)
    while sum(map(len, blocks)) > LINES - 3:
        blocks.pop()
    return blocks


def _whole(finding: Finding, width: int, everything: bool) -> list[str]:
    """How often and where, and what it means; for what concerns the whole run only the latter."""
    limit = f" (threshold: {finding.threshold:g} {finding.unit})" if finding.threshold and everything else ""
    lines = _head(finding, finding.examples) if everything else _short(finding, width)[:-1]
    indent = " " * (len(finding.check) + 2) if not lines else ""
    message = wrap(indent + clean(finding.message) + limit, width - 9, drop_whitespace=True) or [""]
    return [*lines, *(line.removeprefix(indent) for line in message)]


def _short(finding: Finding, width: int) -> list[str]:
    """The same on a line each."""
    lines = [*_head(finding, finding.examples[:2]), clean(finding.message)]
    rooms = [width - 9 - 2 - len(finding.check), width - 9]
    return [shorten(line, max(room, 20), placeholder=" ...") for line, room in zip(lines, rooms)]


def _head(finding: Finding, examples: list[str]) -> list[str]:
    if RULES[finding.check].counts == "run":
        return []
    return [clean(f"{finding.count} of {finding.of}, for example {', '.join(examples)}")]
