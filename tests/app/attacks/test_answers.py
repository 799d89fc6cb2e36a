"""Every answer carries the policies of a page that trusts nobody, and says nothing of the server."""

import re

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from actfocus_studio.server.security import HEADERS, Guard
from actfocus_studio.server.static import script_url


def test_every_kind_of_answer_carries_the_policies(server, hosted):
    answers = [
        server.ask("GET", "/"),
        server.ask("HEAD", "/"),
        server.ask("GET", "/config"),
        server.ask("GET", "/theme.css"),
        server.ask("GET", f"/{script_url()}"),
        server.ask("GET", "/static/img/logo.svg"),
        server.ask("GET", "/nowhere"),
        server.ask("GET", "/assets/nowhere.js"),
        server.ask("OPTIONS", "/"),
        server.call("trace/open", {"view": {}}),
        server.call("nowhere", {}),
        server.ask("POST", "/gradio_api/run/_tab", "{"),
        server.ask("POST", "/studio/api/trace/open", "x" * 9, {"Content-Length": "5000000"}),
        server.ask("POST", "/studio/api/trace/open", None, {"Transfer-Encoding": "chunked"}),
        server.ask("GET", "/", None, {"Host": "evil.example"}),
        server.ask("GET", "/studio/send/guess"),
        hosted.ask("GET", "/config"),
        hosted.ask("GET", "/"),
        hosted.ask("GET", "/logout"),
    ]
    assert {status for status, _, _ in answers} >= {200, 303, 400, 401, 403, 404, 411, 413, 422}
    for status, told, _ in answers:
        assert {name: told.get(name.lower()) for name in HEADERS} == HEADERS, status
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["Content-Security-Policy"].split(";"))
    assert (
        policy["frame-ancestors"]
        == policy["object-src"]
        == policy["frame-src"]
        == policy["script-src-attr"]
        == "'none'"
    )
    assert not re.search(r"https?:|\*", HEADERS["Content-Security-Policy"])


def test_an_error_of_the_server_itself_says_nothing_of_it():
    def fails(request):
        raise RuntimeError("/home/me/secret.py")

    client = TestClient(Guard(Starlette(routes=[Route("/config", fails)])), raise_server_exceptions=False)
    answer = client.get("/config")
    assert answer.status_code == 500 and "secret" not in answer.text and answer.headers["x-frame-options"] == "DENY"
