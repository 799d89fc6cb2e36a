"""What a page sends or receives: the base of all models of requests and answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """A request or an answer. The browser's declarations, ``web/types.d.ts``, are generated from these.

    A number that is not finite is null in an answer, and refused in a request.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=True,
        ser_json_inf_nan="null",
        json_schema_serialization_defaults_required=True,
    )


class Request(Message):
    """A request of a page."""

    model_config = ConfigDict(allow_inf_nan=False)
