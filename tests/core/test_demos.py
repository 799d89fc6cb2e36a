"""The demos run as they stand, and are as short as they say."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

from actfocus_core.analysis.diagnostics import gradient_mass
from actfocus_core.credit import SCHEMES, Batch, get_scheme
from actfocus_core.envs import ENVS
from actfocus_core.paths import assets
from actfocus_core.runs import Run

DEMOS = Path(__file__).resolve().parents[2] / "demos"
README = DEMOS.parent / "README.md"


def demo(name):
    spec = importlib.util.spec_from_file_location(f"demo_{name}", DEMOS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def registries():
    """What a demo registers is gone afterwards."""
    yield
    ENVS.pop("guess", None)
    SCHEMES.pop("later", None)


def code_lines(name):
    """Lines that are neither empty, comments, imports nor docstrings."""
    text = re.sub(r'""".*?"""', "", (DEMOS / f"{name}.py").read_text(), flags=re.S)
    return [line for line in text.splitlines() if line.strip() and not re.match(r"\s*(#|import |from )", line)]


@pytest.mark.parametrize(("name", "most"), [("method", 60), ("own_environment", 40), ("own_scheme", 20)])
def test_demos_are_as_short_as_they_say(name, most):
    assert len(code_lines(name)) <= most


def test_the_method_by_hand_is_that_of_the_library(capsys):
    method = demo("method")
    ours, plain = method.main()
    assert abs(ours - plain) < 1e-12
    batch = Batch.of(Run.open(assets() / "runs" / "frozen-lake").trajectories(0))
    for line, name in zip(capsys.readouterr().out.splitlines(), ("uniform", "role_only", "energy_only", "actfocus")):
        share = gradient_mass(batch.kinds, get_scheme(name).compute(batch).weight)["kinds"]["action"]["mass_share"]
        assert f"{share:6.1%} of the weight" in line
    logits = np.array([[0.0, 0.0], [1000.0, 0.0]])
    np.testing.assert_allclose(method.energy(logits), [-np.log(2), -1000])


def test_an_environment_of_ones_own(registries):
    trajectories = demo("own_environment").main()
    assert len(trajectories) == 4 and {t.env for t in trajectories} == {"guess"}
    env = ENVS["guess"]()
    env.reset(3)
    won = env.step([str(env.secret)])
    assert won.terminated and won.reward == 1 and "right" in won.observation
    again = env.clone()
    assert again.restore(env.state()) == env.observation()


def test_a_scheme_of_ones_own(registries):
    mass = demo("own_scheme").main()
    assert mass["later"]["effective_tokens"] < mass["uniform"]["effective_tokens"]
    assert mass["later"]["kinds"]["action"]["mass"] == pytest.approx(
        mass["shuffle:later"]["kinds"]["action"]["mass"], rel=1e-6
    )


def test_the_diagnostic_over_the_sample_runs():
    module = demo("diagnostic")
    rows = module.main(assets() / "runs" / "frozen-lake")
    assert [row["part"] for row in rows] == ["all", "reasoning", "action"]
    assert all(row["n"] == 32 and row["low"] <= row["rho"] <= row["high"] for row in rows)
    assert module.text(None).strip() == "-" and module.text(0.5) == "+0.500"


def test_schemes_over_seeds(tmp_path, capsys):
    module = demo("schemes_over_seeds")
    # Small ones; the demo reads runs that are there already.
    (tmp_path / "c").mkdir()
    module.curves(
        ("uniform", "actfocus"),
        1,
        tmp_path / "c",
        "frozen_lake",
        steps=1,
        time_budget=None,
        prompts=2,
        rollouts=2,
        eval_prompts=1,
        eval_rollouts=1,
        eval_every=1,
        mass_every=0,
    )
    found = module.main(["--seeds", "1", "--out", str(tmp_path / "c")])
    assert {name: rows.shape for name, rows in found.items()} == {"uniform": (1, 2), "actfocus": (1, 2)}
    assert "no difference is claimed" in capsys.readouterr().out
    page = (tmp_path / "c" / "success.html").read_text()
    assert "actfocus, mean of 1" in page and not re.search(r'<script[^>]+src="http', page)
    a, b = np.zeros((3, 2)), np.array([[0, 0.1], [0, 0.2], [0, 0.3]])
    mean, low, high = module.difference(a, b)
    assert mean == pytest.approx(0.2) and 0.1 <= low < mean < high <= 0.3


def test_the_notebook():
    cells = json.loads((DEMOS / "tour.ipynb").read_text())["cells"]
    space = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            *body, last = "".join(cell["source"]).rstrip().split("\n")
            exec("\n".join(body), space)
            value = eval(last, space)
    assert space["mass"]["uniform"] < space["mass"]["role_only"] < space["mass"]["actfocus"]
    assert value._repr_html_().startswith("<div") and len(space["fresh"]) == 8


def test_the_readmes_example_prints_something_true(capsys):
    code = re.search(r"## In Python\n\n((?:    .*\n|\n)+)", README.read_text())[1]
    example = "\n".join(line[4:] for line in code.split("\n\nWhat")[0].splitlines())
    exec(example, space := {})
    printed = eval(capsys.readouterr().out)
    share = (space["batch"].kinds == 4).sum() / space["batch"].response.sum()
    assert printed["token_share"] == pytest.approx(share) and printed["mass_share"] > share
