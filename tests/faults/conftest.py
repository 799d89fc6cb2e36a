"""Disks that can be filled and made read-only: small tmpfs, which only root may mount."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from actfocus_core.paths import assets
from actfocus_core.runs import Run


@pytest.fixture(scope="session")
def rollouts():
    """Of a run that comes with the package: no model is loaded. Not to be changed."""
    return Run.open(assets() / "runs/frozen-lake").trajectories()[:24]


class Disk:
    """A disk of its own of some kB."""

    def __init__(self, path: Path, kilobytes: int):
        self.path, self.ballast = path, path / "ballast"
        path.mkdir()
        if _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", path):
            pytest.skip("a small disk is a tmpfs, which only root may mount")

    def fill(self, kilobytes: int = 0) -> None:
        """Leave only so many kB free."""
        self.ballast.unlink(missing_ok=True)
        with open(self.ballast, "wb", buffering=0) as file:
            try:
                while file.write(bytes(1 << 12)):
                    pass
            except OSError:
                file.truncate(max(0, file.tell() - (kilobytes << 10)))

    def empty(self) -> None:
        self.ballast.unlink()

    def read_only(self) -> None:
        assert not _mount("-o", "remount,ro", self.path)

    def files(self) -> set[str]:
        """All that lies on the disk but what fills it."""
        return {str(path.relative_to(self.path)) for path in self.path.rglob("*")} - {"ballast"}


def _mount(*arguments) -> int:
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode


@pytest.fixture
def disk(tmp_path) -> Iterator[Disk]:
    """64 MB."""
    made = Disk(tmp_path / "disk", 64 << 10)
    yield made
    subprocess.run(["umount", "--lazy", str(made.path)], check=True)
