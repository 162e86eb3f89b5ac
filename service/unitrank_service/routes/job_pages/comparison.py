"""The page that shows two to four jobs side by side."""

from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Query, Request, Response

from unitrank_service.backend import backend_of, key_of
from unitrank_service.routes.compare import compare
from unitrank_service.web.comparison_view import comparison_values
from unitrank_service.web.pages import PageRoute, page

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/compare")
async def show_comparison(
    request: Request, job: Annotated[list[str], Query(default_factory=list)], back: Annotated[str, Query(max_length=2000)] = ""
) -> Response:
    """The comparison of the jobs that the URL names. `back`: the query of the list of jobs."""
    comparison = await compare(job, backend_of(request), owner=key_of(request).id)
    return page(
        request,
        "compare.html",
        comparison=comparison,
        back=urlencode(parse_qsl(back)),
        api=urlencode([("job", each.id) for each in comparison.jobs]),
        **comparison_values(comparison),
    )
