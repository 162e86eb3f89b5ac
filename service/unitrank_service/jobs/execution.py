"""Checks whether a worker can divide a job between the nodes of a Ray cluster."""

from unitrank_schemas.checks import Flaw, RequestRejected
from unitrank_schemas.jobs import JobRequest
from unitrank_store.queue.rq_queue import JOBS
from unitrank_store.worker_registry import WorkerRegistry


def check_execution(request: JobRequest, workers: WorkerRegistry) -> None:
    """Raise RequestRejected if the job must be divided and every worker that is alive has no Ray.

    The job of a service without workers may wait for one. The heartbeat of an older worker does
    not say whether the worker has Ray.
    """
    if request.execution != "distributed":
        return
    alive = workers.list(JOBS)
    if alive and all(worker.distributes is False for worker in alive):
        detail = (
            f"`execution` is 'distributed', but no worker has UNITRANK_RAY ({len(alive)} are alive); "
            "use 'auto' or 'local', or ask the operator to set UNITRANK_RAY on all workers"
        )
        raise RequestRejected([Flaw("/execution", "ray_unreachable", detail)])
