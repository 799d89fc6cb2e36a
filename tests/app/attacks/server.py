"""The attacked studio over HTTP: requests as any program can send them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from starlette.routing import BaseRoute, Mount

from actfocus_studio.declarations import operations

SECRET = "the-secret-of-another-folder"
JSON = {"Content-Type": "application/json"}


class Server:
    """A studio that is attacked, and the folder it keeps its runs in."""

    def __init__(self, studio, site, folder: Path):
        self.studio, self.page, self.folder = studio, site.page, folder
        self.requests = {name: request for name, request, _ in operations(site.routers)}
        """Operation of a page -> the model of its requests."""
        at = urlsplit(studio.local_url)
        self.host, self.port = at.hostname, at.port
        self.own = f"http://{self.host}:{self.port}"

    def ask(self, method: str, path: str, body=None, headers=()) -> tuple[int, dict, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        told = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        connection.close()
        return told

    def handler(self, name: str, *data, headers=()) -> tuple[int, dict, bytes]:
        """A handler of Gradio's events by its name, as any program can call it."""
        return self.ask("POST", f"/gradio_api/run/{name}", json.dumps({"data": data}), {**JSON, **dict(headers)})

    def call(self, operation: str, request: object, headers=()) -> tuple[int, dict, bytes]:
        """An operation of a page, as any program can call it; a text is sent as it is."""
        body = request if isinstance(request, (str, bytes)) else json.dumps(request)
        return self.ask("POST", f"/studio/api/{operation}", body, {**JSON, **dict(headers)})

    def tell(self, operation: str, **request) -> dict:
        """The answer of an operation, or ``{"error": line}``."""
        status, _, body = self.call(operation, request)
        assert status in (200, 422), (status, body)
        return json.loads(body)

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
    """Method and path of everything that the app itself would answer, Gradio's routes among them."""
    return set(_routes(app.routes, ""))


def _routes(found: Iterable[BaseRoute], prefix: str) -> Iterator[tuple[str, str]]:
    for route in found:
        if isinstance(route, Mount):
            yield from _routes(route.routes, prefix + route.path)
        elif hasattr(route, "original_router"):
            yield from _routes(route.original_router.routes, prefix)
        elif hasattr(route, "methods"):
            yield from ((method, prefix + route.path) for method in route.methods)
