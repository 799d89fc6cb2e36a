"""No file of this machine is served, and no name from a page becomes a path."""

import json
import re
import socket
from pathlib import Path
from urllib.parse import quote

import actfocus_studio
from actfocus_core.runs import Run
from actfocus_studio.server import uploads as transfers
from tests.app.attacks.server import SECRET

UP = ("../", "%2e%2e%2f", "..%2f", "....//", "..\\", "..%5c", "..%252f")

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


def test_the_run_of_another_folder_is_one(server):
    """What the names above point at would be shown if one of them reached it."""
    assert Run.open(server.folder.parent / "outside").info["config"]["env"] == SECRET
