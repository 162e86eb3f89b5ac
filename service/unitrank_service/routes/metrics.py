"""The metrics for Prometheus."""

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from unitrank_service.backend import backend_of
from unitrank_service.http.authentication import admit
from unitrank_service.observability.metrics import CONTENT_TYPE
from unitrank_service.openapi.descriptions import problems

# FastAPI's own class of routes: `Route` checks the key first, which fails while the store is down.
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
    """Get the metrics in Prometheus' text format.

    While the store does not answer, they are `unitrank_store_up 0` and the metrics of this process.
    """
    service_metrics = backend_of(request).metrics
    if not await run_in_threadpool(service_metrics.store_answers):
        return Response(await run_in_threadpool(service_metrics.page_without_store), media_type=CONTENT_TYPE)
    await admit(request, "read")
    return Response(await run_in_threadpool(service_metrics.page), media_type=CONTENT_TYPE)
