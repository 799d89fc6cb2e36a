import pickle

import pytest

from tests.conftest import make_tokenizer
from tests.interop.evil import Evil


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
