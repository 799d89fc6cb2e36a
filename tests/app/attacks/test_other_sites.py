"""The page of another site, a rebound name and a websocket reach nothing."""

import socket

import pytest

from actfocus_studio.server import uploads as transfers
from actfocus_studio.server.static import script_url

OTHERS = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:1"},
    {"Origin": "file://"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "OWN"},
    {"Sec-Fetch-Site": "x"},
]


@pytest.mark.parametrize("number", range(len(OTHERS)))
def test_another_sites_page_reaches_nothing(server, number):
    headers = {name: value.replace("OWN", server.own) for name, value in OTHERS[number].items()}
    ticket = transfers.transfers().announce("a.jsonl", 3)
    for method, path, body in (
        *(("POST", f"/studio/api/{name}", "{}") for name in server.requests),
        ("POST", "/gradio_api/run/begin", '{"data": ["{}"]}'),
        ("POST", "/login", "username=me&password=secret"),
        ("PUT", f"/studio/receive/{ticket}", "abc"),
        ("GET", "/config", None),
        ("GET", f"/{script_url()}", None),
        ("GET", "/logout", None),
        ("GET", f"/studio/send/{ticket}", None),
    ):
        for kind in ("application/json", "text/plain"):
            status, told, _ = server.ask(method, path, body, {**headers, "Content-Type": kind})
            assert status == 403 and "access-control-allow-origin" not in told, (path, headers)
    assert not transfers.transfers()._kept[transfers.RECEIVE][ticket].path.exists()
    # A link to the studio works from anywhere.
    assert server.ask("GET", "/", None, headers)[0] == 200


def test_the_own_page_and_programs_reach_it(server):
    for headers in (
        {},
        {"Origin": server.own},
        {"Sec-Fetch-Site": "same-origin", "Origin": server.own},
        {"Sec-Fetch-Site": "none"},
    ):
        assert server.call("trace/open", {"view": {}}, headers=headers)[0] == 200


@pytest.mark.parametrize(
    "query",
    ["page=x", "page=", "deep_link=x", "run=mine&page=..%2F&tab=compare", "page=%ff%00&deep_link[]=1", "%70age=x"],
)
def test_an_address_says_nothing_to_the_services_that_are_not_here(server, query):
    for path in ("/", "/config"):
        status, _, body = server.ask("GET", f"{path}?{query}")
        assert status == 200 and len(body) > 1000


def test_no_preflight_is_answered(server):
    for path in ("/", "/studio/api/trace/open", "/gradio_api/run/begin", "/gradio_api/queue/join", "/config"):
        for origin in ("http://evil.example", "http://localhost:3000", "null", server.own):
            status, told, _ = server.ask(
                "OPTIONS",
                path,
                None,
                {
                    "Origin": origin,
                    "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "content-type",
                },
            )
            assert status == 403 and not any(name.startswith("access-control") for name in told)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.2",
        "0.0.0.0",
        "[::2]",
        "",
        "127.0.0.1@evil.example",
        "evil.example#127.0.0.1",
        "2130706433",
    ],
)
def test_a_name_that_was_bound_to_this_machine_is_refused(server, host):
    for method, path, body in (
        ("GET", "/", None),
        ("GET", "/config", None),
        *(("POST", f"/studio/api/{name}", "{}") for name in server.requests),
        ("POST", "/gradio_api/run/begin", '{"data": ["{}"]}'),
    ):
        status, told, text = server.ask(method, path, body, {"Host": host, "Content-Type": "application/json"})
        assert status in (400, 403) and b"trajectory" not in text
        assert status == 400 or told["x-frame-options"] == "DENY"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:9", "[::1]:7860"])
def test_this_machines_names_are_taken(server, host):
    assert server.ask("GET", "/robots.txt", None, {"Host": host})[0] == 200


@pytest.mark.parametrize("path", ["/", "/gradio_api/queue/join", "/queue/join", "/studio/api/trace/open"])
def test_no_websocket_is_opened(server, path):
    with socket.create_connection((server.host, server.port), 10) as raw:
        raw.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://evil.example\r\n\r\n".encode()
        )
        assert b" 101 " not in raw.recv(400).split(b"\r\n")[0]
