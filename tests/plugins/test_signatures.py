"""Whether a trainer is the one a plug-in was written against: no trainer is needed for that."""

from types import ModuleType

import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.plugins.signatures import check_methods, check_version


@pytest.fixture
def library():
    made = ModuleType("trainer")
    made.__version__ = "1.16.2"
    return made


class Trainer:
    def step(self, batch, metrics): ...


def test_any_patch_of_the_version_fits_and_no_other_version_does(library):
    check_version(library, "1.16")
    for other in ("1.1", "1.17", "2.16", "1.16.2.0"):
        with pytest.raises(ActFocusError, match=rf"^trainer 1\.16\.2: .*{other}.*pip install 'trainer=={other}\.\*'$"):
            check_version(library, other)


def test_a_method_that_is_gone_or_takes_something_else_is_named(library):
    check_methods(library, "1.16", {(Trainer, "step"): ["self", "batch", "metrics"]})
    for name, arguments in (("step", ["self", "batch"]), ("step", ["self", "metrics", "batch"]), ("walk", ["self"])):
        with pytest.raises(
            ActFocusError, match=rf"^trainer 1\.16\.2: Trainer\.{name}\({', '.join(arguments)}\) does not exist"
        ):
            check_methods(library, "1.16", {(Trainer, name): arguments})
