"""Only what is listed here is served, and whatever a handler is given, nothing is started."""

import json
import re
import subprocess

import pytest

from actfocus_studio.server.gradio_fit import corrected_assets
from tests.app.attacks.server import login, routes

SERVED = {
    ("GET", "/"),
    ("HEAD", "/"),
    ("GET", "/config"),
    ("GET", "/config/"),
    ("GET", "/theme.css"),
    ("GET", "/favicon.ico"),
    ("GET", "/robots.txt"),
    ("GET", "/logout"),
    ("GET", "/assets/{path:path}"),
    ("GET", "/static/{path:path}"),
    ("GET", "/svelte/{path:path}"),
    ("POST", "/login"),
    ("POST", "/login/"),
    ("POST", "/gradio_api/run/{api_name}"),
    ("POST", "/gradio_api/run/{api_name}/"),
    ("GET", "/gradio_api/startup-events"),
    *((method, f"/studio/{name}.js") for method in ("GET", "HEAD") for name in ("studio", "plotly.min")),
    *((method, f"/assets/{name}") for name in corrected_assets() for method in ("GET", "HEAD")),
    ("PUT", "/studio/receive/{ticket}"),
    ("GET", "/studio/send/{ticket}"),
    ("HEAD", "/studio/send/{ticket}"),
}


def test_of_all_that_the_app_would_answer_only_this_is_let_through(server):
    app = routes(server.demo.app)
    assert app >= SERVED and len(app) > 70
    for method, path in sorted(app - SERVED):
        filled = re.sub(r"\{[^}]*\}", "x", path)
        status, _, body = server.ask(method, filled, "" if method == "POST" else None)
        assert (status, body) == (403, b"" if method == "HEAD" else b"not available here"), (method, path)


HANDLERS = {
    "begin",
    "stop",
    "look",
    "look_1",
    "lambda",
    "lambda_1",
    "lambda_2",
    "first",
    "go",
    *(f"lambda_{n}" for n in range(3, 9)),
    "_tab",
}
READING = {"lambda", "first", "go", *(f"lambda_{n}" for n in range(1, 7)), "_tab"}


def handlers(demo) -> set[str]:
    return {block.api_name for block in demo.fns.values() if block.fn is not None}


def test_these_handlers_and_no_others_can_be_called_and_none_is_listed(server, hosted):
    assert handlers(server.demo) == HANDLERS and handlers(hosted.demo) == READING
    for demo in (server.demo, hosted.demo):
        assert {block.api_visibility for block in demo.fns.values()} == {"private"} and not any(
            b.queue for b in demo.fns.values()
        )
        assert demo.get_api_info()["named_endpoints"] == demo.get_api_info()["unnamed_endpoints"] == {}
    for name in ("predict", "eval", "__class__", "begin/../stop", "9999"):
        assert server.call(name, "x")[0] in (403, 404, 422, 500)
    # What is done in the page alone has nothing behind it here.
    for block in server.demo.fns.values():
        if block.fn is None:
            assert server.call(block.api_name, *[None] * len(block.inputs))[0] == 500
            break


@pytest.mark.parametrize("kind", ["server", "hosted"])
def test_whatever_a_handler_is_given_nothing_is_begun(kind, request, monkeypatch):
    under = request.getfixturevalue(kind)
    cookie = login(under)[1] if kind == "hosted" else {}
    before, begun = under.kept(), []
    monkeypatch.setattr(
        subprocess, "Popen", lambda *a, **k: begun.append(a) or (_ for _ in ()).throw(OSError("attacked"))
    )
    hostile = [
        None,
        "x" * 30_000,
        "{" * 9000,
        json.dumps({"number": 1, "op": ["start"]}),
        json.dumps({"number": 1, "op": "start"}),
        json.dumps({"number": 1, "op": "score", "run": "mine", "with": "../evil"}),
    ]
    for name in sorted(handlers(under.demo) - {"begin"}):
        inputs = next(len(b.inputs) for b in under.demo.fns.values() if b.api_name == name)
        for value in hostile:
            status, _, body = under.call(name, *[value] * inputs, headers=cookie)
            assert status == 200, (name, value, body[:300])
            if not inputs:
                break
    for policy in ("/etc", "../..", "Evil/Model", "tiny\n", "--help", ["tiny"], {"a": 1}, None, 7):
        status, _, body = under.call("begin", "Sokoban", 1, 2, 0, 1.0, policy, 0, headers=cookie)
        assert status in ((422, 500) if kind == "hosted" else (200, 422, 500)), body
        if status == 200:
            assert "unknown policy" in json.loads(json.loads(body)["data"][0])["error"]
    assert begun == [] and under.kept() == before
