"""The studio's site: Gradio's page mounted on FastAPI beside the studio's own routes, behind all checks, and its server."""

from __future__ import annotations

import contextlib
import inspect
import ipaddress
import logging
import socket
import threading
import time
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr
import uvicorn
from fastapi import APIRouter, FastAPI

from actfocus_core.errors import ActFocusError
from actfocus_studio.server import static, uploads
from actfocus_studio.server.api import add_error_handlers
from actfocus_studio.server.login import Login
from actfocus_studio.server.security import guarded

START_SECONDS = 30.0
STOP_SECONDS = 5
# Services that later releases have switched on: the arguments that switch them off, where this one has them.
NOT_OFFERED = {name: False for name in ("run_history",) if name in inspect.signature(gr.mount_gradio_app).parameters}


@dataclass(frozen=True)
class Site:
    """What is served: Gradio's page, and the routes of its tabs and panels."""

    page: gr.Blocks
    routers: Sequence[APIRouter]

    def app(self, theme: gr.Theme | None = None) -> FastAPI:
        """The whole as one application, without the checks that ``Server`` puts around it."""
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        add_error_handlers(app)
        for router in self.routers:
            app.include_router(router)
        app.router.routes += [*static.routes(), *uploads.routes()]
        return gr.mount_gradio_app(
            app,
            self.page,
            "/",
            app_kwargs={"openapi_url": None, "docs_url": None, "redoc_url": None},
            show_error=False,
            max_file_size="1mb",
            allowed_paths=[],
            footer_links=[],
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            theme=theme,
            css=static.styles(),
            head=static.head(),
            **NOT_OFFERED,
        )


class Server:
    """A running studio, in a thread of its own."""

    def __init__(self, app: FastAPI, host: str, port: int, auth: tuple[str, str] | None):
        self.app = app
        hosts = ["127.0.0.1", "localhost", "[::1]", host] if is_loopback(host) else ["*"]
        self._socket = _bind(host, port)
        self._server = uvicorn.Server(
            uvicorn.Config(
                guarded(app, hosts, Login(*auth) if auth else None),
                log_level="warning",
                # Gradio's start would begin to look for queued events, up to a thousand times a second, all the time. No event of
                # the studio is queued, so it is not started.
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        name = f"[{host}]" if ":" in host else host
        self.local_url = f"http://{name}:{self._socket.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._server.run, args=[[self._socket]], daemon=True)
        self._thread.start()
        self._wait_until_started()

    def close(self) -> None:
        """End the server; requests that are being answered get a few seconds."""
        self._server.should_exit = True
        self._thread.join(2 * STOP_SECONDS)
        self._socket.close()

    def wait(self) -> None:
        """Return when the process is interrupted, or the server ends."""
        with contextlib.suppress(KeyboardInterrupt):
            self._thread.join()
        self.close()

    def _wait_until_started(self) -> None:
        until = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise ActFocusError("the studio's server did not start; its log says why")
            time.sleep(0.01)


def open_in_browser(address: str) -> None:
    """Open a window, without waiting for it. Where there is no browser nothing happens."""

    def show() -> None:
        try:
            webbrowser.open(address)
        except webbrowser.Error:
            logging.getLogger(__name__).info("no browser could be opened")

    threading.Thread(target=show, daemon=True).start()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises ActFocusError where the address is taken or not allowed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named. With it, the second part of an answer waits
    # up to 40 ms for the acknowledgement of the first.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(128)
    except (OSError, OverflowError):
        found.close()
        raise ActFocusError(f"port {port} of {host} is taken or not allowed; choose another one with --port") from None
    return found
