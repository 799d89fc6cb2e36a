"""The server attacked over HTTP as a hostile page, a hostile neighbour and a visitor without a login would."""

import http.client
import json
import re
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from actfocus_core.runs import Run
from actfocus_studio.main import build, serve
from actfocus_studio.server import uploads as transfers
from actfocus_studio.server.gradio_fit import corrected_assets
from actfocus_studio.server.security import HEADERS, WRONG_LOGINS, Guard
from tests.app.sample import make_run

SECRET = "the-secret-of-another-folder"
NAMES = [
    "../outside",
    "/etc/passwd",
    "mine/../../outside",
    "%2e%2e/outside",
    "../outside\x00.json",
    "x" * 15_000,
    "\u202e\ud800ﬁ",
    {"$ne": 1},
]
"""Where a page says which run, race, group, lesson, file or what-if it means."""


class Server:
    """A studio that is attacked, and the folder it keeps its runs in."""

    def __init__(self, demo, folder: Path):
        self.demo, self.folder = demo, folder
        self.host, self.port = urlsplit(demo.local_url).hostname, urlsplit(demo.local_url).port
        self.own = f"http://{self.host}:{self.port}"

    def ask(self, method: str, path: str, body=None, headers=()) -> tuple[int, dict, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        told = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        connection.close()
        return told

    def call(self, name: str, *data, headers=()) -> tuple[int, dict, bytes]:
        """A handler by its name, as any program can call it."""
        return self.ask(
            "POST",
            f"/gradio_api/run/{name}",
            json.dumps({"data": data}),
            {"Content-Type": "application/json", **dict(headers)},
        )

    def tell(self, handler: str, **request) -> dict:
        """The answer of a page's handler."""
        status, _, body = self.call(handler, json.dumps({"number": 1, **request}))
        assert status == 200, body
        return json.loads(json.loads(body)["data"][0])

    def kept(self) -> list[str]:
        """All that lies in the folder of runs."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "runs").mkdir()
    make_run(folder / "runs" / "mine", prompts=1, rollouts=2)
    make_run(folder / "outside", prompts=1, rollouts=2).info["config"]["secret"] = SECRET
    (folder / "outside" / "run.json").write_text(
        (folder / "outside" / "run.json").read_text().replace('"frozen_lake"', f'"{SECRET}"')
    )
    (folder / "runs" / "note.txt").write_text(SECRET)
    (folder / "runs" / "link").symlink_to(folder / "runs" / "note.txt")
    demo = serve(build([folder / "runs" / "mine"], folder / "runs"))
    yield Server(demo, folder / "runs")
    demo.close()


@pytest.fixture(scope="module")
def hosted(tmp_path_factory):
    """Behind a login, for looking only."""
    folder = tmp_path_factory.mktemp("hosted")
    make_run(folder / "mine", prompts=1, rollouts=2)
    demo = serve(build([folder / "mine"], folder, read_only=True), auth=("me", "secret"))
    yield Server(demo, folder)
    demo.close()


def login(server: Server, password: str = "secret") -> tuple[int, dict]:
    status, headers, _ = server.ask(
        "POST",
        "/login",
        urlencode({"username": "me", "password": password}),
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    return status, {"Cookie": headers["set-cookie"].split(";")[0]} if "set-cookie" in headers else {}


# --- what is served ------------------------------------------------------------------------

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


def routes(app) -> set[tuple[str, str]]:
    """Method and path of everything that the app itself would answer."""
    found = set()
    for route in app.routes:
        inner = route.original_router.routes if hasattr(route, "original_router") else [route]
        found |= {(method, one.path) for one in inner for method in one.methods}
    return found


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


# --- another site's page -------------------------------------------------------------------

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
        ("POST", "/gradio_api/run/go", '{"data": ["{}"]}'),
        ("POST", "/login", "username=me&password=secret"),
        ("PUT", f"/studio/receive/{ticket}", "abc"),
        ("GET", "/config", None),
        ("GET", "/studio/studio.js", None),
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
        assert server.call("go", "{}", headers=headers)[0] == 200


@pytest.mark.parametrize(
    "query",
    ["page=x", "page=", "deep_link=x", "run=mine&page=..%2F&tab=compare", "page=%ff%00&deep_link[]=1", "%70age=x"],
)
def test_an_address_says_nothing_to_the_services_that_are_not_here(server, query):
    for path in ("/", "/config"):
        status, _, body = server.ask("GET", f"{path}?{query}")
        assert status == 200 and len(body) > 1000


def test_no_preflight_is_answered(server):
    for path in ("/", "/gradio_api/run/go", "/gradio_api/queue/join", "/config"):
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
        ("POST", "/gradio_api/run/go", '{"data": ["{}"]}'),
    ):
        status, told, text = server.ask(method, path, body, {"Host": host, "Content-Type": "application/json"})
        assert status in (400, 403) and b"trajectory" not in text
        assert status == 400 or told["x-frame-options"] == "DENY"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:9", "[::1]:7860"])
def test_this_machines_names_are_taken(server, host):
    assert server.ask("GET", "/robots.txt", None, {"Host": host})[0] == 200


@pytest.mark.parametrize("path", ["/", "/gradio_api/queue/join", "/queue/join", "/gradio_api/run/go"])
def test_no_websocket_is_opened(server, path):
    with socket.create_connection((server.host, server.port), 10) as raw:
        raw.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://evil.example\r\n\r\n".encode()
        )
        assert b" 101 " not in raw.recv(400).split(b"\r\n")[0]


def test_every_kind_of_answer_carries_the_policies(server, hosted):
    answers = [
        server.ask("GET", "/"),
        server.ask("HEAD", "/"),
        server.ask("GET", "/config"),
        server.ask("GET", "/theme.css"),
        server.ask("GET", "/studio/studio.js"),
        server.ask("GET", "/static/img/logo.svg"),
        server.ask("GET", "/nowhere"),
        server.ask("GET", "/assets/nowhere.js"),
        server.ask("OPTIONS", "/"),
        server.call("go", "{}"),
        server.call("nowhere", "{}"),
        server.ask("POST", "/gradio_api/run/go", "{"),
        server.ask("POST", "/gradio_api/run/go", "x" * 9, {"Content-Length": "5000000"}),
        server.ask("POST", "/gradio_api/run/go", None, {"Transfer-Encoding": "chunked"}),
        server.ask("GET", "/", None, {"Host": "evil.example"}),
        server.ask("GET", "/studio/send/guess"),
        hosted.ask("GET", "/config"),
        hosted.ask("GET", "/"),
        hosted.ask("GET", "/logout"),
    ]
    assert {status for status, _, _ in answers} >= {200, 302, 400, 401, 403, 404, 411, 413, 422}
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


UP = ("../", "%2e%2e%2f", "..%2f", "....//", "..\\", "..%5c", "..%252f")


# --- files ---------------------------------------------------------------------------------


def test_no_file_of_this_machine_is_served(server):
    code = Path(__file__).parents[2] / "app/actfocus_studio/server/security.py"
    files = [
        Path("/etc/passwd"),
        code,
        server.folder / "mine" / "run.json",
        server.folder / "note.txt",
        server.folder / "link",
        Path("/proc/self/environ"),
    ]
    for n, file in enumerate(files):
        plain, up = [str(file), quote(str(file), safe="")], [f"{step * 20}{str(file)[1:]}" for step in UP]
        for path in (*plain, *(up if n < 2 else up[:2]), f"file://{file}", f"x%00{file}"):
            for at in (
                "/gradio_api/file=",
                "/file/",
                "/assets/",
                "/static/",
                "/svelte/",
                "/studio/",
                "/studio/send/",
                "/",
            ):
                status, _, body = server.ask("GET", at + path)
                leaked = (
                    b"root:" in body
                    or SECRET.encode() in body
                    or b"ASGI middleware" in body
                    or b'"env_options"' in body
                )
                # Whatever is not known at the root is refused; "/" itself is the page.
                assert status >= 400 and not leaked, (at, path, status)


def test_what_says_that_it_is_a_file_is_not_fetched(server, monkeypatch):
    asked, look_up = [], socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: asked.append(a[0]) or look_up(server.host, *a[1:], **k))
    for path in ("http://93.184.216.34/x", "http://evil.invalid/x", "/etc/passwd", str(server.folder / "note.txt")):
        one = {"path": path, "url": path, "orig_name": "x", "meta": {"_type": "gradio.FileData"}}
        for value in (one, [one], {"a": [one]}):
            status, _, body = server.call("go", value)
            assert status == 422 and SECRET.encode() not in body and b"root:" not in body
    assert set(asked) == {server.host}


# --- names ---------------------------------------------------------------------------------


def test_names_from_a_page_never_become_paths(server):
    """A run, a race and a what-if lie just outside of where the names point into."""
    races = server.folder / ".races"
    races.mkdir(exist_ok=True)
    before = server.kept()
    for name in NAMES:
        said = [server.tell("lambda_3", run=name, trajectory=name, turn=0, moves=[])]
        said += [
            server.tell("lambda_4", op=op, run=name, trajectory="x", other_run=name, other=name, **{"with": name})
            for op in ("panes", "score", "judge")
        ]
        said += [
            server.tell("lambda_5", op=op, run=name, step=0, group=name, over="step") for op in ("groups", "ribbons")
        ]
        said += [
            server.tell("lambda_6", op=op, run=name, step=0, trajectory=name, reference=name)
            for op in ("batch", "export")
        ]
        said += [
            server.tell("lambda_7", op=op, id=name, name=name, what=name, seed=0)
            for op in ("look", "log", "prompt", "ask")
        ]
        said += [server.tell("lambda_8", lesson=name, run=name, answer=name)]
        said += [
            server.tell("lambda_2", op=op, run=name or "x", id=name, kind=name, trajectory=name)
            for op in ("list", "show", "motion", "start")
        ]
        said += [
            server.tell(
                "lambda_1",
                op=op,
                run=name,
                ticket=name,
                name=name,
                size=1,
                tokenizer=name,
                spans=name,
                format=name,
                part=name,
            )
            for op in ("inspect", "import", "check", "export")
        ]
        for one in said:
            text = json.dumps(one)
            assert SECRET not in text and "root:" not in text, (name, text[:300])
            # A name that is none, or is cut away, is the run that opens by default.
            assert "\n" not in one.get("error", "") and len(one.get("error", "")) < 20_000, (name, text[:300])
        status, _, body = server.call("go", json.dumps({"run": name, "trajectory": name, "reference": name}))
        assert status == 200 and SECRET not in body.decode()
    assert server.kept() == before


def test_the_name_of_a_download_is_one_plain_name(server):
    for name in ("../../etc/cron", "a\r\nSet-Cookie: x=1", 'a";filename="b', "\u202egnp.exe", "x" * 500, "..", "\x00"):
        ticket, path = transfers.transfers().offer(f"{name}-run.jsonl")
        assert path.parent.name == ticket and re.fullmatch(r"[\w.-]+", path.name, re.ASCII), name
        path.write_text("{}")
        status, told, _ = server.ask("GET", f"/studio/send/{ticket}")
        assert (
            status == 200
            and told["content-disposition"] == f'attachment; filename="{path.name}"'
            and "set-cookie" not in told
        )
        assert told["content-type"] == "application/octet-stream"


# --- who has no login ----------------------------------------------------------------------


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


def test_the_run_of_another_folder_is_one(server):
    """What the names above point at would be shown if one of them reached it."""
    assert Run.open(server.folder.parent / "outside").info["config"]["env"] == SECRET
