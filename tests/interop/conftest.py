import json
import pickle
from pathlib import Path

import pytest

from actfocus_core.interop import import_run
from actfocus_core.runs import Run
from tests.conftest import make_tokenizer
from tests.interop.evil import Evil
from tests.interop.files import write

FIXTURES = Path(__file__).parent / "fixtures"
"""Small files that the libraries' own functions wrote"""


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="session")
def tokenizer_folder(tokenizer, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "it-ran"


@pytest.fixture
def evil(marker):
    """The bytes of a pickle that would leave a file behind."""
    content = pickle.dumps(Evil(marker))
    pickle.loads(content)
    assert marker.exists()
    marker.unlink()
    return content


@pytest.fixture
def read(tokenizer_folder, tmp_path):
    """Rows of a format -> the run they become."""

    def read(name: str, rows: list[dict], **options) -> Run:
        run = import_run(write(name, tmp_path, rows), tmp_path / "run", tokenizer=tokenizer_folder, **options)
        return Run.open(run.path)

    return read


@pytest.fixture
def file(tmp_path):
    """Write a file, and return its path."""

    def file(content: str | bytes, name: str = "a.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return file


@pytest.fixture
def imported(tmp_path, tokenizer_folder):
    """Import one file with this content: text, a list of records as lines, or one document; returns the run and its
    trajectories."""

    def imported(content, name: str = "a.json", **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list) and name.endswith(".jsonl"):
            content = "".join(json.dumps(row) + "\n" for row in content)
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        out = tmp_path / f"imported-{len([*tmp_path.glob('imported-*')])}"
        run = Run.open(import_run(path, out, tokenizer=tokenizer_folder, **options).path)
        return run, run.trajectories()

    return imported


@pytest.fixture
def written_by(tmp_path, tokenizer_folder):
    """Import a file that a library wrote itself (``fixtures``); returns the run and its trajectories."""

    def written_by(name: str, **options):
        run = import_run(FIXTURES / name, tmp_path / "run", tokenizer=tokenizer_folder, **options)
        return run, Run.open(run.path).trajectories()

    return written_by
