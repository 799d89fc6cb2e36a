"""The server's edges: what it refuses, and how it says that it cannot start."""

import asyncio
import hashlib
import http.client
import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from actfocus_core.errors import ActFocusError
from actfocus_studio.main import is_loopback, launch
from actfocus_studio.server.serving import _bind
from actfocus_studio.server.static import script_url


def ask(studio: str, method: str, path: str, body: str | None = None, headers: dict | None = None):
    at = urlsplit(studio)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=10)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/monitoring/summary"])
def test_services_that_are_not_there(studio, path):
    assert ask(studio, "GET", path)[0] in (403, 404)


@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", "/gradio_api/upload"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/file=http://example.org/x"),
        ("GET", "/gradio_api/proxy=http://example.org/x"),
        ("POST", "/gradio_api/component_server"),
    ],
)
def test_refused(studio, method, path):
    assert ask(studio, method, path, "" if method == "POST" else None)[0] == 403


def test_another_hosts_name_is_refused(studio):
    assert ask(studio, "GET", "/", headers={"Host": "evil.example"})[0] == 400


def test_large_and_endless_bodies_are_refused(studio):
    path = "/studio/api/trace/open"
    assert ask(studio, "POST", path, headers={"Content-Length": "5000000"})[0] == 413
    assert ask(studio, "POST", path, headers={"Transfer-Encoding": "chunked"})[0] == 411


def test_the_content_policy_names_this_host_alone(studio):
    headers = {name.lower(): value for name, value in ask(studio, "GET", "/")[1].items()}
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert "http" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_scripts_are_served_without_an_install_path(studio):
    for path in (f"/{script_url()}", "/studio/plotly.min.js"):
        status, headers, body = ask(studio, "GET", path)
        assert status == 200 and "javascript" in {k.lower(): v for k, v in headers.items()}["content-type"] and body
    assert b"site-packages" not in ask(studio, "GET", "/")[2]


@pytest.mark.parametrize(
    "request_",
    [
        "null",
        "7",
        "not json",
        "[]",
        "[" * 100_000,
        '{"view": 7}',
        '{"view": {}, "restore": "perhaps"}',
        '{"view": {}, "more": 1}',
        '{"view": {"run": "../../etc"}}',
        '{"view": {"run": "/etc/passwd"}}',
        '{"view": {"run": "plain", "trajectory": {"$ne": 1}, "filter": ["all"]}}',
        '{"view": {"run": "plain", "step": -1}}',
        '{"view": {"run": "broken"}}',
        json.dumps({"view": {"run": "x" * 9000}}),
    ],
)
def test_hostile_requests_get_a_trajectory_or_one_line(studio, request_):
    status, _, body = ask(studio, "POST", "/studio/api/trace/open", request_, {"Content-Type": "application/json"})
    data = json.loads(body)
    assert (status == 200 and "tokens" in data) or (
        status in (200, 422) and data["error"] and "\n" not in data["error"]
    )


def test_a_script_of_another_version_is_not_served(studio):
    assert ask(studio, "GET", "/studio/script/0123456789ab.js")[0] == 404
    for name in ("main.js", "server/static.py"):
        assert ask(studio, "GET", f"/studio/script/{name}")[0] == 403


def test_a_browser_keeps_the_script_until_its_address_changes(studio):
    _, headers, body = ask(studio, "GET", f"/{script_url()}")
    assert "immutable" in {name.lower(): value for name, value in headers.items()}["cache-control"]
    assert hashlib.sha256(body).hexdigest().startswith(Path(script_url()).stem)


def test_no_part_of_an_answer_waits_for_an_acknowledgement():
    """Nagle's algorithm is off for the server's connections."""

    async def connected() -> int:
        taken = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(lambda _, to: taken.set_result(to), sock=_bind("127.0.0.1", 0))
        async with server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            answering = await taken
            option = answering.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            for end in (writer, answering):
                end.close()
        return option

    # In a thread of its own: the browser tests leave an event loop in this one.
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, connected()).result(10) != 0


def test_other_hosts_need_a_login(tmp_path):
    with pytest.raises(ActFocusError, match="--auth"):
        launch([], host="0.0.0.0", runs_dir=tmp_path)
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("studio.example")


def test_a_taken_port_is_one_clear_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ActFocusError, match="port .* is taken"):
            launch([], port=taken.getsockname()[1], open_browser=False, runs_dir=tmp_path)


def test_the_app_process_loads_no_model_library():
    code = (
        "import sys, actfocus_studio.main; actfocus_studio.main.build(); "
        "print([m for m in ('torch', 'transformers', 'safetensors') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "[]"
