"""Who has no login sees the form for one; guesses are slowed."""

import json
import re
import time

from starlette.testclient import TestClient

from actfocus_studio.server.gradio_fit import corrected_assets
from actfocus_studio.server.security import WRONG_LOGINS, Guard
from tests.app.attacks.server import login, routes


def test_without_a_login_only_the_form_for_one_is_seen(hosted):
    app = routes(hosted.demo.app)
    seen = {}
    for method, path in sorted(app):
        if path != "/login" and path != "/login/":
            status, _, body = hosted.ask(
                method,
                re.sub(r"\{[^}]*\}", "go", path),
                '{"data": ["{}"]}' if method == "POST" else None,
                {"Content-Type": "application/json"},
            )
            if status < 400 and method == "GET":
                seen[path] = body
    # Our script and plotly's, Gradio's styles and a script of its, and who is logged in: nothing that a run says.
    assert set(seen) == {
        "/",
        *(f"/assets/{name}" for name in corrected_assets()),
        "/theme.css",
        "/robots.txt",
        "/studio/studio.js",
        "/studio/plotly.min.js",
        "/logout",
        "/favicon.ico",
        "/gradio_api/startup-events",
    }
    config = re.search(r"window\.gradio_config = (\{.*?\});", seen["/"].decode()).group(1)
    assert (
        json.loads(config)["auth_required"] is True
        and json.loads(config)["components"] == json.loads(config)["dependencies"] == []
    )
    for forged in ({"Cookie": "access-token-x=y"}, {"Authorization": "Bearer x"}, {"x-gradio-user": "me"}):
        assert hosted.call("go", "{}", headers=forged)[0] == 401


def test_a_login_opens_it_and_guesses_are_slowed(hosted):
    assert hosted.call("go", "{}", headers=login(hosted)[1])[0] == 200
    assert [login(hosted, f"guess {n}")[0] for n in range(WRONG_LOGINS)] == [400] * WRONG_LOGINS
    assert login(hosted, "guess")[0] == 429 and login(hosted)[0] == 429


def test_old_guesses_are_forgotten(monkeypatch):
    async def refuses(scope, receive, send):
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    client, now = TestClient(Guard(refuses)), time.monotonic()
    assert [client.post("/login").status_code for _ in range(WRONG_LOGINS + 1)] == [400] * WRONG_LOGINS + [429]
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert client.post("/login").status_code == 400
