"""The wheel in an empty environment, outside the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", out, ROOT], check=True, capture_output=True, text=True
    )
    return next(out.glob("*.whl"))


def test_the_wheel_carries_its_assets(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "actfocus_core/assets/tiny-policy/model.safetensors",
        "actfocus_core/assets/runs/frozen-lake/run.json",
        "actfocus_core/assets/smollm2-adapter/adapter_model.safetensors",
        "actfocus_core/reports/templates/sections/schemes.html.j2",
        "actfocus_core/interop/templates/verl.sh.j2",
        "actfocus_studio/pages/trace/page.js",
    ):
        assert wanted in names
    assert not [n for n in names if n.startswith(("tests", "assets"))]


def test_the_installed_wheel_works_outside_the_checkout(wheel, tmp_path):
    """A new environment that sees this one's libraries, but not this checkout."""
    import sysconfig

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env/bin/python"
    site = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
    )
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            site,
            wheel,
        ],
        check=True,
        capture_output=True,
    )
    # A second site folder through PYTHONPATH runs no .pth files, so the editable checkout stays out.
    env = {"PYTHONPATH": sysconfig.get_path("purelib"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    where = subprocess.run(
        [
            python,
            "-c",
            "import actfocus_core, actfocus_studio; print(actfocus_core.__file__, actfocus_studio.__file__)",
        ],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert str(ROOT) not in where.stdout and where.returncode == 0, where
    result = subprocess.run(
        [python, "-m", "actfocus_core.cli", "rollout", "--prompts", "1", "--rollouts", "2", "--out", "mine", "--json"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "mine/run.json").is_file()
    for arguments in (["report", "mine", "--bootstrap", "10"], ["export", "mine", "--format", "verl"]):
        result = subprocess.run(
            [python, "-m", "actfocus_core.cli", *arguments], env=env, cwd=tmp_path, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "report.html").is_file() and (tmp_path / "mine.verl.sh").is_file()
