"""What the studio's server refuses: other hosts' pages, Gradio's uploads, proxies, large bodies."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse

from app.transfers import RECEIVE, UPLOAD_MAX

BODY_MAX = 1_000_000
"""Bytes. The page sends a few hundred; only a file to import may have more (``app.transfers``)."""
REFUSED = ("/upload", "/file=", "/file/", "/proxy=", "/process_recording", "/component_server", "/deep_link")
"""Gradio's own services that the studio has no use for."""
HEADERS = {
    # Gradio's components need inline script and Function(): the policy does not stop a script
    # that got into the page, it stops anything from leaving this host.
    "Content-Security-Policy":
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'self'; object-src 'none'; "
        "form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Guard:
    """ASGI middleware: refuses what REFUSED names and bodies over BODY_MAX, adds HEADERS."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_guarded(message):
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = _refusal(scope)
        await (refusal or self.app)(scope, receive, send_guarded)


def _refusal(scope) -> PlainTextResponse | None:
    if any(part in scope["path"] for part in REFUSED):
        return PlainTextResponse("not available here", 403)
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    # A body of unknown length could grow without end: the page never sends one.
    if b"transfer-encoding" in headers:
        return PlainTextResponse("the length of the body must be given", 411)
    if not length.isdigit() or int(length) > (UPLOAD_MAX if scope["path"].startswith(RECEIVE) else BODY_MAX):
        return PlainTextResponse("the body is too large", 413)
    return None
