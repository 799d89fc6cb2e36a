"""The requests that a page sends, as the network sees them."""

from __future__ import annotations

import json

from playwright.sync_api import Page, Request


class Traffic:
    """All requests of a page from now on, in their order."""

    def __init__(self, page: Page):
        self.urls: list[str] = []
        self._posted: list[Request] = []
        page.on("request", self._take)

    def _take(self, request: Request) -> None:
        self.urls.append(request.url)
        if "/studio/api/" in request.url and request.method == "POST":
            self._posted.append(request)

    @property
    def posted(self) -> list[dict]:
        """What the page asked for, each as the request that the operation reads."""
        return [json.loads(request.post_data or "{}") for request in self._posted]

    def clear(self) -> None:
        self.urls.clear()
        self._posted.clear()
