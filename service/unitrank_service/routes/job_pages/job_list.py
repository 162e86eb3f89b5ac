"""The page with the list of jobs, and the changes of the jobs that a user ticks there."""

from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from unitrank_schemas.jobs import ENDED
from unitrank_service.backend import Backend, backend_of
from unitrank_service.errors import HttpProblem
from unitrank_service.http.parameters import Id, checked_id
from unitrank_service.http.requests import content_type
from unitrank_service.jobs import job_resource
from unitrank_service.jobs.job_resource import cancelled, with_metadata
from unitrank_service.web.job_form import form
from unitrank_service.web.job_line import STATES
from unitrank_service.web.job_lines import SORTS, VERDICTS, chosen_filter, line_view, query_of
from unitrank_service.web.pages import PageRoute, page, to
from unitrank_store.jobs.record import JobRecord

router = APIRouter(include_in_schema=False, route_class=PageRoute)

WRITE = {"x-scope": "write"}
PAGE = 50
"""Rows of the list on one page."""


@router.get("/")
def show_jobs(request: Request, after: Annotated[str, Query(max_length=300)] = "") -> Response:
    """The list of jobs, the newest first. The filters are those of the API."""
    backend, filter = backend_of(request), chosen_filter(request.query_params)
    lines, cursor = backend.jobs.lines(PAGE, after or None, filter)
    models, _ = backend.models.list(200)
    query = query_of(filter)
    return page(
        request,
        "jobs.html",
        jobs=[line_view(line) for line in lines],
        live=any(not line.ended for line in lines),
        more=cursor,
        filter=filter,
        query=query,
        back=urlencode(query),
        tag=filter.metadata.get("tags", ""),
        states=STATES,
        verdicts=VERDICTS,
        sorts=SORTS,
        models=[record.name for record in models],
        first=not after,
    )


@router.post("/jobs/cancel", openapi_extra=WRITE)
async def cancel_jobs(request: Request) -> Response:
    """Cancel the ticked jobs. Jobs that have ended stay as they are."""
    return await _each(request, lambda backend, id: cancelled(id, jobs=backend.jobs, connection=backend.connection))


@router.post("/jobs/delete", openapi_extra=WRITE)
async def delete_jobs(request: Request) -> Response:
    """Delete the ticked jobs and their results. All of them must have ended."""
    return await _each(request, _delete, _check_ended)


@router.post("/jobs/{id}/edit", openapi_extra=WRITE)
async def edit_job(request: Request, id: Id) -> Response:
    """Set the job's title, tags and notes."""
    sent = form.read(await request.body(), content_type(request))
    tags = [tag.strip() for tag in sent.one("tags").split(",") if tag.strip()]
    entries = {"name": sent.one("name") or None, "tags": tags or None, "notes": sent.one("notes") or None}
    await run_in_threadpool(with_metadata, id, entries, backend_of(request).jobs)
    return to(request, f"/jobs/{id}")


async def _each(request: Request, change: Any, check: Any = None) -> Response:
    """Change the ticked jobs, and show the list again with the same filters."""
    sent = form.read(await request.body(), content_type(request))
    ids, backend = [checked_id(id) for id in sent.many("job")][:PAGE], backend_of(request)
    if not ids:
        raise HttpProblem("invalid_request", "no job is ticked; go back to the list and tick the jobs first")

    def change_all() -> None:
        if check is not None:
            check(backend.jobs.get_many([backend.jobs.get(id).id for id in ids]))
        for id in ids:
            change(backend, id)

    await run_in_threadpool(change_all)
    back = urlencode(parse_qsl(sent.one("back")))
    return to(request, f"/?{back}" if back else "/")


def _delete(backend: Backend, id: str) -> None:
    job_resource.delete(
        id, jobs=backend.jobs, earlier_jobs=backend.earlier_jobs, results=backend.results, datasets=backend.datasets
    )


def _check_ended(records: list[JobRecord]) -> None:
    unfinished = [record for record in records if record.status not in ENDED]
    if unfinished:
        detail = f"{len(unfinished)} of the jobs have not ended, such as {unfinished[0].id}; cancel them first"
        raise HttpProblem("job_not_ended", detail)
