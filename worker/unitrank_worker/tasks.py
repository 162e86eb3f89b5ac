"""The attempt for each kind of record that a queue holds."""

from collections.abc import Callable

import structlog

from unitrank_store.jobs.record import JobRecord
from unitrank_worker.attempts.attempt import Attempt
from unitrank_worker.attempts.inspection_attempt import InspectionAttempt
from unitrank_worker.attempts.job_attempt import JobAttempt
from unitrank_worker.attempts.stores import Stores

log = structlog.get_logger()

ATTEMPTS: dict[str, Callable[[Stores, JobRecord], Attempt]] = {"job": JobAttempt, "inspection": InspectionAttempt}


def start(stores: Stores, id: str, *, worker: str, number: int | None) -> Attempt | None:
    """Start an attempt at the record, and return the attempt.

    Returns None if the record must not run: it has ended, or another worker has started it.
    `number`: number of the attempt that was put into the queue.
    """
    kind = stores.jobs.kind
    if stores.jobs.start(id, worker, number) is None:
        log.info("attempt not started", kind=kind, job=id)
        return None
    return ATTEMPTS[kind](stores, stores.jobs.get(id))


def tenant_of(stores: Stores, id: str) -> str | None:
    """The tenant whose data the record's run reads; None if the record was deleted.

    A model is inspected once for all tenants that have uploaded its bytes. An inspection for
    several tenants, or for none, gets a name that no tenant has.
    """
    for record in stores.jobs.get_many([id]):
        if stores.jobs.kind == "job":
            return record.tenant
        tenants = stores.models.tenants_of(str(record.request.get("digest")))
        return tenants.pop() if len(tenants) == 1 else f"inspection:{id}"
    return None
