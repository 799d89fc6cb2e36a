"""Requests of the import and export drawer: imports, checks, exports, and hostile input."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.testclient import TestClient

from actfocus_core.errors import ActFocusError
from actfocus_core.interop import import_run
from actfocus_core.interop.exporting import Selection, export_run
from actfocus_core.interop.formats.native import to_record
from actfocus_core.interop.reading import tables
from actfocus_core.paths import assets
from actfocus_core.runs import Run
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.data.listings import Listings
from actfocus_studio.panels.import_export.api import api
from actfocus_studio.panels.import_export.job import ImportExport, selected
from actfocus_studio.server import uploads as transfers
from actfocus_studio.server.api import API, add_error_handlers
from actfocus_studio.server.security import BODY_MAX, Guard
from tests.conftest import make_tokenizer
from tests.interop.files import records, same, write
from tests.polling import until


@pytest.fixture
def exchange(run, tmp_path):
    made = ImportExport(Catalog([run.path], tmp_path / "runs"), Listings())
    yield made
    made.cancel()
    made.previews.cancel()


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def client():
    application = Starlette(routes=transfers.routes())
    application.add_middleware(Guard)
    return TestClient(application)


def ask(exchange, op, **request) -> dict:
    """The answer of an operation; an error has the status of one."""
    answer = post(exchange, op, json=request)
    assert answer.status_code == (422 if "error" in answer.json() else 200)
    return answer.json()


def post(exchange, op, **body):
    app = FastAPI()
    add_error_handlers(app)
    app.include_router(api(exchange))
    return TestClient(app).post(f"{API}/import_export/{op}", **body)


def bring(exchange, client, path) -> str:
    """The ticket of a file that was received."""
    ticket = ask(exchange, "announce", name=path.name, size=path.stat().st_size)["ticket"]
    assert client.put(transfers.RECEIVE + ticket, content=path.read_bytes()).status_code == 200
    return ticket


def done(exchange) -> dict:
    """The answer of a job that has ended."""
    return until(lambda: (found := ask(exchange, "look"))["job"]["state"] != "running" and found)


def left(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_an_import_says_what_it_is_and_what_is_wrong_with_it(exchange, client, tmp_path):
    rows = records("verl", make_tokenizer())
    path = write("verl", tmp_path, [*rows, rows[2], {**rows[3], "score": 1.0}])
    ticket = bring(exchange, client, path)
    file = ask(exchange, "inspect", ticket=ticket, run="lake")
    assert (file["name"], file["rollouts"], file["format"]) == ("7.jsonl", 6, "verl rollout_data_dir")
    assert file["needs_tokenizer"] and "tiny" in file["tokenizers"]
    pattern = r"pattern:<answer>(?P<action>\w+)"
    settings = {"tokenizer": "tiny", "spans": pattern}
    assert ask(exchange, "import", ticket=ticket, settings=settings)["job"]["state"] == "running"
    found = done(exchange)
    assert found["job"]["state"] == "done" and found["imported"]["approximate"]
    assert found["imported"]["run"] == found["report"]["run"] == "rollouts-7-1"
    run = Run.open(tmp_path / "runs" / "rollouts-7-1")
    assert run.info["config"]["source"] == "7.jsonl" and len(run.index()) == 6
    assert [turn.actions for turn in run.trajectories()[0].turn_records] == [["Right"], ["Down"]]
    findings = {f["check"]: f for f in found["report"]["findings"]}
    # Rollouts 3 and 5 are one line twice, and 4 is 6 but for its reward: both are duplicates.
    assert (findings["duplicate"]["count"], findings["duplicate"]["of"], findings["duplicate"]["severity"]) == (
        2,
        6,
        "warning",
    )
    ids = set(run.index()["id"])
    assert all(example["trajectory"] in ids for f in findings.values() for example in f["examples"])
    assert not findings["no-logprobs"]["examples"]
    # The file is still there, and may be imported again under another rule.
    assert found["imported"]["ticket"] == ticket and set(found["imported"]["action_tokens_by_rule"]) > {"tool_call"}
    ask(exchange, "import", ticket=ticket, settings={"tokenizer": "tiny", "spans": "tool_call"})
    again = done(exchange)["imported"]
    assert (again["run"], again["spans"], again["action_tokens"]) == ("rollouts-7-2", "tool_call", 0)


def test_a_check_of_a_run_names_a_trajectory_of_each_group(exchange, run):
    assert ask(exchange, "check", run="lake")["job"]["state"] == "running"
    assert "already running" in ask(exchange, "check", run="lake")["error"]
    found = done(exchange)
    assert (
        found["report"]["run"] == "lake"
        and found["report"]["healthy"]
        and found["report"]["trajectories"] == len(run.index())
    )
    spread = next(f for f in found["report"]["findings"] if f["check"] == "zero-spread")
    group = dict(zip(run.index()["id"], run.index()["group"]))
    assert spread["examples"] and all(group[e["trajectory"]] == e["name"] for e in spread["examples"])


def test_an_export_is_a_download_of_the_selection_under_the_page_s_setting(exchange, client, run, rollouts, tmp_path):
    setting = {"alpha": 0.6, "beta": 1.2, "signal": "entropy"}
    view = {"run": "lake", "trajectory": rollouts[5].id, "reference": "tiny", **setting}
    ask(exchange, "export", view=view, part="group", filter="all", format="advantages")
    file = done(exchange)["file"]
    answer = client.get("/" + file["url"])
    assert (
        answer.headers["content-disposition"].startswith("attachment")
        and "octet-stream" in answer.headers["content-type"]
    )
    expected, count = export_run(
        run,
        tmp_path / "e.jsonl",
        "advantages",
        Selection(groups=(rollouts[5].group,)),
        params=setting,
    )
    assert (
        answer.text == expected.read_text()
        and file["rollouts"] == count
        and file["name"] == "lake-group.advantages.jsonl"
    )
    plain, _ = export_run(run, tmp_path / "p.jsonl", "advantages", Selection(groups=(rollouts[5].group,)))
    assert plain.read_text() != answer.text


def test_every_selection_of_the_page_is_the_command_s(run, rollouts):
    id, group = rollouts[5].id, f"--group={rollouts[5].group}"
    assert selected(run, id, "run", "all") == ("run", [])
    assert selected(run, id, "step", "failure") == ("step-failure", ["--failure", "--step", "0"])
    assert selected(run, id, "trajectory", "success") == (id, [f"--id={id}"])
    assert selected(run, id, "group", "malformed")[1] == ["--malformed", "--step", "0", group]
    # The shop's sample run has illegal answers.
    index = Run.open(assets() / "runs/webshop").index()
    wanted = index["id"][index["n_valid"] < index["n_turns"]].tolist()
    assert Selection(malformed=True).of(index) == wanted and 0 < len(wanted) < len(index)


def test_what_is_exported_as_parquet_comes_back_by_the_drawer(exchange, client, run, rollouts, tmp_path):
    ask(exchange, "export", view={"run": "lake"}, part="run", filter="success", format="parquet")
    content = client.get("/" + done(exchange)["file"]["url"]).content
    back = tmp_path / "again.parquet"
    back.write_bytes(content)
    for a, b in zip([t for t in rollouts if t.success], import_run(back, tmp_path / "r").trajectories(), strict=True):
        same(a, b)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.pkl", b"\x80\x04K\x01.", "a pickle, which is never loaded"),
        ("a.pt", b"x", "a torch pickle"),
        ("a.exe", b"x", "is not a file of rollouts"),
        ("../../evil", b"x", "is not a file of rollouts"),
        ("a.jsonl", b"", "is empty; no rollout was written to it"),
        ("a.json", b"[" + b"{},\n" * 2000 + b"{}]", "more than 1000 rollouts"),
        ("a.json", b'[{},\n{"messages": "' + b"x" * 3_000_000 + b'"}]', "item 2: is longer than 1 MiB"),
        ("a.json.gz", gzip.compress(b"[" + b" " * (5 << 20) + b"{}]", mtime=0), "unpacks to more than 4 MiB"),
        ("a.jsonl", b'{"x": 1}', "not a known format (its fields: x)"),
        ("a.jsonl", b'{"mess', "a.jsonl, line 1: not JSON"),
        ("a.jsonl", b"[" * 100_000, "nested too deep"),
        ("a.jsonl", b'{"messages": ' + b"[" * 101 + b"]" * 101 + b"}", "nested too deep"),
        ("a.jsonl", b'{"messages": "' + b"x" * 2_000_000 + b'"}', "line 1: is longer than 1 MiB"),
        ("a.jsonl", b"{}\n" * 2000, "more than 1000 rollouts"),
        ("a.jsonl.gz", gzip.compress(b"\n".join([b"x" * 500_000] * 12), mtime=0), "unpacks to more than 4 MiB"),
        ("a.jsonl.gz", gzip.compress(b"{}\n" * 99, mtime=0)[:-9], "cannot be unpacked"),
        ("a.parquet", b"PAR1PAR1", "not readable as Parquet"),
        ("\x00.jsonl", b"x", "rollouts.jsonl, line 1: not JSON"),
        ("C:\\a\\данные.jsonl", b"x", "rollouts.jsonl, line 1: not JSON"),
    ],
)
def test_what_is_refused_before_anything_is_read(name, content, says, exchange, client, tmp_path, monkeypatch):
    monkeypatch.setattr(transfers, "LINE_MAX", 1 << 20)
    monkeypatch.setattr(transfers, "ROLLOUTS_MAX", 1000)
    monkeypatch.setattr(transfers, "UNPACKED_MAX", 4 << 20)
    answer = ask(exchange, "announce", name=name, size=len(content))
    if "ticket" in answer:
        ticket = answer["ticket"]
        assert client.put(transfers.RECEIVE + ticket, content=content).status_code == 200
        answer = ask(exchange, "inspect", ticket=ticket)
        assert "no longer available" in ask(exchange, "inspect", ticket=ticket)["error"]
    assert says in answer["error"] and "\n" not in answer["error"] and "/tmp" not in answer["error"]
    assert left(tmp_path / "runs") == []


def test_a_parquet_file_of_too_many_rows_is_refused(exchange, client, tmp_path, monkeypatch):
    monkeypatch.setattr(transfers, "ROLLOUTS_MAX", 1000)
    pq.write_table(pa.table({"prompt": ["x"] * 1001, "completion": ["y"] * 1001}), tmp_path / "a.parquet")
    assert (
        "more than 1000 rollouts"
        in ask(exchange, "inspect", ticket=bring(exchange, client, tmp_path / "a.parquet"))["error"]
    )


def test_a_parquet_file_that_is_small_and_unpacks_to_much_is_refused(exchange, client, tmp_path, monkeypatch):
    monkeypatch.setattr(transfers, "VALUES_MAX", 1 << 20)
    zeros = pa.array(np.zeros(1_000_000, np.int8))
    many = pa.ListArray.from_arrays(pa.array([0, len(zeros)], pa.int32()), zeros)
    pq.write_table(pa.table({"token_ids": many, "kinds": many}), tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 1 << 12
    answer = ask(exchange, "inspect", ticket=bring(exchange, client, tmp_path / "a.parquet"))
    assert "holds 2000000 values, and a page takes 1048576" in answer["error"]


def test_long_rows_are_read_a_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "BATCH_VALUES", 3000)
    pq.write_table(pa.table({"a": [[n] * 1000 for n in range(10)]}), tmp_path / "a.parquet")
    seen = []
    rows = [r.value["a"][0] for r in tables.read_rows(tmp_path / "a.parquet", on_bytes=seen.append)]
    assert rows == list(range(10)) and len(seen) == 4


def test_a_rollout_of_too_many_tokens_is_refused(exchange, client, rollouts, tmp_path, monkeypatch):
    monkeypatch.setattr("actfocus_studio.panels.import_export.preview.TOKENS_MAX", 50)
    (tmp_path / "a.jsonl").write_text(json.dumps(to_record(max(rollouts, key=len))))
    ticket = bring(exchange, client, tmp_path / "a.jsonl")
    ask(exchange, "import", ticket=ticket, settings={"spans": "boxed"})
    job = done(exchange)["job"]
    assert job["state"] == "failed" and "tokens; the maximum is 50" in job["message"] and left(tmp_path / "runs") == []


def test_an_import_that_fails_is_one_line_and_leaves_nothing(exchange, client, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"mess\n{"messages": [], "reward": "high"}\n')
    ticket = bring(exchange, client, tmp_path / "a.jsonl")
    ask(exchange, "import", ticket=ticket, settings={"tokenizer": "tiny", "spans": "boxed"})
    job = done(exchange)["job"]
    assert (
        job["state"] == "failed"
        and job["message"].startswith("a.jsonl, line 1: not JSON")
        and "\n" not in job["message"]
    )
    assert left(tmp_path / "runs") == []


def test_an_import_that_is_cancelled_leaves_nothing(exchange, client, tmp_path):
    path = write("chat", tmp_path, records("chat", make_tokenizer()) * 3000)
    ask(
        exchange,
        "import",
        ticket=bring(exchange, client, path),
        settings={"tokenizer": "tiny", "spans": "think_answer"},
    )
    until(lambda: ask(exchange, "look")["job"]["done"])
    assert [name[:6] for name in left(tmp_path / "runs")] == [".chat-"]
    ask(exchange, "cancel")
    assert done(exchange)["job"]["state"] == "cancelled" and left(tmp_path / "runs") == []


LAKE = {"run": "lake"}


@pytest.mark.parametrize(
    ("op", "request_", "says"),
    [
        ("inspect", {"ticket": "../../etc/passwd"}, "no longer available"),
        ("inspect", {"ticket": "x" * 300}, "ticket: String should have at most 200"),
        ("import", {"ticket": None, "settings": {}}, "ticket: Input should be a valid string"),
        ("preview", {"ticket": "x", "settings": {}}, "no longer available"),
        ("preview", {"ticket": "x", "settings": {"success_at": "high"}}, "success_at: Input should be a valid number"),
        ("preview", {"ticket": "x", "settings": {"out": "/x"}}, "out: Extra inputs are not permitted"),
        ("announce", {"name": 7, "size": 1}, "name: Input should be a valid string"),
        ("announce", {"name": "a.jsonl", "size": "1"}, "size: Input should be a valid integer"),
        ("announce", {"name": "a.jsonl", "size": -1}, "could not be read"),
        ("announce", {"name": "a.jsonl", "size": 1 << 40}, "a page takes 256"),
        ("announce", {"name": "a.jsonl", "size": 1, "path": "/x"}, "path: Extra inputs are not permitted"),
        ("check", {"run": "/etc"}, "there is no run"),
        ("check", {"run": {"a": 1}}, "run: Value error, must be printable text"),
        ("export", {"view": LAKE, "part": "run", "format": "pickle"}, "format: Input should be 'parquet'"),
        ("export", {"view": LAKE, "part": "all", "format": "csv"}, "part: Input should be 'trajectory'"),
        ("export", {"view": LAKE, "part": "run", "format": "csv", "filter": "--x"}, "filter: Input should be 'all'"),
        ("export", {"view": {**LAKE, "trajectory": "--out=/x"}, "part": "group", "format": "csv"}, "not in this run"),
        ("export", {"view": {"run": "/etc"}, "part": "run", "format": "csv"}, "there is no run"),
    ],
)
def test_hostile_requests_get_one_line(op, request_, says, exchange):
    answer = ask(exchange, op, **request_)
    assert says in answer["error"] and "\n" not in answer["error"]
    assert exchange.status().state == "idle"


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("text", ["", "7", "null", "[]", '{"op": "look"}', "x" * 9000])
def test_text_that_is_not_a_request_is_refused(text, exchange):
    answer = post(exchange, "look", content=text, headers=JSON)
    assert answer.status_code == 422 and answer.json()["error"].endswith("; reload the page")


def test_deep_nesting_is_no_request(exchange):
    assert post(exchange, "look", content="[" * 100_000, headers=JSON).status_code == 422


@pytest.mark.parametrize("op", ["fly", "rm", "__class__", ""])
def test_an_unknown_operation_is_refused(op, exchange):
    assert post(exchange, op, json={}).status_code == 404


@pytest.mark.parametrize(
    ("tokenizer", "spans", "says"),
    [
        ("/etc", "think_answer", "tokenizer: /etc is no folder with a tokenizer.json"),
        ("/etc/passwd", "think_answer", "tokenizer: /etc/passwd is no folder"),
        ("Some/Model", "think_answer", "tokenizer: Some/Model is not installed here; choose one of"),
        ("--help", "think_answer", "tokenizer: --help is not installed here"),
        (["tiny"], "think_answer", "tokenizer: Input should be a valid string"),
        (None, "think_answer", ""),
        ("tiny", "x", "span rule: must be one of"),
        ("tiny", 7, "spans: Input should be a valid string"),
        ("tiny", "boxed" * 200, "spans: String should have at most"),
        ("tiny", "pattern:(", "not a regular expression"),
        ("tiny", "pattern:a+", "has no group"),
        ("tiny", f"pattern:(?P<action>{'a' * 200})", "longer than 200"),
    ],
)
def test_only_known_tokenizers_and_bounded_rules(tokenizer, spans, says, exchange, client, tmp_path):
    path = write("chat", tmp_path, records("chat", make_tokenizer()))
    ticket = bring(exchange, client, path)
    settings = {"tokenizer": tokenizer, "spans": spans}
    answer = ask(exchange, "import", ticket=ticket, settings=settings)
    if says:
        assert answer == ask(exchange, "preview", ticket=ticket, settings=settings)
        assert says in answer["error"] and exchange.status().state == "idle"
    else:
        # The format needs one, and the import itself says so.
        assert "needs the tokenizer" in done(exchange)["job"]["message"]
    assert left(tmp_path / "runs") == []


def preview_of(exchange, ticket, **settings) -> dict:
    """The answer of a preview that has ended."""
    assert ask(exchange, "preview", ticket=ticket, settings=settings)["job"]["state"] == "running"
    return until(lambda: (found := ask(exchange, "look_at_preview"))["job"]["state"] != "running" and found)


def test_a_preview_shows_what_the_import_then_stores_and_stores_nothing(exchange, client, tokenizer_folder, tmp_path):
    path = write("trl", tmp_path, records("trl", make_tokenizer()))
    ticket = bring(exchange, client, path)
    # The newest one counts: the first is ended.
    ask(exchange, "preview", ticket=ticket, settings={"tokenizer": "tiny"})
    tokenizer = f"{tokenizer_folder}/tokenizer.json"
    found = preview_of(exchange, ticket, tokenizer=tokenizer)["preview"]
    assert left(tmp_path / "runs") == [] and found["is_whole"] and found["approximate"]
    assert (
        (found["rule"], found["by_rule"]["tool_call"])
        == ("think_answer", 0)
        < (found["rule"], found["by_kind"]["action"])
    )
    ask(exchange, "import", ticket=ticket, settings={"tokenizer": tokenizer})
    run = done(exchange)["imported"]
    assert (run["tokens"], run["trajectories"], run["action_tokens"]) == (
        found["tokens"],
        found["read"],
        found["by_kind"]["action"],
    )
    stored = Run.open(tmp_path / "runs" / run["run"]).trajectories()
    for shown, t in zip(found["rollouts"], stored, strict=False):
        assert (shown["id"], shown["texts"], shown["kinds"]) == (t.id, t.texts, t.kinds.tolist())


def test_a_preview_of_what_cannot_be_read_is_one_line(exchange, client, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"messages": [], "reward": "high"}\n')
    job = preview_of(exchange, bring(exchange, client, tmp_path / "a.jsonl"), tokenizer="tiny", strict=True)["job"]
    assert job["state"] == "failed" and job["message"].startswith("a.jsonl, line 1") and "\n" not in job["message"]
    assert left(tmp_path / "runs") == []


def test_a_file_of_the_command_line_waits_for_a_choice_and_is_read_where_it_lies(exchange, tmp_path):
    path = write("chat", tmp_path, records("chat", make_tokenizer()))
    content = path.read_bytes()
    exchange.wait_for([path])
    [ticket] = ask(exchange, "waiting")["tickets"]
    file = ask(exchange, "inspect", ticket=ticket)
    assert (file["name"], file["rollouts"], file["needs_tokenizer"]) == (path.name, None, True)
    assert preview_of(exchange, ticket, tokenizer="tiny")["preview"]["read"] == 4
    ask(exchange, "import", ticket=ticket, settings={"tokenizer": "tiny"})
    run = Run.open(tmp_path / "runs" / done(exchange)["imported"]["run"])
    assert run.info["config"]["source"] == str(path) and path.read_bytes() == content


def test_the_tokenizers_of_the_runs_and_of_the_start_are_offered(run, model_folder, tmp_path):
    Run.create(tmp_path / "runs" / "mine", {"tokenizer": str(model_folder)})
    Run.create(tmp_path / "runs" / "other", {}, {"name": "/nowhere/at/all"})
    exchange = ImportExport(Catalog([run.path], tmp_path / "runs"), Listings(), ["Some/Model"])
    offered = exchange.tokenizers("mine")
    assert offered[:3] == ["Some/Model", str(model_folder), "tiny"] and "/nowhere/at/all" not in offered


def test_tickets(client):
    kept = transfers.transfers()
    assert client.put(transfers.RECEIVE + "guess", content=b"x").status_code == 404
    assert client.get(transfers.SEND + "guess").status_code == 404
    ticket = kept.announce("a.jsonl", 5)
    assert client.get(transfers.SEND + ticket).status_code == 404
    assert client.post(transfers.RECEIVE + ticket, content=b"12345").status_code == 403
    assert client.put(transfers.RECEIVE + ticket, content=b"123456").status_code == 400
    assert client.put(transfers.RECEIVE + ticket, content=b"12345").status_code == 200
    assert client.put(transfers.RECEIVE + ticket, content=b"54321").status_code == 404
    path = kept.received(ticket)
    assert path.read_bytes() == b"12345"
    more = [kept.announce("b.jsonl", 1) for _ in range(transfers.KEPT)]
    assert not path.parent.exists() and len(set(more)) == transfers.KEPT
    with pytest.raises(ActFocusError, match="no longer available"):
        kept.received(ticket)


def test_a_body_may_be_large_only_on_its_way_in(client):
    big = {"Content-Length": str(BODY_MAX + 1)}
    assert client.post("/gradio_api/run/go", headers=big).status_code == 413
    assert client.put(transfers.RECEIVE + "guess", headers=big).status_code == 404
    assert (
        client.put(transfers.RECEIVE + "guess", headers={"Content-Length": str(transfers.UPLOAD_MAX + 1)}).status_code
        == 413
    )
