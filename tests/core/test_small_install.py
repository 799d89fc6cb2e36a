"""What a trainer's maintainer would depend on works with numpy, pyarrow and pydantic alone: runs, kinds, spans and credit."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.test_run_folder_page import example

ROOT = Path(__file__).parents[2]
USE = """
import sys
from pathlib import Path

import numpy as np

from actfocus_core.credit import SCHEMES, Batch, get_scheme, token_weights
from actfocus_core.diagnostics import gradient_mass
from actfocus_core.listing import Cache, Listing, Query, Search
from actfocus_core.paths import assets
from actfocus_core.runs import Run, RunWriter, atomic_run
from actfocus_core.spans import span_rule
from actfocus_core.trajectory import TokenKind

out = Path(sys.argv[1])
stored = Run.open(assets() / "runs/frozen-lake")
step = stored.steps()[-1]
trajectories = stored.trajectories(step)
assert any("ref_energy" in t.signals for t in trajectories)

with atomic_run(out, {"command": "small"}) as run, RunWriter(run, "tiny") as writer:
    for t in trajectories:
        writer.add(t)
again = Run.open(out)
for a, b in zip(trajectories, again.stream(step), strict=True):
    assert a.id == b.id and a.texts == b.texts and np.array_equal(a.token_ids, b.token_ids) and np.array_equal(a.kinds, b.kinds)
    assert a.turn_records == b.turn_records and set(a.signals) == set(b.signals)
    assert all(np.array_equal(a.signals[name], b.signals[name], equal_nan=True) for name in a.signals)
assert again.trajectory(trajectories[3].id).ret == trajectories[3].ret
again.log({"step": 1, "loss/policy": 0.5})
assert again.metrics()[0] == [{"step": 1, "loss/policy": 0.5}]

batch = Batch.of(trajectories)
credit = get_scheme("actfocus").compute(batch, alpha=0.1, beta=0.5)
action = batch.kinds == TokenKind.ACTION
expected = token_weights(batch.kinds, batch.signals["energy"], 0.1, 0.5)
assert np.array_equal(credit.weight[action], expected[action]) and credit.weight[action].min() > 1
assert 0 < gradient_mass(batch.kinds, credit.weight)["kinds"]["action"]["mass_share"] < 1
done = [name for name in SCHEMES if not any(not batch.has(need) for need in get_scheme(name).required(get_scheme(name).defaults))]
assert {"uniform", "actfocus", "gigpo"} <= set(done)
for name in done:
    get_scheme(name).compute(batch)

listing = Listing(again, cache=Cache(out.parent / "cache"))
listing.compute()
listing.index_text()
page = listing.page(Query("success == false", Search("hole"), "change", True))
assert page.total and page.rows["change"].to_pylist() == sorted(page.rows["change"].to_pylist(), reverse=True)
assert listing.extremes("energy", top=1)[0].value == max(e.value for e in listing.extremes("energy", top=9))

reply = "<think>left is open</think><answer>Left</answer>"
spans = span_rule("think_answer").find(reply, False)
assert span_rule("think_answer").actions(reply, spans) == ["Left"]
assert trajectories[0]._repr_html_().count("<i class=") > 100
loaded = {"torch", "transformers", "pandas", "scipy", "gradio", "plotly", "typer", "jinja2"} & set(sys.modules)
assert not loaded, loaded
print("small", len(trajectories))
"""


@pytest.fixture(
    scope="module", params=["constraints.txt", pytest.param("constraints-lowest.txt", marks=pytest.mark.slow)]
)
def python(request, tmp_path_factory) -> Path:
    """A Python that has nothing else, with the tested versions and with the lowest ones."""
    folder = tmp_path_factory.mktemp("small")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--constraint", ROOT / request.param, "numpy", "pyarrow", "pydantic"], check=True)
    return folder / "bin/python"


def test_runs_kinds_spans_and_credit_need_three_packages(python, tmp_path):
    done = subprocess.run([python, "-c", USE, tmp_path / "run"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("small ")


def test_the_example_of_the_writer_needs_no_more(python, tmp_path):
    code = f"{example()}\nassert len(Run.open('runs/mine').trajectories()) == 2\nprint('written')"
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0 and done.stdout == "written\n", done.stderr[-2000:]


def test_what_needs_more_says_so(python):
    """A missing library is an ordinary ModuleNotFoundError that names it."""
    done = subprocess.run([python, "-c", "import actfocus_core.cli"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and "No module named 'typer'" in done.stderr
