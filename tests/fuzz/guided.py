"""Fuzzing led by coverage: python -m tests.fuzz.guided TARGET [libFuzzer's options]

The targets are those of the tests here; ``pip install 'actfocus[fuzz]'`` (atheris: Linux, Python 3.11 to 3.13). A case that fails is kept
by libFuzzer as a file, whose name given in place of the options repeats it. ``make fuzz`` gives every target a minute.
"""

from __future__ import annotations

import sys

import atheris

from tests.fuzz import cases

MODULES = ("parsers", "url", "lessons", "run_folder", "importers")


def main() -> None:
    # What is looked into, before anything imports it: our own code alone.
    with atheris.instrument_imports(include=["actfocus_core", "actfocus_studio"]):
        for name in MODULES:
            __import__(f"tests.fuzz.test_{name}")
    name, *options = sys.argv[1:] or [""]
    if name not in cases.TARGETS:
        sys.exit(f"target {name!r}: must be one of {', '.join(cases.TARGETS)}")
    atheris.Setup([sys.argv[0], f"-max_len={cases.BYTES}", *options], cases.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
