"""The comparison of jobs."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request, Response

from unitrank_schemas.checks import nearest
from unitrank_schemas.comparison import MOST_JOBS, JobComparison
from unitrank_schemas.problems import Invalid
from unitrank_schemas.results import JOINT
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

ComparedLayer = Annotated[
    str | None,
    Query(
        max_length=512,
        description="The layer to compare, or `joint`, for jobs with several layers. Default: the first layer that all jobs have. "
        "`jobs[].layer` of the answer names it.",
    ),
]
Jobs = Annotated[list[str], Query(description=f"Id of a job. Name two to {MOST_JOBS} jobs: `?job=A&job=B`.")]


@router.get("", response_model=JobComparison, responses=problems(401, 403, 404, 422))
async def get_comparison(request: Request, job: Jobs, layer: ComparedLayer = None) -> Response:
    """Compare jobs: what differs in their requests, and how their rankings differ.

    Rankings are compared for jobs with results that rank the units of equal places.
    """
    return answer(request, await compare(job, backend_of(request), owner=key_of(request).id, layer=layer))


async def compare(ids: list[str], backend: Backend, *, owner: str, layer: str | None = None) -> JobComparison:
    """Return the comparison of jobs. `owner`: id of the request's key.

    `layer`: see `layers_to_compare`.

    Raises InvalidBody for another number of jobs, RecordNotFound for an unknown job, and
    HttpProblem for an unknown layer.
    """
    if not 2 <= len(set(ids)) == len(ids) <= MOST_JOBS:
        detail = f"{len(ids)} jobs are named; name two to {MOST_JOBS} different jobs: ?job=A&job=B"
        raise InvalidBody([Invalid(pointer="/query/job", detail=detail, code="invalid_parameter")])
    records = [await run_sync(backend.jobs.get, checked_id(id)) for id in ids]
    with ExitStack() as files:
        results = [await run_sync(_stored, record, backend, limiter=backend.result_threads) for record in records]
        names = [_names(record, stored) for record, stored in zip(records, results, strict=True)]
        sources = [
            await run_sync(_source, record, stored, of_job, chosen, files, limiter=backend.result_threads)
            for record, stored, of_job, chosen in zip(records, results, names, layers_to_compare(names, layer), strict=True)
        ]
        return await backend.plots.draw(owner, job_comparison, sources)


def layers_to_compare(names: Sequence[Sequence[str]], layer: str | None) -> list[str | None]:
    """Return the layer of each job that is compared; None for a job without the named one.

    `names`: the layers of each job. `layer`: None takes the first layer that all jobs have, or the
    first of each job. Raises HttpProblem for a layer that no job has.
    """
    if layer is None:
        common = next((name for name in names[0] if all(name in each for each in names)), None)
        return [common or each[0] for each in names]
    if not any(layer in each for each in names):
        of_all = list(dict.fromkeys(name for each in names for name in each))
        raise HttpProblem("layer_not_found", f"layer {layer[:100]!r} not found in the jobs{nearest(layer, of_all)}")
    return [layer if layer in each else None for each in names]


def _stored(record: JobRecord, backend: Backend) -> StoredResult | str:
    """The result of a job, or the reason why it has none."""
    try:
        stored = StoredResult(record, backend.results, backend.jobs.result_ttl)
        # Reads the layers of a pattern from the result, which may have expired.
        _ = stored.parts
        return stored
    except HttpProblem as problem:
        return problem.detail


def _names(record: JobRecord, stored: StoredResult | str) -> list[str]:
    """The layers of a job, and `joint`."""
    layer = record.request["layer"]
    names = [str(name) for name in layer] if isinstance(layer, list) else [str(layer)]
    if isinstance(stored, StoredResult) and stored.parts:
        return stored.parts
    return [*names, *([JOINT] if record.request.get("joint") else [])]


def _source(record: JobRecord, stored: StoredResult | str, names: list[str], layer: str | None, files: ExitStack) -> Source:
    layers = names if len(names) > 1 or isinstance(record.request["layer"], list) else []
    if layer is None:
        return Source(record, names[0], layers, reason=f"the job {record.id} ranks other layers: {', '.join(names[:5])}")
    if isinstance(stored, str):
        return Source(record, layer, layers, reason=stored)
    try:
        of_layer = stored.of_layer(layer)
        summary = b"".join(of_layer.summary_bytes())
        return Source(record, layer, layers, summary, files.enter_context(of_layer.array_path()))
    except HttpProblem as problem:
        return Source(record, layer, layers, reason=problem.detail)
