"""Who has no login sees the form for one; guesses are slowed."""

import re
import time

from starlette.testclient import TestClient

from actfocus_studio.server.security import WRONG_LOGINS, Guard
from tests.app.attacks.server import JSON, login, routes


def test_without_a_login_only_the_form_for_one_is_seen(hosted):
    form = hosted.ask("GET", "/")[2]
    assert b'name="password"' in form and b"gradio" not in form
    listed = routes(hosted.studio.app)
    assert len(listed) > 70 and ("POST", "/studio/api/trace/open") in listed
    for method, path in sorted(listed - {("POST", "/login"), ("POST", "/login/")}):
        body = "{}" if method in ("POST", "PUT") else None
        status, _, seen = hosted.ask(method, re.sub(r"\{[^}]*\}", "go", path), body, JSON)
        if path in ("/", "/login") and method == "GET":
            assert (status, seen) == (401, form)
        elif path == "/logout":
            assert status == 303
        else:
            assert status in (401, 403) and (not seen or len(seen) < 60), (method, path, status)


def test_nobody_is_believed_to_be_logged_in(hosted):
    view = {"view": {}}
    for forged in (
        {"Cookie": "actfocus-session=x"},
        {"Cookie": "actfocus-session="},
        {"Cookie": "access-token-x=y"},
        {"Authorization": "Bearer x"},
        {"x-gradio-user": "me"},
    ):
        assert hosted.call("trace/open", view, headers=forged)[0] == 401
        assert hosted.handler("_tab", headers=forged)[0] == 401


def test_a_login_opens_it_and_guesses_are_slowed(hosted):
    status, cookie = login(hosted)
    assert status == 303 and hosted.call("trace/open", {"view": {}}, headers=cookie)[0] == 200
    assert b"gradio" in hosted.ask("GET", "/", headers=cookie)[2]
    assert hosted.ask("GET", "/logout", headers=cookie)[0] == 303
    assert hosted.call("trace/open", {"view": {}}, headers=cookie)[0] == 401
    assert [login(hosted, f"guess {n}")[0] for n in range(WRONG_LOGINS)] == [400] * WRONG_LOGINS
    assert login(hosted, "guess")[0] == 429 and login(hosted)[0] == 429


def test_the_session_is_for_the_browser_alone_and_a_link_survives_the_login(server, hosted, monkeypatch):
    monkeypatch.setattr("actfocus_studio.server.security.WRONG_LOGINS", 10**6)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, told, _ = hosted.ask("POST", "/login?run=mine&tab=tune", "username=me&password=secret", form)
    assert (status, told["location"]) == (303, "./?run=mine&tab=tune")
    assert "HttpOnly" in told["set-cookie"] and "SameSite=lax" in told["set-cookie"]
    for next_ in ("//evil.example", "\\evil.example", "next=http://evil.example"):
        assert hosted.ask("POST", f"/login?{next_}", "username=me&password=secret", form)[1]["location"].startswith(
            "./?"
        )
    # A studio without a login has no form.
    assert server.ask("GET", "/login")[0] == server.ask("GET", "/logout")[0] == login(server)[0] == 403


def test_old_guesses_are_forgotten(monkeypatch):
    async def refuses(scope, receive, send):
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    client, now = TestClient(Guard(refuses)), time.monotonic()
    assert [client.post("/login").status_code for _ in range(WRONG_LOGINS + 1)] == [400] * WRONG_LOGINS + [429]
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert client.post("/login").status_code == 400
