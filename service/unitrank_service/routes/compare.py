"""The comparison of jobs."""

from contextlib import ExitStack
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request, Response

from unitrank_schemas.comparison import MOST_JOBS, JobComparison
from unitrank_schemas.problems import Invalid
from unitrank_service.backend import Backend, backend_of, key_of
from unitrank_service.comparison.job_comparison import Source, job_comparison
from unitrank_service.errors import HttpProblem, InvalidBody
from unitrank_service.http.parameters import checked_id
from unitrank_service.http.requests import Route
from unitrank_service.http.responses import answer
from unitrank_service.openapi.descriptions import problems
from unitrank_service.results.stored_result import StoredResult
from unitrank_store.jobs.record import JobRecord

router = APIRouter(prefix="/v1/compare", tags=["results"], route_class=Route)

Jobs = Annotated[list[str], Query(description=f"Id of a job. Name two to {MOST_JOBS} jobs: `?job=A&job=B`.")]


@router.get("", response_model=JobComparison, responses=problems(401, 403, 404, 422))
async def get_comparison(request: Request, job: Jobs) -> Response:
    """Compare jobs: what differs in their requests, and how their rankings differ.

    Rankings are compared for jobs with results that rank the units of equal places.
    """
    return answer(request, await compare(job, backend_of(request), owner=key_of(request).id))


async def compare(ids: list[str], backend: Backend, *, owner: str) -> JobComparison:
    """Return the comparison of jobs. `owner`: id of the request's key.

    Raises InvalidBody for another number of jobs, and RecordNotFound for an unknown job.
    """
    if not 2 <= len(set(ids)) == len(ids) <= MOST_JOBS:
        detail = f"{len(ids)} jobs are named; name two to {MOST_JOBS} different jobs: ?job=A&job=B"
        raise InvalidBody([Invalid(pointer="/query/job", detail=detail, code="invalid_parameter")])
    records = [await run_sync(backend.jobs.get, checked_id(id)) for id in ids]
    with ExitStack() as files:
        sources = [await run_sync(_source, record, backend, files, limiter=backend.result_threads) for record in records]
        return await backend.plots.draw(owner, job_comparison, sources)


def _source(record: JobRecord, backend: Backend, files: ExitStack) -> Source:
    try:
        stored = StoredResult(record, backend.results, backend.jobs.result_ttl)
        return Source(record, b"".join(stored.summary_bytes()), files.enter_context(stored.array_path()), None)
    except HttpProblem as problem:
        return Source(record, None, None, problem.detail)
