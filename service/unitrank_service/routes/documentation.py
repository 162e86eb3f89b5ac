"""The page /docs, which shows the OpenAPI document and sends requests. It needs no internet."""

from fastapi import APIRouter, Request, Response

from unitrank_service.http.authentication import PUBLIC
from unitrank_service.web.pages import POLICY, PageRoute, page

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/docs", openapi_extra={"x-scope": PUBLIC})
def show_documentation(request: Request) -> Response:
    """The page of the HTTP API."""
    answer = page(request, "docs.html")
    # The style sheet of Swagger UI contains its icons as `data:` URLs.
    answer.headers["Content-Security-Policy"] = f"{POLICY}; img-src 'self' data:"
    return answer
