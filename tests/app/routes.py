"""Asking a page's routes without a server, and reading the columns of what they answer."""

from __future__ import annotations

import base64
import json

import numpy as np
from fastapi import APIRouter, FastAPI
from starlette.testclient import TestClient

from actfocus_studio.data.message import Message
from actfocus_studio.server.api import API, add_error_handlers

DTYPES = {"float32": "<f4", "float64": "<f8", "int32": "<i4", "uint8": "u1"}


class Routes:
    """The operations of one page."""

    def __init__(self, router: APIRouter, page: str):
        app = FastAPI()
        add_error_handlers(app)
        app.include_router(router)
        self._client, self._page = TestClient(app), page

    def ask(self, operation: str, **request: object) -> dict:
        """The answer of an operation; NaN or Infinity in it is a failure, and so is an error without its status."""
        status, answer = self.post(operation, json.dumps(request))
        assert status == (422 if "error" in answer else 200)
        return answer

    def post(self, operation: str, text: str) -> tuple[int, dict]:
        """The status and the answer for a request of any text."""
        answer = self._client.post(
            f"{API}/{self._page}/{operation}", content=text, headers={"Content-Type": "application/json"}
        )
        return answer.status_code, json.loads(answer.content, parse_constant=_refuse)

    def expect_refused(self, operation: str, text: str) -> None:
        """A request gets one line that says why it is refused."""
        status, answer = self.post(operation, text)
        assert status in (400, 422) and set(answer) == {"error"} and answer["error"] and "\n" not in answer["error"]


def values(column: Message | dict) -> np.ndarray | list[str]:
    """The numbers of a column, as a model or as JSON; the texts of one of texts."""
    found = column if isinstance(column, dict) else column.model_dump()
    if found["dtype"] == "text":
        return found["data"]
    return np.frombuffer(base64.b64decode(found["data"]), DTYPES[found["dtype"]])


def _refuse(name: str) -> float:
    raise AssertionError(f"{name} is not JSON")
