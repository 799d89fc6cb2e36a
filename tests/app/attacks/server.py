"""The attacked studio over HTTP: requests as any program can send them."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from urllib.parse import urlencode, urlsplit

SECRET = "the-secret-of-another-folder"


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


def login(server: Server, password: str = "secret") -> tuple[int, dict]:
    status, headers, _ = server.ask(
        "POST",
        "/login",
        urlencode({"username": "me", "password": password}),
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    return status, {"Cookie": headers["set-cookie"].split(";")[0]} if "set-cookie" in headers else {}


def routes(app) -> set[tuple[str, str]]:
    """Method and path of everything that the app itself would answer."""
    found = set()
    for route in app.routes:
        inner = route.original_router.routes if hasattr(route, "original_router") else [route]
        found |= {(method, one.path) for one in inner for method in one.methods}
    return found
