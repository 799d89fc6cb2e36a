"""No file of this machine is served, and no name from a page becomes a path."""

import json
import re
import socket
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel

import actfocus_studio
from actfocus_core.runs import Run
from actfocus_studio.data.view import View
from actfocus_studio.server import uploads as transfers
from actfocus_studio.server.static import SCRIPTS
from tests.app.attacks.server import SECRET

UP = ("../", "%2e%2e%2f", "..%2f", "....//", "..\\", "..%5c", "..%252f")

NAMES = [
    "../outside",
    "/etc/passwd",
    "mine/../../outside",
    "%2e%2e/outside",
    "../outside\x00.json",
    "x" * 15_000,
    "\u202eﬁ",
    {"$ne": 1},
]
"""Where a page says which run, experiment, group, lesson, file or what-if it means."""


def test_no_file_of_this_machine_is_served(server):
    code = Path(actfocus_studio.__file__).parent / "server/security.py"
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
                SCRIPTS,
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
            for status, _, body in (
                server.handler("begin", value),
                server.call("trace/open", {"view": value, "restore": value}),
            ):
                assert status == 422 and SECRET.encode() not in body and b"root:" not in body
    assert set(asked) == {server.host}


def filled(model: type[BaseModel], name: object) -> dict:
    """A request with this name wherever it may name something."""
    values = {}
    for field, about in model.model_fields.items():
        if field == "view":
            values[field] = dict.fromkeys(View.model_fields, name) | {"step": 0}
        elif isinstance(about.annotation, type) and issubclass(about.annotation, BaseModel):
            values[field] = filled(about.annotation, name)
        elif about.annotation is int:
            values[field] = 0
        else:
            values[field] = [name] if "list" in str(about.annotation) else name
    return values


def test_names_from_a_page_never_become_paths(server):
    """A run, an experiment and a what-if lie just outside of where the names point into."""
    (server.folder / ".races").mkdir(exist_ok=True)
    before = server.kept()
    for name in NAMES:
        for operation, model in server.requests.items():
            status, _, body = server.call(operation, filled(model, name))
            assert status in (200, 422), (operation, name, body[:300])
            text = body.decode()
            assert SECRET not in text and "root:" not in text, (operation, name, text[:300])
            line = json.loads(text).get("error") or ""
            assert "\n" not in line and len(line) < 20_000, (operation, name, text[:300])
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


def test_the_run_of_another_folder_is_one(server):
    """What the names above point at would be shown if one of them reached it."""
    assert Run.open(server.folder.parent / "outside").info["config"]["env"] == SECRET
