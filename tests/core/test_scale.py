"""The planning table of docs/scale.md is what the library computes, and that is the arithmetic it says."""

import re
from pathlib import Path

import pytest

from actfocus_core.train.sizing.memory import QWEN
from actfocus_core.train.sizing.scale import SIZES, plan

PAGE = (Path(__file__).parents[2] / "docs/scale.md").read_text()
ROWS = {
    cells[0]: [float(c) for c in cells[1:]]
    for line in PAGE.splitlines()
    if len(cells := [c.strip() for c in line.strip("|").split("|")]) == 9 and cells[0].endswith("B")
}


@pytest.mark.parametrize("size", SIZES)
def test_the_page_shows_what_is_computed(size):
    p = plan(SIZES[size])
    computed = [
        p.parameters / 1e9,
        p.states / 1e9,
        p.reference / 1e9,
        p.local / 1e9,
        p.gpus,
        p.cache / 1e3,
        p.energy_pass,
        p.update,
    ]
    for shown, number, digits in zip(ROWS[size], computed, (2, 0, 1, 1, 0, 0, 1, 1), strict=True):
        assert shown == round(number, digits)


@pytest.mark.parametrize(
    "size, published",
    [("7B", 7_615_616_512), ("14B", 14_770_033_664), ("32B", 32_763_876_352), ("72B", 72_706_203_648)],
)
def test_larger_models_have_their_published_sizes(size, published):
    assert plan(SIZES[size]).parameters == published and QWEN.keys() < SIZES.keys() == ROWS.keys()


def test_a_row_by_hand():
    """7B on four GPUs of 80 GB: a quarter of 20 bytes a parameter, 8,192 tokens of activations, one chunk of logits, two blocks."""
    p, n = plan(SIZES["7B"]), 7_615_616_512
    stream = 28 * 4 * 3584  # float32 input of each of the 28 blocks
    block = 26 * 3584 + 2 * (4 * 18944 + 2 * 3584 + 2 * 512) + 4 * 28 + 8
    assert p.local == 8192 * (stream + block) + (2**27 // 152064) * 152064 * 14
    a_block = 2 * 3584 * 3584 + 2 * 3584 * 512 + 3584 + 2 * 512 + 3 * 3584 * 18944 + 2 * 3584
    needed = [1.1 * (20 * n / gpus + p.local + 4 * a_block) for gpus in (2, 4)]
    assert needed[1] <= 80e9 < needed[0] and p.gpus == 4
    assert p.energy_pass == pytest.approx(2 * n * 128 * 3600 / (4 * 0.4 * 989e12)) and p.update == pytest.approx(
        4 * p.energy_pass
    )
    assert plan(SIZES["7B"], gpu=141e9).gpus == 2


def test_the_page_s_other_figures_are_computed_too():
    said = re.search(r"8,192 tokens of 152,064 logits, ([\d.]+) GB instead of (\d+\.\d)", PAGE)
    logit = 14  # float32 logits, exponentials and gradient, and the bfloat16 output
    whole, chunk = 8192 * 152064 * logit, 2**27 // 152064 * 152064 * logit
    assert [float(x) for x in said.groups()] == [round(whole / 1e9, 1), round(chunk / 1e9, 1)]
