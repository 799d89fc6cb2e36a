"""Extras: a library that is missing, or there in a version that does not fit, is named where it is wanted."""

import importlib.metadata
import importlib.util
import sys
import tomllib
from pathlib import Path

import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.extras import SEPARATE_ENVIRONMENT, require, require_version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Puts an importable module and its metadata before all others."""
    made = []

    def make(name: str, version: str) -> None:
        made.append(name)
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text("")
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    asked = [
        *PROJECT["dependencies"],
        *(
            f'{line} ; extra == "{extra}"'
            for extra, lines in PROJECT["optional-dependencies"].items()
            for line in lines
        ),
    ]
    real = importlib.metadata.requires
    monkeypatch.setattr("actfocus_core.extras.requires", lambda name: asked if name == "actfocus" else real(name))
    monkeypatch.syspath_prepend(tmp_path)
    yield make
    for name in made:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "extra, version, said",
    [
        ("trackio", "0.1", None),
        ("vllm", "0.31.2", "vllm 0.31.2 is installed, and vllm>=0.32 is needed.*constraints-vllm.txt"),
        ("trl", "1.17.0", "trl 1.17.0 is installed, and trl<1.17,>=1.16 is needed.*constraints-trl.txt"),
        ("trl", "1.16.3", None),
    ],
)
def test_a_version_that_does_not_fit_is_named(library, extra, version, said):
    library(extra, version)
    if said:
        with pytest.raises(ActFocusError, match=said):
            require(extra, extra)
    else:
        assert require(extra, extra).__name__ == extra


def test_what_the_package_itself_stands_on_is_looked_at_too(library):
    library("trackio", "1.0")
    library("bm25s", "0.1")
    with pytest.raises(
        ActFocusError,
        match=r"trackio: bm25s 0.1 is installed, and bm25s>=0.2.2 is needed; pip install 'actfocus\[trackio\]'$",
    ):
        require("trackio", "trackio")


def test_a_gradio_whose_page_would_stay_empty_is_one_line(library):
    library("gradio", "6.10.0")
    with pytest.raises(
        ActFocusError,
        match=r"^gradio 6.10.0 is installed, and gradio<7,>=6.20 is needed; pip install --upgrade actfocus$",
    ):
        require_version("gradio")


@pytest.mark.parametrize(
    "module, extra, cure",
    [
        ("nowhere_at_all", "wandb", r"pip install 'actfocus\[wandb\]'$"),
        ("nowhere_at_all", "trl", "-c constraints-trl.txt, in a separate environment$"),
        ("nowhere_at_all", "verl", "pip install --no-deps -r constraints-verl.txt"),
    ],
)
def test_what_is_missing_says_how_to_get_it(module, extra, cure):
    with pytest.raises(ActFocusError, match=cure):
        require(module, extra)


@pytest.mark.parametrize("plugin, trainer", [("trl", "trl"), ("verl", "verl"), ("verl_ray", "verl")])
def test_a_plug_in_without_its_trainer_says_so_at_import(plugin, trainer):
    if importlib.util.find_spec(trainer):
        pytest.skip(f"{trainer} is installed")
    with pytest.raises(
        ActFocusError, match=f"{trainer} needs a library that is not installed.*constraints-{trainer}.txt"
    ):
        importlib.import_module(f"actfocus_core.plugins.{plugin}")


def test_every_extra_apart_has_its_versions_pinned():
    for extra, file in {**SEPARATE_ENVIRONMENT, "verl": "constraints-verl.txt"}.items():
        pinned = dict(line.split("==") for line in (ROOT / file).read_text().splitlines() if not line.startswith("#"))
        assert pinned["torch"] == "2.13.0" and any(name in pinned for name in (extra, f"{extra}-cpu"))
