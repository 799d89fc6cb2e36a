"""The source archive and the wheel made of it, installed in an empty environment outside the checkout."""

import re
import subprocess
import sys
import sysconfig
import tarfile
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from actfocus_core import processes

ROOT = Path(__file__).resolve().parents[2]
STUDIO = ROOT / "app/actfocus_studio"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The folder of both: the wheel is built from the source archive, as an index would build it."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", out, ROOT], check=True, capture_output=True, text=True)
    return out


@pytest.fixture(scope="module")
def names(built) -> list[str]:
    return zipfile.ZipFile(next(built.glob("*.whl"))).namelist()


def test_the_wheel_carries_its_assets(names):
    for wanted in (
        "actfocus_core/assets/tiny-policy/model.safetensors",
        "actfocus_core/assets/runs/frozen-lake/run.json",
        "actfocus_core/assets/smollm2-adapter/adapter_model.safetensors",
        "actfocus_core/reports/templates/sections/schemes.html.j2",
        "actfocus_core/interop/templates/verl.sh.j2",
    ):
        assert wanted in names


def test_the_wheel_has_two_packages_and_no_other_module(names):
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"actfocus_core", "actfocus_studio"}


def test_the_wheel_has_every_file_of_the_studio(names):
    files = [file for file in STUDIO.rglob("*") if file.is_file() and file.suffix in (".py", ".js", ".css", ".yaml")]
    assert {file.suffix for file in files} == {".py", ".js", ".css", ".yaml"}
    assert not {str(file.relative_to(STUDIO.parent)) for file in files} - set(names)


def test_the_source_archive_has_what_the_tests_need(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        top = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert {"actfocus_core", "app", "assets", "tests", "demos", "benchmarks", "docs", "pyproject.toml"} <= top


@pytest.fixture(scope="module")
def libraries(tmp_path_factory) -> Path:
    """This environment's libraries without this package, nor what its installation here registered."""
    folder = tmp_path_factory.mktemp("libraries")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "actfocus" not in path.name:
            (folder / path.name).symlink_to(path)
    return folder


@dataclass(frozen=True)
class Environment:
    """A Python in which the wheel is installed, and which sees this one's libraries but not the checkout."""

    python: Path
    site: Path
    variables: dict[str, str]

    def run(self, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
        command = [self.python, *map(str, arguments)]
        return subprocess.run(command, env=self.variables, cwd=cwd, capture_output=True, text=True)


@pytest.fixture(scope="module")
def installed(built, libraries, tmp_path_factory) -> Environment:
    home = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home / "env"], check=True)
    python = home / "env/bin/python"
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--target", site, next(built.glob("*.whl"))], check=True, capture_output=True)
    return Environment(python, site, {"PYTHONPATH": str(libraries), "PATH": "/usr/bin:/bin", "HOME": str(home)})


def test_the_installed_wheel_works_outside_the_checkout(installed, tmp_path):
    code = "import actfocus_core, actfocus_studio; print(actfocus_core.__file__, actfocus_studio.__file__)"
    where = installed.run("-c", code, cwd=tmp_path)
    assert where.returncode == 0 and str(ROOT) not in where.stdout, where
    cli = ["-m", "actfocus_core.cli"]
    result = installed.run(*cli, "rollout", "--prompts", 1, "--rollouts", 2, "--out", "mine", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "mine/run.json").is_file()
    for arguments in (["report", "mine", "--bootstrap", 10], ["export", "mine", "--format", "verl"]):
        result = installed.run(*cli, *arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "report.html").is_file() and (tmp_path / "mine.verl.sh").is_file()


@pytest.fixture
def folder_of_a_user(tmp_path) -> tuple[Path, Callable[[], bool]]:
    """A folder with a user's own ``app.py`` and package ``app``, and whether one of them was run."""
    marker = tmp_path / "was-run"
    (tmp_path / "work/app").mkdir(parents=True)
    for file in ("work/app.py", "work/app/__init__.py"):
        (tmp_path / file).write_text(f"open({str(marker)!r}, 'w')\nraise SystemExit('not the studio')\n")
    return tmp_path / "work", marker.exists


def test_a_users_own_app_is_never_run_by_the_command(installed, folder_of_a_user):
    folder, was_run = folder_of_a_user
    result = installed.run("-m", "actfocus_core.cli", "app", "--help", cwd=folder)
    assert result.returncode == 0 and "Open the studio in the browser" in result.stdout, result.stderr
    assert not was_run()


def test_the_studio_starts_beside_a_users_own_app(installed, folder_of_a_user):
    folder, was_run = folder_of_a_user
    process = processes.start(
        [str(installed.python), "-m", "actfocus_core.cli", "app", "--no-browser", "--port", "0"],
        env=installed.variables,
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        address = re.search(r"http://\S+", line)
        assert address, line
        with urllib.request.urlopen(address[0], timeout=60) as answer:
            path = re.search(r"studio/script/\w+\.js", answer.read().decode())
        with urllib.request.urlopen(f"{address[0]}{path[0]}", timeout=60) as answer:
            script = answer.read().decode()
        for file in STUDIO.rglob("*.js"):
            assert f"'{file.relative_to(STUDIO).as_posix()}': " in script
    finally:
        processes.end(process, 10.0)
    assert not was_run()


def test_without_the_studio_its_command_says_what_to_install(installed, libraries, tmp_path):
    (tmp_path / "actfocus_core").symlink_to(installed.site / "actfocus_core")
    variables = {**installed.variables, "PYTHONPATH": f"{tmp_path}:{libraries}"}

    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-S", "-P", "-m", "actfocus_core.cli", *arguments]
        return subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True)

    listed = run("--help")
    assert listed.returncode == 0 and "Not installed" in listed.stdout, listed
    for arguments in (["app"], ["app", "--help"], ["app", "some-run", "--port", "1"]):
        result = run(*arguments)
        assert result.returncode == 2 and result.stdout == "", result
        assert len(result.stderr.splitlines()) == 1 and "pip install" in result.stderr
