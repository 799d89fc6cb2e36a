"""The documentation names what is there, and builds without a warning."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from actfocus_core.listing.columns import FIXED
from actfocus_core.train.metrics import EVALUATION, METRICS
from actfocus_studio.pages.learn.facts import FACTS
from actfocus_studio.pages.learn.lessons import load_lessons

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def test_every_step_of_the_two_journeys_is_there():
    """CONTRIBUTING follows alpha and a trajectory through the code, by file and name."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    steps = re.findall(r"`([\w/]+/[\w.]+\.(?:py|js))`:\s+`(\w+)`", text)
    assert len(steps) > 20
    for file, name in steps:
        source = (ROOT / file).read_text(encoding="utf-8")
        defined = rf"^\s*(def|class|function|export function|(export )?const) {name}\b"
        assert re.search(defined, source, re.M), f"{file} has no {name}"
    for path in re.findall(r"`((?:actfocus_core|app|docs|tests)/[\w./]*)`", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_names_is_there(page):
    text = page.read_text(encoding="utf-8")
    for file, symbols in re.findall(
        r"`((?:actfocus_core|app|demos|tests)/[\w/]+\.py)`(?:: ((?:`\w+`(?:, )?)+))?", text
    ):
        source = (ROOT / file).read_text(encoding="utf-8")
        for symbol in re.findall(r"`(\w+)`", symbols):
            assert re.search(rf"^(def|class) {symbol}\b", source, re.M), f"{file} has no {symbol}"
    for name in re.findall(r"`(\w+\.(?:py|ipynb))`", text):
        assert list(ROOT.glob(f"demos/{name}")) or list(ROOT.glob(f"app/actfocus_studio/**/{name}")), name
    assert page.name in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_commands_and_options_are_those_of_the_command_line():
    from typer.main import get_command

    from actfocus_core.cli import app

    group = get_command(app)
    for page in PAGES:
        for line in re.findall(r"^ {4}actfocus (.*)", page.read_text(encoding="utf-8"), re.M):
            name, *words = line.split("#")[0].split()
            command = group.get_command(None, name)
            options = {
                option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
            }
            assert {word for word in words if word.startswith("--")} <= options, line


def test_the_example_of_a_lesson_is_one(tmp_path):
    file = tmp_path / "lesson.yaml"
    file.write_text(re.search(r"```yaml\n(.*?)```", (DOCS / "lessons.md").read_text(), re.S)[1])
    assert [s.question is not None for s in load_lessons([file])["my-lesson"].steps] == [True, True]


def test_the_python_of_the_start_page_runs(capsys):
    exec(re.search(r"```python\n(.*?)```", (DOCS / "index.md").read_text(), re.S)[1], {})
    assert "mass_share" in capsys.readouterr().out


def test_the_python_of_the_list_runs(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    exec(re.search(r"```python\n(.*?)```", (DOCS / "rollouts.md").read_text(), re.S)[1], {})
    assert re.match(r"\d+ of 256 \[{'id': '00000-", capsys.readouterr().out)


def test_tables_name_every_metric_and_fact():
    space = {}
    exec((DOCS / "tables.py").read_text(), space)
    metrics = space["on_page_markdown"]((DOCS / "metrics.md").read_text())
    lessons = space["on_page_markdown"]((DOCS / "lessons.md").read_text())
    columns = space["on_page_markdown"]((DOCS / "rollouts.md").read_text())
    assert all(f"| `{name}` |" in columns for name in FIXED) and "_TABLE" not in columns
    for name in (*METRICS, *EVALUATION):
        assert f"| `{name}` |" in metrics
    assert all(f"| `{name}` |" in lessons for name in FACTS) and "_TABLE" not in metrics + lessons


def test_it_builds_without_a_warning(tmp_path):
    pytest.importorskip("material", reason="the documentation is built with pip install 'actfocus[docs]'")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "mass/effective_tokens" in (tmp_path / "site/metrics/index.html").read_text()
