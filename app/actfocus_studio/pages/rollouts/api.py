"""The Rollouts page's routes: what can be listed, rows of the list, the highest tokens, and their computation."""

from __future__ import annotations

from fastapi import APIRouter

from actfocus_core.errors import ActFocusError
from actfocus_core.listing.tokens import MEASURES
from actfocus_core.runs import slug
from actfocus_studio.data import columns
from actfocus_studio.data.listings import asked
from actfocus_studio.data.schema import JobStatus
from actfocus_studio.data.view import View, ViewRequest
from actfocus_studio.pages.rollouts.about import about
from actfocus_studio.pages.rollouts.rows import as_csv, as_json_lines, rows
from actfocus_studio.pages.rollouts.schema import (
    ListAbout,
    ListExportRequest,
    ListFile,
    ListJobRequest,
    ListRows,
    ListRowsRequest,
    ListStart,
    ListTokens,
)
from actfocus_studio.server.api import API
from actfocus_studio.shell.studio import Studio


def api(studio: Studio) -> APIRouter:
    """The routes of the page."""
    router = APIRouter(prefix=f"{API}/rollouts")
    lists = studio.lists

    def listing_of(view: View):
        run = studio.catalog.open(view.run or studio.catalog.default())
        return run, lists.listings.get(run, view)

    def status() -> JobStatus:
        return JobStatus(**vars(lists.status()))

    @router.post("/about")
    def tell(request: ViewRequest) -> ListAbout:
        run, listing = listing_of(request.view)
        return about(run, listing, request.view)

    @router.post("/rows")
    def list_rows(request: ListRowsRequest) -> ListRows:
        return rows(listing_of(request.view)[1], request)

    @router.post("/tokens")
    def list_tokens(request: ViewRequest) -> ListTokens:
        view = request.view
        if view.extreme not in MEASURES:
            raise ActFocusError(f"tokens: no signal, weight or credit {view.extreme!r}; choose one from the list")
        found = lists.tokens(listing_of(view)[1], view)
        made = found or {name: [] for name in ("value", "text", "kind", "rollout", "turn", "token")}
        return ListTokens(
            value=columns.float64(made["value"]),
            text=columns.text(made["text"]),
            kind=columns.uint8(made["kind"]),
            rollout=columns.text(made["rollout"]),
            turn=columns.int32(made["turn"]),
            token=columns.int32(made["token"]),
            need="tokens" if found is None else "",
        )

    @router.post("/start")
    def start(request: ListStart) -> JobStatus:
        run, listing = listing_of(request.view)
        lists.begin(run, run.name, request.view, request.what)
        return status()

    @router.post("/job")
    def follow_job(request: ListJobRequest) -> JobStatus:
        return status()

    @router.post("/cancel")
    def cancel_job(request: ListJobRequest) -> JobStatus:
        lists.cancel()
        return status()

    @router.post("/export")
    def export(request: ListExportRequest) -> ListFile:
        run, listing = listing_of(request.view)
        wanted = asked(listing, request.view)
        if wanted.query is None or wanted.need:
            line = wanted.where or wanted.search or "it is not computed yet"
            raise ActFocusError(f"the list cannot be exported: {line}")
        known = {column.name: column for column in listing.columns if column.source != "search" or wanted.query.search}
        names = [name for name in dict.fromkeys(["id", *request.columns]) if name in known]
        page = listing.page(wanted.query, 0, listing.total, names)
        text = as_csv(page.rows) if request.format == "csv" else as_json_lines(page.rows)
        return ListFile(text=text, name=f"{slug(run.name)}-rollouts.{request.format}")

    return router
