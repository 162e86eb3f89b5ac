"""What Prometheus reads."""

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from unitrank_service.backend import backend_of
from unitrank_service.http.authentication import admit
from unitrank_service.observability.metrics import CONTENT_TYPE
from unitrank_service.openapi.descriptions import problems

# Not our own kind of route: that one looks at the key first, for which the store has to be there.
router = APIRouter(tags=["operations"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems(401, 403),
    },
)
async def metrics(request: Request) -> Response:
    """What there is to watch; with the store away no more than that, and how this process is."""
    service_metrics = backend_of(request).metrics
    if not await run_in_threadpool(service_metrics.store_answers):
        return Response(await run_in_threadpool(service_metrics.page_without_store), media_type=CONTENT_TYPE)
    await admit(request, "read")
    return Response(await run_in_threadpool(service_metrics.page), media_type=CONTENT_TYPE)
