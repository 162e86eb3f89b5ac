"""Results: the summary as JSON, all arrays as safetensors or npz, or a table as CSV."""

from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Path, Query, Request, Response

from unitrank_schemas.base import Json
from unitrank_schemas.class_names import ClassNames
from unitrank_schemas.results import LayeredResult, Result, UnitResult
from unitrank_service.backend import backend_of
from unitrank_service.http.parameters import Id, OneLayer
from unitrank_service.http.requests import Route
from unitrank_service.http.responses import answer
from unitrank_service.openapi.descriptions import BINARY, problems
from unitrank_service.results.formats import CSV, NPZ, SAFETENSORS
from unitrank_service.results.result_response import result_response
from unitrank_service.results.stored_result import StoredResult
from unitrank_service.results.summary import Selection
from unitrank_service.results.unit import unit_body

router = APIRouter(prefix="/v1/jobs", tags=["results"], route_class=Route)

CONTENT = {SAFETENSORS: {"schema": BINARY}, NPZ: {"schema": BINARY}, CSV: {"schema": {"type": "string"}}}
MOST_UNITS = 10_000
"""Units of each ranking that one answer may have. The arrays have all of them."""
Top = Annotated[int | None, Query(ge=1, le=MOST_UNITS, description="Maximum number of units of each ranking.")]


@router.get(
    "/{id}/result",
    response_model=Result | LayeredResult,
    responses={
        200: {"description": "The result in the type that `Accept` prefers.", "content": CONTENT},
        **problems(401, 403, 404, 406, 409, 410, 422),
    },
)
async def get_result(
    request: Request,
    id: Id,
    cluster: Annotated[str | None, Query(description="Only this cluster.")] = None,
    ranking: Annotated[str | None, Query(description="Only this ranking.")] = None,
    top: Top = None,
    layer: Annotated[
        str | None,
        Query(
            max_length=512,
            description="Only this layer, or `joint`: the answer is that of a job of this layer alone. Without it a job with a "
            "list of layers has a part for each layer. The arrays always have all layers.",
        ),
    ] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> Response:
    """Get the result of a job that has succeeded."""
    backend, selection = backend_of(request), Selection(cluster, ranking, top, layer)
    return await result_response(
        request, id, accept, selection, jobs=backend.jobs, results=backend.results, threads=backend.result_threads
    )


@router.get("/{id}/classes", response_model=ClassNames, responses=problems(401, 403, 404))
def get_class_names(request: Request, id: Id) -> Response:
    """Get the names of the job's classes, with which pages, plots and the report show them.

    They come from `metadata.classes`, or from a text field of the dataset; empty without names.
    """
    backend = backend_of(request)
    names = backend.class_names.of_job(backend.jobs.get(id), backend.datasets)
    return answer(request, ClassNames(classes=dict(names)))


@router.get("/{id}/units/{unit}", response_model=UnitResult, responses=problems(401, 403, 404, 409, 410, 422))
async def get_unit(
    request: Request,
    id: Id,
    unit: Annotated[int, Path(ge=0, le=2**53, description="Number of the unit, as `top[].unit` of the result has it.")],
    cluster: Annotated[str | None, Query(description="Only this cluster.")] = None,
    ranking: Annotated[str | None, Query(description="Only this ranking.")] = None,
    layer: OneLayer = None,
) -> Response:
    """Get one unit: its importance and effect everywhere, and the examples that move it most."""
    backend = backend_of(request)

    def body() -> Json:
        stored = StoredResult(backend.jobs.get(id), backend.results, backend.jobs.result_ttl)
        return unit_body(stored.of_layer(layer), unit, Selection(cluster, ranking))

    return answer(request, await run_sync(body, limiter=backend.result_threads))
