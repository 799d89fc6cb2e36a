"""Access rules of the server: only the paths that its own page requests, and only from that page.

Everything else is refused here, Gradio's further services among it, whatever a later Gradio adds.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from actfocus_studio.server.api import API
from actfocus_studio.server.login import Login
from actfocus_studio.server.static import PLOTLY, SCRIPTS
from actfocus_studio.server.uploads import RECEIVE, SEND, UPLOAD_MAX

BODY_MAX = 1_000_000
"""Bytes. The page sends a few hundred; only a file to import may have more (``actfocus_studio.server.uploads``)."""
PATHS = {
    "GET": re.compile(
        rf"/|/(config|theme\.css|favicon\.ico|robots\.txt)/?|/log(in|out)|/(assets|static|svelte)/.+|"
        rf"{SCRIPTS}[0-9a-f]+\.js|{PLOTLY}|{SEND}[^/]+"
    ),
    "POST": re.compile(rf"/login|/gradio_api/run/[^/]+/?|{API}/[a-z_]+/[a-z_]+"),
    "PUT": re.compile(rf"{RECEIVE}[^/]+"),
}
"""The paths that the page requests; HEAD is allowed wherever GET is."""
CALLS = "/gradio_api/run/"
FOREIGN = ("page", "deep_link")
"""Words of an address that Gradio reads for services that are not offered here, and stumbles over."""
HEADERS = {
    # Gradio's components need inline script and Function(). Attributes such as onerror, the way in for text that is taken
    # for HTML, need not run, and do not; and nothing leaves this host.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; script-src-attr 'none'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; frame-src 'none'; frame-ancestors 'none'; base-uri 'self'; object-src 'none'; "
    "form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
WRONG_LOGINS, LOGIN_SECONDS = 10, 60.0
"""Most wrong logins from one address within this time; further ones are refused until these are older."""
ADDRESSES = 10_000
"""Most addresses whose wrong logins are counted."""


def guarded(app: ASGIApp, hosts: Sequence[str], login: Login | None) -> ASGIApp:
    """The app behind all checks: first those of ``Guard``, then the host's name, then the login."""
    plain = _plain_values(app)
    inside = login.wall(plain) if login else _without_login(plain)
    return Guard(TrustedHostMiddleware(inside, hosts, www_redirect=False))


def _plain_values(app: ASGIApp) -> ASGIApp:
    """Calls of Gradio's handlers have plain values alone."""

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        answer = None
        if scope["type"] == "http" and scope["path"].startswith(CALLS):
            body = await _body(receive)
            answer, receive = _unfit(body), _again(body, receive)
        await (answer or app)(scope, receive, send)

    return plain


def _without_login(app: ASGIApp) -> ASGIApp:
    """Where nobody logs in, nobody reaches the routes for it that Gradio has."""

    async def without(scope: Scope, receive: Receive, send: Send) -> None:
        refused = scope["type"] == "http" and scope["path"] in ("/login", "/logout")
        await (PlainTextResponse("not available here", 403) if refused else app)(scope, receive, send)

    return without


class Guard:
    """ASGI middleware: refuses what is not in PATHS, comes from another site's page or is too large; adds HEADERS."""

    def __init__(self, app):
        self.app = app
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()
        """address -> times of its wrong logins"""

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            # No websockets. Closed before it is accepted, so the browser receives a 403.
            return await send({"type": "websocket.close", "code": 1008})
        began = False

        async def guarded(message):
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                MutableHeaders(scope=message).update(HEADERS)
                self._note(scope, message["status"])
            await send(message)

        try:
            answer, scope = self._refusal(scope), _without_foreign(scope)
            await (answer or self.app)(scope, receive, guarded)
        except Exception:
            logging.getLogger(__name__).exception("%s %s", scope["method"], scope["path"])
            if not began:
                await PlainTextResponse("the studio met an error of its own; its terminal says which", 500)(
                    scope, receive, guarded
                )

    def _refusal(self, scope) -> PlainTextResponse | None:
        method, path, headers = scope["method"], scope["path"], Headers(scope=scope)
        allowed = PATHS.get("GET" if method == "HEAD" else method)
        if allowed is None or not allowed.fullmatch(path):
            return PlainTextResponse("not available here", 403)
        if not (method in ("GET", "HEAD") and path == "/") and not is_own(headers):
            return PlainTextResponse("only the studio's own page may ask for this", 403)
        # A body of unknown length could be endless; the page never sends one.
        if "transfer-encoding" in headers:
            return PlainTextResponse("the length of the body must be given", 411)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > (UPLOAD_MAX if path.startswith(RECEIVE) else BODY_MAX):
            return PlainTextResponse("the body is too large", 413)
        if path.startswith("/login") and len(self._recent(scope)) >= WRONG_LOGINS:
            return PlainTextResponse(f"too many wrong logins; wait {LOGIN_SECONDS:.0f} seconds", 429)
        return None

    def _note(self, scope, status: int) -> None:
        """Count a wrong login."""
        if scope["method"] == "POST" and scope["path"].startswith("/login") and status == 400:
            self._wrong[_address(scope)] = [*self._recent(scope), time.monotonic()]
            self._wrong.move_to_end(_address(scope))
            if len(self._wrong) > ADDRESSES:
                self._wrong.popitem(last=False)

    def _recent(self, scope) -> list[float]:
        since = time.monotonic() - LOGIN_SECONDS
        return [when for when in self._wrong.get(_address(scope), ()) if when > since]


def _without_foreign(scope) -> dict:
    words = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    if not any(name in FOREIGN for name, _ in words):
        return scope
    return {**scope, "query_string": urlencode([word for word in words if word[0] not in FOREIGN]).encode("latin-1")}


def is_own(headers: Headers) -> bool:
    """Whether a request comes from the studio's own page, or from a program other than a browser.

    Browsers say from where, in a header that no script can set; older ones, and all on a host without
    TLS, say the page's origin. A program that is no browser says neither, and is no other site's page.
    """
    if site := headers.get("sec-fetch-site"):
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""


def _address(scope) -> str:
    return (scope.get("client") or ("",))[0]


async def _body(receive) -> bytes:
    """The whole of a body, whose length was checked; what comes of one that breaks off."""
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes, receive):
    """A ``receive`` that brings the body that was read, and then what comes after it."""
    first = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def again():
        return next(first, None) or await receive()

    return again


def _unfit(body: bytes) -> PlainTextResponse | None:
    """Refuse all but plain values in a call of a handler.

    Gradio takes an object that says that it is a file for one, and would fetch it.
    """
    try:
        called = json.loads(body)
        good = (
            isinstance(called, dict)
            and isinstance(called.get("data"), list)
            and all(isinstance(value, (str, int, float, bool, type(None))) for value in called["data"])
        )
    except (ValueError, RecursionError):
        good = False
    return None if good else PlainTextResponse("a call has data: a list of strings, numbers, true, false and null", 422)
