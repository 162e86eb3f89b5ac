"""What people look at: pictures of a result, and its report."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

import unitrank_plots
from unitrank_service.backend import backend_of
from unitrank_service.errors import HttpProblem
from unitrank_service.http.parameters import Id
from unitrank_service.http.requests import Route
from unitrank_service.openapi.descriptions import BINARY, problems
from unitrank_service.results.plots import TYPES, PlotStores, plot_response
from unitrank_service.results.report import report

router = APIRouter(prefix="/v1/jobs", tags=["results"], route_class=Route)

NAMES = ", ".join(f"`{name}`" for name in unitrank_plots.PICTURES)
CONTENT = {kind: {"schema": BINARY} for kind in TYPES.values()}


@router.get(
    "/{id}/plots/{name}.{form}",
    response_class=Response,
    responses={200: {"description": "The picture.", "content": CONTENT}, **problems(401, 403, 404, 409, 410, 422)},
)
def get_picture(
    request: Request,
    id: Id,
    name: Annotated[str, Path(description=f"{NAMES}.")],
    form: Annotated[str, Path(description="`png` or `svg`.")],
    cluster: Annotated[str | None, Query(description="Of this cluster.")] = None,
    ranking: Annotated[str | None, Query(description="Of this ranking; the leaderboard's first where one is needed.")] = None,
    channel: Annotated[int | None, Query(ge=0, description="A heatmap of this channel alone.")] = None,
    example: Annotated[int | None, Query(ge=0, description="A heatmap of this one of the examples that were kept.")] = None,
    overlay: Annotated[bool, Query(description="A heatmap over the input, where that is an image.")] = False,
) -> Response:
    """A picture of a result: curves of the ablation, importance, a heatmap, the leaderboard, or how far rankings agree."""
    if name not in unitrank_plots.PICTURES or form not in TYPES:
        raise HttpProblem(
            "not_found", f"no picture {f'{name}.{form}'[:100]!r}; there are {', '.join(unitrank_plots.PICTURES)}, as .png and .svg"
        )
    backend, choice = backend_of(request), unitrank_plots.Choice(cluster, ranking, channel, example)
    stores = PlotStores(backend.jobs, backend.results, backend.blobs, backend.models)
    return plot_response(request, id, name, form, choice, overlay, stores)


@router.get(
    "/{id}/report",
    response_class=HTMLResponse,
    responses={200: {"description": "One HTML file that needs nothing else."}, **problems(401, 403, 404, 409, 410)},
)
def get_report(request: Request, id: Id) -> Response:
    """The verdict in words, then the evidence and where it comes from, fit to send to a colleague."""
    backend = backend_of(request)
    return report(id, jobs=backend.jobs, results=backend.results)
