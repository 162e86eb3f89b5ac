"""Deliveries: the webhooks of a job and the outcome of each attempt."""

from fastapi import APIRouter, Request, Response

from unitrank_schemas.base import Page
from unitrank_schemas.deliveries import Delivery
from unitrank_service.backend import backend_of
from unitrank_service.http.parameters import Id
from unitrank_service.http.requests import Route
from unitrank_service.http.responses import moment, page
from unitrank_service.openapi.descriptions import problems
from unitrank_store.webhooks import deliveries

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=Route)


@router.get("/{id}/deliveries", response_model=Page[Delivery], responses=problems(401, 403, 404))
def list_deliveries(request: Request, id: Id) -> Response:
    """List the webhooks of a job, the oldest first. They are kept as long as the job."""
    backend = backend_of(request)
    record = backend.jobs.get(id)
    return page([_body(delivery) for delivery in backend.deliveries.of(record.id)], None)


def _body(delivery: deliveries.DeliveryRecord) -> dict[str, object]:
    return {
        "id": delivery.id,
        "url": delivery.url,
        "state": delivery.state,
        "attempts": [
            {"at": moment(attempt.at), "status": attempt.status, "error": attempt.error, "seconds": attempt.seconds}
            for attempt in delivery.attempts
        ],
        "next_at": moment(delivery.next_at),
    }
