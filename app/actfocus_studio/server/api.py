"""The pages' own POST routes: ``/studio/api/PAGE/OPERATION``, pydantic models in and out.

What goes wrong is one line, ``{"error": ...}``, with status 422 for a request that cannot be answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from actfocus_core.errors import ActFocusError

API = "/studio/api"
NAME_MAX = 200
REFUSED = 422


def line_of(errors: Sequence[dict[str, Any]]) -> str:
    """What is wrong with a request that does not fit its model, as one line; names out of the request are cut."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body")[:NAME_MAX]
    line = f"the request's {where}: {first['msg']}" if where else f"the request: {first['msg']}"
    return "".join(c if c.isprintable() else "?" for c in line) + "; reload the page"


def add_error_handlers(app: FastAPI) -> None:
    """Turn the errors that a person can act on into one line of JSON."""

    @app.exception_handler(ActFocusError)
    def refuse(request: Request, error: ActFocusError) -> JSONResponse:
        return JSONResponse({"error": " ".join(str(error).split())}, REFUSED)

    @app.exception_handler(RequestValidationError)
    def unfit(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": line_of(error.errors())}, REFUSED)

    @app.exception_handler(HTTPException)
    def unreadable(request: Request, error: HTTPException) -> JSONResponse:
        # A body that is nested too deeply is refused by FastAPI with 400.
        status = REFUSED if error.status_code == 400 else error.status_code
        return JSONResponse({"error": f"{error.detail}; reload the page"}, status)
