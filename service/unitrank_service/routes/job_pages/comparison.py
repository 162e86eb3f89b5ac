"""The page that shows two to four jobs side by side."""

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from unitrank_service.backend import Backend, backend_of, key_of
from unitrank_service.routes.compare import compare
from unitrank_service.web.comparison_view import Names, comparison_values
from unitrank_service.web.pages import PageRoute, page

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/compare")
async def show_comparison(
    request: Request,
    job: Annotated[list[str], Query(default_factory=list)],
    back: Annotated[str, Query(max_length=2000)] = "",
    layer: Annotated[str, Query(max_length=512)] = "",
) -> Response:
    """The comparison of the jobs that the URL names. `back`: the query of the list of jobs.

    `layer`: the layer that is compared; "" for the first that all jobs have.
    """
    backend = backend_of(request)
    comparison = await compare(job, backend, owner=key_of(request).id, layer=layer or None)
    names = await run_in_threadpool(_class_names, [each.id for each in comparison.jobs], backend)
    return page(
        request,
        "compare.html",
        comparison=comparison,
        back=urlencode(parse_qsl(back)),
        api=urlencode([*(("job", each.id) for each in comparison.jobs), *([("layer", layer)] if layer else [])]),
        **comparison_values(comparison, names),
    )


def _class_names(ids: Sequence[str], backend: Backend) -> Names:
    """Id of a job → the names of its classes."""
    return {record.id: backend.class_names.of_job(record, backend.datasets) for record in map(backend.jobs.get, ids)}
