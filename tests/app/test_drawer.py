"""The import re
import and export drawer in a browser, with real processes behind it."""

import json
import re

import pytest
from playwright.sync_api import expect

from actfocus_core.interop import import_run
from actfocus_core.runs import Run
from actfocus_studio.server import uploads
from tests.app.pages import LONG_MS
from tests.conftest import make_tokenizer
from tests.interop.files import records, same, write

pytestmark = pytest.mark.browser


def test_a_dropped_file_is_imported_checked_opened_and_exported(app, runs_dir, tmp_path):
    app.open()
    drawer = app.import_export
    rows = records("verl", make_tokenizer())
    path = write("verl", tmp_path, [*rows[:2], {**rows[2], "score": 0.0}, rows[3], rows[3]])
    drawer.drop(path.name, path.read_text())
    expect(drawer.dialog).to_contain_text("verl rollout_data_dir · 5 lines or rows")
    # The first rollouts are shown before anything is stored, and again for every choice.
    drawer.dialog.get_by_label("Tokenizer").fill("tiny")
    expect(drawer.preview).to_contain_text("Span rule recognised: ", timeout=LONG_MS)
    expect(drawer.preview).to_contain_text("All 5 rollouts in 2 groups")
    drawer.dialog.get_by_label("Span rule").select_option("tool_call")
    expect(drawer.preview).to_contain_text("Span rule: tool_call: 0 action tokens", timeout=LONG_MS)
    assert not (runs_dir / "rollouts-7-1").exists()
    drawer.dialog.get_by_label("Span rule").select_option("auto")
    drawer.submit()
    drawer.expect_imported()
    expect(drawer.dialog).to_be_hidden()
    expect(drawer.imported).to_contain_text("rollouts-7-1 imported: 5 rollouts in 2 groups")
    run = Run.open(runs_dir / "rollouts-7-1")
    ids = run.index()["id"].tolist()
    # The check says how often, how severe, and has an example that opens.
    expect(drawer.finding("duplicate")).to_contain_text("warning")
    expect(drawer.finding("duplicate")).to_contain_text("1 of 5")
    expect(drawer.example("duplicate")).to_have_text(ids[4])
    drawer.example("duplicate").click()
    app.trace.expect_trajectory(ids[4])
    expect(drawer.root).to_be_visible()
    # A group without gradient opens at one of its rollouts.
    drawer.example("zero-spread").click()
    app.trace.expect_trajectory(ids[2])
    drawer.button("Open in Trace").click()
    expect(drawer.root).to_be_hidden()
    expect(app.page.get_by_text("approximate").first).to_be_visible()
    expect(app.run).to_have_value("rollouts-7-1")
    # A reload keeps the findings of the last import.
    app.expect_address(run="rollouts-7-1")
    app.reload()
    drawer.open()
    expect(drawer.finding("duplicate")).to_be_visible()
    # The successful rollouts of this run, as a download.
    drawer.export_form.get_by_label("Format").select_option("jsonl")
    drawer.export_form.get_by_label(re.compile("^Rollouts")).select_option("success")
    with app.page.expect_download(timeout=LONG_MS) as download:
        drawer.button("Export").click()
    download.value.save_as(tmp_path / "back.jsonl")
    assert download.value.suggested_filename == "rollouts-7-1-run-success.jsonl"
    back = import_run(tmp_path / "back.jsonl", tmp_path / "back")
    for a, b in zip([t for t in run.trajectories() if t.success], back.trajectories(), strict=True):
        same(a, b)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("batch.pkl", b"\x80\x04K\x01.", "batch.pkl: a pickle, which is never loaded"),
        ("a.jsonl", b'{"messages": "' + b"x" * 2_000_000 + b'"}', "a.jsonl, line 1: is longer than 1 MiB"),
        ("b.jsonl", b'{"mess', "b.jsonl, line 1: not JSON"),
        (
            "<img src=x onerror=window.__pwn=1>.jsonl",
            b'{"<img src=x onerror=window.__pwn=1>": 1}',
            "not a known format",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_and_nothing_is_written(app, runs_dir, monkeypatch, name, content, says):
    monkeypatch.setattr(uploads, "LINE_MAX", 1 << 20)
    app.open()
    drawer = app.import_export
    drawer.open()
    before = sorted(path.name for path in runs_dir.iterdir())
    drawer.choose({"name": name, "mimeType": "text/plain", "buffer": content})
    expect(drawer.alert).to_contain_text(says)
    assert "\n" not in drawer.alert.text_content()
    expect(drawer.dialog).to_be_hidden()
    app.expect_nothing_ran()
    expect(drawer.root.locator("img")).to_have_count(0)
    assert sorted(path.name for path in runs_dir.iterdir()) == before


def test_an_invalid_pattern_is_reported_in_the_dialog(app, tmp_path):
    app.open()
    drawer = app.import_export
    path = tmp_path / "moves.jsonl"
    messages = [{"role": "user", "content": "go"}, {"role": "assistant", "content": "I go. Move: Left"}]
    path.write_text(json.dumps({"messages": messages}))
    drawer.open()
    drawer.choose(path)
    drawer.dialog.get_by_label("Span rule").select_option("pattern:")
    drawer.dialog.get_by_label("Pattern: regular expression with a group named action").fill("Move: (")
    alert = drawer.dialog.get_by_role("alert")
    expect(alert).to_contain_text("not a regular expression")
    drawer.submit()
    expect(alert).to_contain_text("not a regular expression")
    expect(drawer.dialog).to_be_visible()


def test_the_drawer_by_keyboard(app):
    app.open()
    drawer = app.import_export
    drawer.toggle.focus()
    app.press("Enter")
    expect(drawer.root).to_be_visible()
    drawer.button("Close").focus()
    app.press("Escape")
    expect(drawer.root).to_be_hidden()
    expect(drawer.toggle).to_be_focused()
