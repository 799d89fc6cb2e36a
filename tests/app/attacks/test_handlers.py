"""Only what is listed here is served, and whatever a handler is given, nothing is started."""

import json
import re
import subprocess

import pytest

from tests.app.attacks.server import login, routes

SERVED = {
    ("GET", "/"),
    ("HEAD", "/"),
    ("GET", "/config"),
    ("GET", "/config/"),
    ("GET", "/theme.css"),
    ("GET", "/favicon.ico"),
    ("GET", "/robots.txt"),
    ("GET", "/assets/{path:path}"),
    ("GET", "/static/{path:path}"),
    ("GET", "/svelte/{path:path}"),
    ("POST", "/gradio_api/run/{api_name}"),
    ("POST", "/gradio_api/run/{api_name}/"),
    *((method, path) for method in ("GET", "HEAD") for path in ("/studio/script/{name}", "/studio/plotly.min.js")),
    ("PUT", "/studio/receive/{ticket}"),
    ("GET", "/studio/send/{ticket}"),
    ("HEAD", "/studio/send/{ticket}"),
}
"""Beside the operations of the pages."""


def test_of_all_that_the_app_would_answer_only_this_is_let_through(server):
    served = SERVED | {("POST", f"/studio/api/{name}") for name in server.requests}
    app = routes(server.studio.app)
    assert {path for method, path in app if path.startswith("/studio/api/")} == {
        f"/studio/api/{name}" for name in server.requests
    }
    assert app >= served and len(app) > 100
    for method, path in sorted(app - served):
        filled = re.sub(r"\{[^}]*\}", "x", path)
        status, _, body = server.ask(method, filled, "" if method == "POST" else None)
        assert (status, body) == (403, b"" if method == "HEAD" else b"not available here"), (method, path)


HANDLERS = {"begin", "stop", "look", "look_1", "lambda", "lambda_1", "_selected", "_tab"}
"""Of Gradio's events: the form of new rollouts, the tabs and the sidebar."""
READING = {"_selected", "lambda", "_tab"}


def handlers(page) -> set[str]:
    return {block.api_name for block in page.fns.values() if block.fn is not None}


def test_these_handlers_and_no_others_can_be_called_and_none_is_listed(server, hosted):
    assert handlers(server.page) == HANDLERS and handlers(hosted.page) == READING
    for page in (server.page, hosted.page):
        blocks = page.fns.values()
        assert {block.api_visibility for block in blocks} == {"private"} and not any(block.queue for block in blocks)
        assert page.get_api_info()["named_endpoints"] == page.get_api_info()["unnamed_endpoints"] == {}
    for name in ("predict", "eval", "__class__", "begin/../stop", "9999"):
        assert server.handler(name, "x")[0] in (403, 404, 422, 500)
    # What is done in the page alone has nothing behind it here.
    for block in server.page.fns.values():
        if block.fn is None:
            assert server.handler(block.api_name, *[None] * len(block.inputs))[0] == 500
            break


def test_a_read_only_studio_has_no_operation_of_import_and_export(server, hosted):
    assert {name.split("/")[0] for name in set(server.requests) - set(hosted.requests)} == {"import_export"}
    assert set(hosted.requests) and set(hosted.requests) < set(server.requests)


HOSTILE = [
    None,
    7,
    [],
    "x" * 30_000,
    "{" * 9000,
    "[" * 100_000,
    '{"view": NaN}',
    "\ud800".encode("utf-8", "surrogatepass"),
    {"view": {"run": "../../etc", "trajectory": {"$ne": 1}}},
    {"view": {}, "op": ["start"], "with": "../evil", "request": {}, "name": "../x", "id": "../x"},
    {"number": 1, "op": "start"},
]


@pytest.mark.parametrize("kind", ["server", "hosted"])
def test_whatever_an_operation_is_given_it_answers_and_nothing_is_begun(kind, request, monkeypatch):
    under = request.getfixturevalue(kind)
    cookie = login(under)[1] if kind == "hosted" else {}
    before, begun = under.kept(), []
    monkeypatch.setattr(
        subprocess, "Popen", lambda *a, **k: begun.append(a) or (_ for _ in ()).throw(OSError("attacked"))
    )
    for name in sorted(under.requests):
        for value in HOSTILE:
            status, _, body = under.call(name, value, headers=cookie)
            assert status in (200, 422), (name, value, body[:300])
            line = json.loads(body).get("error")
            assert (status == 200) or (line and "\n" not in line and len(line) < 20_000), (name, value, body[:300])
    for name in sorted(handlers(under.page) - {"begin"}):
        inputs = next(len(b.inputs) for b in under.page.fns.values() if b.api_name == name)
        for value in (None, "x" * 30_000, "{" * 9000, json.dumps({"op": "start"})):
            status, _, body = under.handler(name, *[value] * inputs, headers=cookie)
            assert status == 200, (name, value, body[:300])
            if not inputs:
                break
    for policy in ("/etc", "../..", "Evil/Model", "tiny\n", "--help", ["tiny"], {"a": 1}, None, 7):
        status, _, body = under.handler("begin", "Sokoban", 1, 2, 0, 1.0, policy, 0, headers=cookie)
        assert status in ((422, 500) if kind == "hosted" else (200, 422, 500)), body
        if status == 200:
            assert "unknown policy" in json.loads(json.loads(body)["data"][0])["error"]
    assert begun == [] and under.kept() == before
