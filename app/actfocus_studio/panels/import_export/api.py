"""The routes of the import and export drawer: a file is uploaded and imported, a run is checked, a selection exported."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, StringConstraints

from actfocus_studio.data.message import Message, Request
from actfocus_studio.data.view import NAME_MAX, Filter, Name, ViewRequest
from actfocus_studio.panels.import_export.job import (
    ExchangeProgress,
    ExportFormat,
    ExportPart,
    ImportExport,
    UploadedFile,
)
from actfocus_studio.panels.import_export.preview import ImportSettings, PreviewProgress
from actfocus_studio.server.api import API
from actfocus_studio.server.uploads import transfers

Ticket = Annotated[str, StringConstraints(max_length=NAME_MAX)]


class AnnounceRequest(Request):
    """A file will be uploaded."""

    name: Annotated[str, StringConstraints(max_length=1000)]
    size: int = Field(strict=True)
    """Bytes."""


class UploadTicket(Message):
    """Where the file may be sent: the last part of the address."""

    ticket: str


class InspectRequest(Request):
    """What is in an uploaded file? ``run``: the run whose tokenizer is offered first."""

    ticket: Ticket
    run: Name = ""


class ImportRequest(Request):
    """Import a file, or show what would become of its first rollouts."""

    ticket: Ticket
    settings: ImportSettings


class CheckRequest(Request):
    """Check a run."""

    run: Name


class ExportRequest(ViewRequest):
    """Export a part of the open run, under the setting of the view."""

    format: ExportFormat
    part: ExportPart
    filter: Filter = "all"


class WaitingFiles(Message):
    """The files that the command line named and that wait for a person's choice, by their tickets."""

    tickets: list[str]


class ExchangeRequest(Request):
    """Look at the job, or end it."""


def api(exchange: ImportExport) -> APIRouter:
    """The routes of the drawer."""
    router = APIRouter(prefix=f"{API}/import_export")

    @router.post("/announce")
    def announce(request: AnnounceRequest) -> UploadTicket:
        return UploadTicket(ticket=transfers().announce(request.name, request.size))

    @router.post("/inspect")
    def inspect(request: InspectRequest) -> UploadedFile:
        return exchange.inspect(request.ticket, request.run)

    @router.post("/import")
    def import_file(request: ImportRequest) -> ExchangeProgress:
        return exchange.start_import(request.ticket, request.settings)

    @router.post("/preview")
    def preview(request: ImportRequest) -> PreviewProgress:
        return exchange.start_preview(request.ticket, request.settings)

    @router.post("/look_at_preview")
    def look_at_preview(request: ExchangeRequest) -> PreviewProgress:
        return exchange.previews.look()

    @router.post("/cancel_preview")
    def cancel_preview(request: ExchangeRequest) -> PreviewProgress:
        exchange.previews.cancel()
        return exchange.previews.look()

    @router.post("/waiting")
    def list_waiting(request: ExchangeRequest) -> WaitingFiles:
        return WaitingFiles(tickets=exchange.waiting)

    @router.post("/check")
    def check_run(request: CheckRequest) -> ExchangeProgress:
        return exchange.start_check(request.run)

    @router.post("/export")
    def export(request: ExportRequest) -> ExchangeProgress:
        return exchange.start_export(request.view, request.format, request.part, request.filter)

    @router.post("/look")
    def look(request: ExchangeRequest) -> ExchangeProgress:
        return exchange.look()

    @router.post("/cancel")
    def cancel(request: ExchangeRequest) -> ExchangeProgress:
        exchange.cancel()
        return exchange.look()

    return router
