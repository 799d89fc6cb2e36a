"""What the package asks of an environment: ranges, with the files of exact versions inside them."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
FILES = sorted(ROOT.glob("constraints*.txt"))
TESTED_LOW = [*PROJECT["dependencies"], *EXTRAS["lora"], *EXTRAS["tensorboard"]]
"""What constraints-lowest.txt answers for; the other extras have versions and environments of their own."""


def pinned(file: Path) -> dict[str, Version]:
    """Package -> version. Every line but a comment is one exact version."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)}


def requirements() -> list[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
    return [found for found in map(Requirement, lines) if found.name != "actfocus"]


def lower(requirement: Requirement) -> Version:
    [bound] = [spec.version for spec in requirement.specifier if spec.operator == ">="]
    return Version(bound)


def test_every_requirement_is_a_range():
    for requirement in requirements():
        operators = {spec.operator for spec in requirement.specifier}
        assert operators <= {">=", "<"}, f"{requirement}: exact versions stand in the constraints files"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_exact_versions_lie_inside_the_ranges(file):
    versions = pinned(file)
    looked_at = 0
    for requirement in requirements():
        version = versions.get(canonicalize_name(requirement.name))
        if version is not None:
            looked_at += 1
            assert requirement.specifier.contains(version), f"{requirement.name}=={version} is not {requirement}"
    assert looked_at > 10


def test_the_lowest_versions_are_the_lower_bounds():
    versions = pinned(ROOT / "constraints-lowest.txt")
    for line in TESTED_LOW:
        requirement = Requirement(line)
        assert versions.get(canonicalize_name(requirement.name)) == lower(requirement), line


def test_every_file_of_versions_is_in_the_source_package():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]
    assert {file.name for file in FILES} <= set(build["include"])
