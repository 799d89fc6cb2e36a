"""The import and export drawer in a real browser, with real processes behind it."""

import json

import pytest

from actfocus_core.interop import import_run
from actfocus_core.runs import Run
from actfocus_studio.server import uploads as transfers
from tests.conftest import make_tokenizer
from tests.interop.files import records, same, write

pytestmark = pytest.mark.browser

PATIENCE = 120_000
DROP = """([name, text]) => {
    const files = new DataTransfer();
    files.items.add(new File([text], name));
    document.dispatchEvent(new DragEvent('dragover', {dataTransfer: files, bubbles: true, cancelable: true}));
    document.dispatchEvent(new DragEvent('drop', {dataTransfer: files, bubbles: true, cancelable: true}));
}"""


def opened(page, studio, query="run=plain"):
    page.goto(f"{studio}/?{query}")
    page.wait_for_function("window.ActFocus && ActFocus.trace && ActFocus.trace.state.painted")
    return page


def press(page, name):
    page.locator(".af-drawer").get_by_role("button", name=name, exact=True).click()


def error(page) -> str:
    line = page.locator(".af-drawer .af-error")
    line.wait_for()
    return line.text_content()


def test_a_dropped_file_is_read_looked_at_opened_and_exported(page, studio, runs_dir, tmp_path):
    opened(page, studio)
    rows = records("verl", make_tokenizer())
    path = write("verl", tmp_path, [*rows[:2], {**rows[2], "score": 0.0}, rows[3], rows[3]])
    page.evaluate(DROP, [path.name, path.read_text()])
    card = page.locator(".af-drop-card")
    card.get_by_text("verl rollout_data_dir · 5 lines or rows").wait_for()
    assert card.get_by_label("Tokenizer").locator("option", has_text="tiny").count() == 1
    card.get_by_label("Tokenizer").select_option("tiny")
    press(page, "Import")
    page.locator(".af-imported").wait_for(timeout=PATIENCE)
    assert "rollouts-7-1 is here: 5 rollouts in 2 groups" in page.locator(".af-imported").text_content()
    run = Run.open(runs_dir / "rollouts-7-1")
    # The doctor's report: how often, how bad, and an example that opens.
    finding = page.locator(".af-finding", has_text="duplicate")
    assert "warning" in finding.text_content() and "1 of 5" in finding.text_content()
    example = finding.locator(".af-link").first
    id = example.text_content()
    assert id == run.index()["id"].iloc[4]
    example.click()
    page.wait_for_function(f"ActFocus.store.place.trajectory === {json.dumps(id)}")
    assert page.locator(".af-drawer").is_visible()
    # A group that teaches nothing opens at one of its rollouts.
    zero = page.locator(".af-finding", has_text="zero-spread").locator(".af-link").first
    zero.click()
    page.wait_for_function(f"ActFocus.store.place.trajectory === {json.dumps(run.index()['id'].iloc[2])}")
    press(page, "Open in Trace")
    page.wait_for_function("ActFocus.store.place.run === 'rollouts-7-1' && !document.querySelector('.af-drawer').open")
    page.locator(".af-loaded .af-badge", has_text="approximate").wait_for()
    assert page.locator(".af-run").input_value() == "rollouts-7-1"
    # A reload keeps the report of the last import. The address follows the page with a short delay.
    page.wait_for_url("**run=rollouts-7-1&**")
    page.reload()
    page.wait_for_function("window.ActFocus && ActFocus.trace && ActFocus.trace.state.painted")
    page.locator("#af-drawer-button").click()
    page.locator(".af-finding", has_text="duplicate").wait_for()
    # Out again: the successes of this run, as a download.
    form = page.locator(".af-drawer form").last
    form.get_by_label("As").select_option("jsonl")
    form.get_by_label("Which").select_option("success")
    with page.expect_download(timeout=PATIENCE) as waiting:
        press(page, "Export")
    waiting.value.save_as(tmp_path / "back.jsonl")
    assert waiting.value.suggested_filename == "rollouts-7-1-run-success.jsonl"
    back = import_run(tmp_path / "back.jsonl", tmp_path / "back")
    for a, b in zip([t for t in run.trajectories() if t.success], back.trajectories(), strict=True):
        same(a, b)


def test_a_file_that_is_no_good_is_one_line_and_nothing_is_written(page, studio, runs_dir, monkeypatch):
    monkeypatch.setattr(transfers, "LINE_MAX", 1 << 20)
    opened(page, studio)
    page.locator("#af-drawer-button").click()
    before = sorted(p.name for p in runs_dir.iterdir())
    for name, content, says in (
        ("batch.pkl", b"\x80\x04K\x01.", "batch.pkl: a pickle, which is never loaded"),
        ("a.jsonl", b'{"messages": "' + b"x" * 2_000_000 + b'"}', "a.jsonl, line 1: is longer than 1 MiB"),
        ("b.jsonl", b'{"mess', "b.jsonl, line 1: not JSON"),
        (
            "<img src=x onerror=window.__pwn=1>.jsonl",
            b'{"<img src=x onerror=window.__pwn=1>": 1}',
            "not a format that is known",
        ),
    ):
        page.locator("#af-file").set_input_files({"name": name, "mimeType": "text/plain", "buffer": content})
        page.wait_for_function(
            f"document.querySelector('.af-drawer .af-error').textContent.includes({json.dumps(says)})"
        )
        assert "\n" not in error(page) and page.locator(".af-drop-card button").count() == 0
    assert page.evaluate("window.__pwn") is None and page.locator(".af-drawer img").count() == 0
    assert sorted(p.name for p in runs_dir.iterdir()) == before


def test_a_pattern_that_is_none_is_told_in_the_drawer(page, studio, tmp_path):
    opened(page, studio)
    path = tmp_path / "moves.jsonl"
    path.write_text(
        json.dumps(
            {"messages": [{"role": "user", "content": "go"}, {"role": "assistant", "content": "I go. Move: Left"}]}
        )
    )
    page.locator("#af-drawer-button").click()
    page.locator("#af-file").set_input_files(path)
    card = page.locator(".af-drop-card")
    card.get_by_label("Where the actions are").select_option("pattern:")
    card.get_by_label("Pattern, a regular expression with a group named action").fill("Move: (")
    press(page, "Import")
    assert "not a regular expression" in error(page) and card.get_by_role("button", name="Import").is_visible()


def test_the_drawer_by_keyboard(page, studio):
    opened(page, studio)
    page.locator("#af-drawer-button").focus()
    page.keyboard.press("Enter")
    page.locator(".af-drawer").wait_for()
    page.locator(".af-drawer").get_by_role("button", name="Close").focus()
    page.keyboard.press("Escape")
    page.locator(".af-drawer").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.id") == "af-drawer-button"
