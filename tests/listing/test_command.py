"""`actfocus list`: tables that fit, JSON lines, and bad input in one line."""

import json
from dataclasses import replace

import pytest

from tests.core.command import actfocus
from tests.listing.conftest import TEXTS, rollout, scored, write


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


def lines(*arguments):
    result = actfocus("list", *arguments, "--json")
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_example_of_the_manual_finds_what_it_says(tmp_path):
    ts = [
        replace(
            t,
            success=i % 2 > 0,
            turn_records=[replace(turn, valid=i % 3 > 0) for turn in t.turn_records],
            texts=["hole "] * len(t) if i < 8 else t.texts,
        )
        for i, t in enumerate(scored(1))
    ]
    run = write(tmp_path / "run", ts)
    found = lines(run.path, "--where", "success == false and malformed", "--sort", "change", "--search", "hole")
    assert {row["id"] for row in found} == {"0-0-0", "0-1-2"}
    assert [row["change"] for row in found] == sorted((row["change"] for row in found), reverse=True)
    assert all(row["hits"] > 0 and row["first_hit"] == 0 for row in found)


def test_json_has_every_stored_column_and_null_for_unknown(tmp_path):
    run = write(tmp_path / "run", [rollout("a", reward=float("nan"), columns={"task": "x"})])
    [row] = lines(run.path)
    assert row["return"] is None and row["success"] is None and row["columns.task"] == "x" and "change" not in row
    assert lines(run.path, "--columns", "id,tokens") == [{"id": "a", "tokens": 12}]
    assert set(lines(run.path, "--columns", "all")[0]) > {"change", "max_energy", "columns.task"}


@pytest.mark.parametrize(
    "extra", [[], ["--columns", "all"], ["--sort", "change"], ["--search", "hole"], ["--tokens", "nll"]]
)
def test_tables_fit_100_columns_whatever_is_in_them(tmp_path, extra):
    long = "name " * 40
    ts = [
        rollout(
            f"{long}{i}",
            group=long,
            env=long,
            agent=long,
            error=long,
            texts=[*TEXTS[:-1], "long " * 90],
            columns={long: long},
        )
        for i in range(3)
    ]
    result = actfocus("list", write(tmp_path / "run", ts).path, *extra)
    assert result.returncode == 0 and result.stderr == ""
    assert max(map(len, result.stdout.splitlines())) <= (100 if "all" not in extra else 10_000)
    if "all" not in extra:
        assert "name na" in result.stdout


def test_a_table_shows_as_many_rows_as_asked_and_says_how_many_there_are(run):
    shown = actfocus("list", run.path, "--limit", "3", "--sort", "tokens", "--where", "tokens > 1")
    assert shown.stdout.splitlines()[-1] == "24 rollouts, 3 shown" and len(shown.stdout.splitlines()) == 6
    assert len(actfocus("list", run.path).stdout.splitlines()) == 23
    assert len(actfocus("list", run.path, "--limit", "0").stdout.splitlines()) == 27
    assert "no room for" in actfocus("list", run.path, "--columns", "all").stdout


def test_numbers_begin_with_the_highest_and_text_with_a(run):
    assert [row["id"] for row in lines(run.path, "--sort", "id", "--limit", "2")] == ["0-0-0", "0-0-1"]
    tokens = [row["tokens"] for row in lines(run.path, "--sort", "tokens")]
    assert tokens == sorted(tokens, reverse=True)
    assert [row["tokens"] for row in lines(run.path, "--sort", "tokens", "--ascending")] == sorted(tokens)


def test_schemes_and_their_parameters_are_options(run):
    moved = lines(run.path, "--columns", "change", "--scheme", "role_only", "--against", "role_only,alpha=0.1")
    assert {row["change"] for row in moved} == {0.0}
    a = lines(run.path, "--columns", "change", "--alpha", "0.5", "--beta", "1", "--signal", "nll")
    assert a == lines(run.path, "--columns", "change", "--scheme", "actfocus,alpha=0.5,beta=1,signal=nll")
    assert a != lines(run.path, "--columns", "change")
    text = actfocus("list", run.path, "--sort", "change", "--alpha", "0.5").stdout
    assert "A: actfocus,alpha=0.5, B: uniform" in text


def test_the_highest_tokens_are_listed(run):
    found = lines(run.path, "--tokens", "energy", "--top", "4", "--kind", "action")
    values = [row["value"] for row in found]
    assert len(values) == 4 and values == sorted(values, reverse=True) and {row["kind"] for row in found} == {"action"}
    table = actfocus("list", run.path, "--tokens", "energy", "--top", "4", "--lowest").stdout
    assert table.splitlines()[0].split() == ["energy", "kind", "turn", "token", "rollout", "text"]
    assert table.splitlines()[-1] == "the 4 lowest sampled tokens"
    assert {row["id"] for row in lines(run.path, "--tokens", "nll", "--where", 'id == "0-0-1"')} == {"0-0-1"}


def test_columns_are_explained(run):
    text = actfocus("list", run.path, "--explain").stdout
    assert "change              number [share]: computed; How much scheme B changes against A" in text
    assert max(map(len, text.splitlines())) <= 100
    assert {row["name"] for row in lines(run.path, "--explain")} > {"id", "change", "hits"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--where", "succes"], "where: character 1, at succes: no column 'succes'; did you mean success?"),
        (["--where", "success =="], "where: character 11, at the end: expected a column or a value"),
        (["--sort", "chnge"], "sort: no column 'chnge'; did you mean change?"),
        (["--columns", "tokns"], "columns: no column 'tokns'; did you mean tokens?"),
        (["--search", ""], "search: the text is empty"),
        (["--search", "(", "--regex"], "search: '(' is not a regular expression of RE2"),
        (["--regex"], "list: --regex needs --search"),
        (["--kind", "action"], "list: --kind needs --search or --tokens"),
        (
            ["--search", "a", "--kind", "format"],
            "list: --kind format: a search looks into reasoning, action, observation",
        ),
        (["--scheme", "best"], "unknown scheme 'best'"),
        (["--scheme", "uniform", "--alpha", "0.5"], "uniform: unknown parameter 'alpha'"),
        (["--against", "actfocus,alpha"], "a scheme is NAME or NAME,PARAMETER=VALUE"),
        (["--reference", "none"], "has no signals of 'none'; it has tiny"),
        (["--tokens", "heat"], "unknown measure 'heat'; available: energy"),
        (["--tokens", "nll", "--top", "1000000"], "top=1000000: must lie in"),
        (["--limit", "-1"], "--limit"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, arguments, message):
    result = actfocus("list", run.path, *arguments)
    assert result.returncode == 2 and result.stdout == ""
    assert message in result.stderr and len(result.stderr.splitlines()) == 1


def test_control_characters_of_a_run_do_not_reach_the_terminal(tmp_path):
    evil = "\x1b[31m\nred\u202e"
    run = write(tmp_path / "run", [rollout(evil, group=evil, error=evil, texts=[evil] * 12, columns={evil: evil})])
    for extra in ([], ["--columns", "all"], ["--explain"], ["--tokens", "nll"]):
        printed = actfocus("list", run.path, *extra).stdout
        assert "\\x1b[31m\\nred" in printed and "\x1b" not in printed and "\u202e" not in printed


def test_a_read_only_run_is_listed_and_unchanged(run):
    before = {file: file.stat().st_mtime_ns for file in run.path.rglob("*")}
    for folder in (run.path, *(p for p in run.path.rglob("*") if p.is_dir())):
        folder.chmod(0o500)
    try:
        assert len(lines(run.path, "--sort", "change", "--search", "0")) > 0
    finally:
        for folder in (run.path, *(p for p in run.path.rglob("*") if p.is_dir())):
            folder.chmod(0o700)
    assert {file: file.stat().st_mtime_ns for file in run.path.rglob("*")} == before
    assert lines(run.path, "--no-cache", "--sort", "change") == lines(run.path, "--sort", "change")
