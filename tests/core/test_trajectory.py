import numpy as np
import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.trajectory import TokenKind, Trajectory


def _short(**changes):
    fields = dict(
        id="a",
        token_ids=[1, 2, 3],
        kinds=[0, 3, 4],
        turns=[-1, 0, 0],
        logprobs=[np.nan, -1.0, 0.0],
        texts=["s", "r", "a"],
    )
    return Trajectory(**{**fields, **changes})


def test_arrays_have_the_documented_types():
    t = _short(signals={"ref_energy": [np.nan, 1, 0]})
    types = (t.token_ids.dtype, t.kinds.dtype, t.turns.dtype, t.logprobs.dtype, t.signals["ref_energy"].dtype)
    assert [str(x) for x in types] == ["int32", "uint8", "int16", "float32", "float32"]


def test_text_by_kind_and_turn():
    t = _short()
    assert (t.text(), t.text(TokenKind.ACTION), t.text(turn=0)) == ("sra", "a", "ra")
    assert t.response_mask.tolist() == [False, True, True]


@pytest.mark.parametrize(
    "changes", [{"kinds": [0, 3]}, {"texts": ["a"]}, {"kinds": [0, 3, 9]}, {"signals": {"ref_energy": [1.0]}}]
)
def test_arrays_that_do_not_fit_are_refused(changes):
    with pytest.raises(ActFocusError, match="trajectory a"):
        _short(**changes)
