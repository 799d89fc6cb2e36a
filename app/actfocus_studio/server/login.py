"""A login by one name and password, and the sessions it opens; nothing is served to anybody else."""

from __future__ import annotations

import secrets
from importlib.resources import files
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

COOKIE = "actfocus-session"
SESSIONS_MAX = 1000
"""Most sessions that are open at a time; one more closes the oldest."""
PAGE = files(__package__).joinpath("login.html").read_text(encoding="utf-8")


class Login:
    """Who may see the studio. Sessions last until the studio ends, or until they are closed at ``/logout``."""

    def __init__(self, user: str, password: str):
        self._user, self._password = user, password
        self._sessions: dict[str, None] = {}

    def wall(self, app: ASGIApp) -> ASGIApp:
        """``app``, for those who are logged in."""

        async def walled(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive)
            answer = None if scope["type"] == "lifespan" else await self._answer(request)
            await (answer or app)(scope, receive, send)

        return walled

    async def _answer(self, request: Request) -> Response | None:
        """The answer to a request that is not for the studio itself."""
        path, known = request.url.path, self._session(request) in self._sessions
        if path == "/login":
            if request.method == "POST":
                return self._enter(await request.body(), request)
            return RedirectResponse("./", 303) if known else _page()
        if path == "/logout":
            return self._leave(request)
        if known:
            return None
        return _page() if path == "/" else PlainTextResponse("log in first", 401)

    def _enter(self, body: bytes, request: Request) -> Response:
        """Open a session for a form with the right name and password."""
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10)
        user, password = (fields.get(name, [""])[0] for name in ("username", "password"))
        # Both are compared, whatever the first says: the time tells nothing.
        if not all([_equal(user, self._user), _equal(password, self._password)]):
            return _page(400, "Wrong name or password.")
        token = secrets.token_urlsafe(32)
        self._sessions[token] = None
        while len(self._sessions) > SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        query = request.url.query
        # The query is that of the address at which the form stood: a shared link survives the login.
        response = RedirectResponse(f"./?{query}" if query else "./", 303)
        response.set_cookie(COOKIE, token, httponly=True, samesite="lax", secure=request.url.scheme == "https")
        return response

    def _leave(self, request: Request) -> Response:
        """Close the session of a request."""
        self._sessions.pop(self._session(request), None)
        response = RedirectResponse("./", 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return response

    @staticmethod
    def _session(request: Request) -> str:
        return request.cookies.get(COOKIE, "")


def _page(status: int = 401, said: str = "") -> Response:
    """The form of the login."""
    return HTMLResponse(PAGE.replace("{said}", said), status, {"Cache-Control": "no-store"})


def _equal(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8"))
