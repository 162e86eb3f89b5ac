"""The plots and the report of a result."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

import unitrank_plots
from unitrank_service.backend import backend_of, key_of
from unitrank_service.errors import HttpProblem
from unitrank_service.http.parameters import Id, OneLayer
from unitrank_service.http.requests import Route
from unitrank_service.openapi.descriptions import BINARY, problems
from unitrank_service.openapi.examples.results import PLOT
from unitrank_service.results.formats import JSON
from unitrank_service.results.plots import TYPES, plot_response, report_response

router = APIRouter(prefix="/v1/jobs", tags=["results"], route_class=Route)

PLOTS = (*unitrank_plots.PICTURES, *unitrank_plots.LAYERED)
NAMES = ", ".join(f"`{name}`" for name in PLOTS)
CONTENT = {kind: {"schema": BINARY} for kind in TYPES.values() if kind != JSON}
VALUES = {"schema": {"$ref": "#/components/schemas/Plot"}, "example": PLOT}


@router.get(
    "/{id}/plots/{name}.{form}",
    response_class=Response,
    responses={200: {"description": "The plot.", "content": {**CONTENT, JSON: VALUES}}, **problems(401, 403, 404, 409, 410, 422)},
)
async def get_picture(
    request: Request,
    id: Id,
    name: Annotated[str, Path(description=f"{NAMES}.")],
    form: Annotated[str, Path(description="`png`, `svg`, or `json` for the values that the plot shows.")],
    cluster: Annotated[str | None, Query(description="Name of a cluster.")] = None,
    ranking: Annotated[
        str | None, Query(description="Id of a ranking. A plot of one ranking takes the leaderboard's first by default.")
    ] = None,
    channel: Annotated[int | None, Query(ge=0, description="Draw the heatmap of this channel only.")] = None,
    example: Annotated[
        int | None, Query(ge=0, description="Draw the heatmap of one kept example; its number in the cluster, from 0.")
    ] = None,
    overlay: Annotated[bool, Query(description="Draw the heatmap over the input, if the input is an image.")] = False,
    style: Annotated[
        Literal["screen", "paper"],
        Query(description="`paper`: for print, without a title and in a serif font."),
    ] = "screen",
    layer: OneLayer = None,
) -> Response:
    """Get a plot of a result, as a picture or as the values that it shows.

    The plots are the curves of the ablation, the importance, a heatmap, the leaderboard, the
    agreement and the differences of the rankings, and the specificity of one ranking. The plot
    `layers` shows all layers of a job with several: their area, their selectivity, and the share of
    units that keep 90 % of the score.
    """
    if name not in PLOTS or form not in TYPES:
        names = ", ".join(PLOTS)
        detail = f"plot {f'{name}.{form}'[:100]!r} does not exist; use {names}, with .png, .svg or .json"
        raise HttpProblem("not_found", detail)
    choice = unitrank_plots.Choice(cluster, ranking, channel, example, style=style)
    owner, stores = key_of(request).id, backend_of(request).plots
    return await plot_response(request, id, name, form, choice, layer=layer, overlay=overlay, owner=owner, stores=stores)


@router.get(
    "/{id}/report",
    response_class=HTMLResponse,
    responses={200: {"description": "One HTML file without external files."}, **problems(401, 403, 404, 409, 410, 422)},
)
async def get_report(request: Request, id: Id, layer: OneLayer = None) -> Response:
    """Get the report: the verdict in words, the evidence, and the provenance in one HTML file."""
    return await report_response(id, layer, owner=key_of(request).id, stores=backend_of(request).plots)
