"""The routes for operators: health, readiness, workers, version."""

from fastapi import APIRouter, Request, Response

from unitrank_schemas.operations import Health, Readiness, ReadinessWarning, Version, Worker, Workers
from unitrank_service.backend import backend_of, key_of
from unitrank_service.errors import HttpProblem
from unitrank_service.http.authentication import PUBLIC
from unitrank_service.http.requests import Route
from unitrank_service.http.responses import answer
from unitrank_service.openapi.descriptions import problems
from unitrank_service.version import VERSION
from unitrank_store.access.api_keys import Key
from unitrank_store.full import require_writable
from unitrank_store.queue.rq_queue import JOBS
from unitrank_store.redis.faults import find_faults
from unitrank_store.worker_registry import WorkerEntry

router = APIRouter(tags=["operations"], route_class=Route)


@router.get("/healthz", response_model=Health, openapi_extra={"x-scope": PUBLIC})
async def healthz(request: Request) -> Response:
    """Check that the service runs. This does not read the store."""
    return answer(request, Health())


@router.get("/readyz", response_model=Readiness, openapi_extra={"x-scope": PUBLIC}, responses=problems(503))
def readyz(request: Request) -> Response:
    """Check that jobs can run: the store can serve and has room, and a worker for jobs is alive.

    A fault with which jobs still run is one of the `warnings`.
    """
    backend = backend_of(request)
    faults = find_faults(backend.connection, backend.permissions)
    if details := [fault.detail for fault in faults if fault.severity != "warning"]:
        raise HttpProblem("store_unavailable", "; ".join(details), {"Retry-After": "5"})
    # While the store is full, workers cannot write their heartbeats, and count as lost.
    require_writable(backend.connection, backend.blobs.spool)
    workers = backend.workers.list()
    if not any(worker.queue == JOBS for worker in workers):
        detail = "no worker for jobs is running; start a worker with `python -m unitrank_worker`"
        raise HttpProblem("no_worker", detail, {"Retry-After": "5"})
    warnings = [ReadinessWarning.model_validate({"code": fault.code, "detail": fault.detail}) for fault in faults]
    if unconfined := sum(bool(worker.unconfined) for worker in workers):
        # Anybody may read this: names of workers and paths of the machine stay in the log.
        detail = f"{unconfined} of {len(workers)} workers run models without confinement; the log of each worker has the reason"
        warnings.append(ReadinessWarning(code="confinement", detail=detail))
    return answer(request, Readiness(warnings=warnings))


@router.get("/v1/workers", response_model=Workers, responses=problems(401, 403))
def list_workers(request: Request) -> Response:
    """List the workers that are alive.

    Jobs and models of other tenants are shown only to a key with the scope `admin`.
    """
    backend, key = backend_of(request), key_of(request)
    alive = backend.workers.list()
    records = backend.jobs.get_many([worker.job for worker in alive if worker.job])
    jobs = {record.id for record in records if record.tenant == key.tenant}
    items = [
        Worker(
            name=worker.name,
            device=worker.device,
            queue=worker.queue,
            memory=worker.memory,
            children=worker.children,
            job=worker.job if worker.job in jobs or key.may("admin") else None,
            models=_visible_models(worker, key),
        )
        for worker in alive
    ]
    return answer(request, Workers(items=items))


@router.get("/v1/version", response_model=Version, responses=problems(401, 403))
async def version(request: Request) -> Response:
    """Get the version of the service and of the API."""
    return answer(request, Version(version=VERSION))


def _visible_models(worker: WorkerEntry, key: Key) -> list[str]:
    """The names of the worker's models: those of the key's tenant, or of all with `admin`."""
    tenants = worker.models if key.may("admin") else [key.tenant]
    return sorted({name for tenant in tenants for name in worker.models.get(tenant, ())})
