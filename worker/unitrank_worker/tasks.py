"""The attempt for each kind of record that a queue holds."""

from collections.abc import Callable

import structlog

from unitrank_store.access.api_keys import KeyStore
from unitrank_store.jobs.record import JobRecord
from unitrank_worker.attempts.attempt import Attempt
from unitrank_worker.attempts.inspection_attempt import InspectionAttempt
from unitrank_worker.attempts.job_attempt import JobAttempt
from unitrank_worker.attempts.stores import Stores
from unitrank_worker.newer_records import is_newer

log = structlog.get_logger()

ATTEMPTS: dict[str, Callable[[Stores, JobRecord], Attempt]] = {"job": JobAttempt, "inspection": InspectionAttempt}


def start(stores: Stores, id: str, *, worker: str, number: int | None) -> Attempt | None:
    """Start an attempt at the record, and return the attempt.

    Returns None if the record must not run: it has ended, or another worker has started it.
    `number`: number of the attempt that was put into the queue.
    """
    kind = stores.jobs.kind
    record = stores.jobs.begin(id, worker, number)
    if record is None:
        log.info("attempt not started", kind=kind, job=id)
        return None
    return ATTEMPTS[kind](stores, record)


def tenant_of(stores: Stores, id: str, worker: str, record: JobRecord | None = None) -> str | None:
    """The tenant whose child runs the record.

    None if the record was deleted, or if only a newer worker can run it.
    `record`: the record, if it was just read. None, or a record with another id, reads it again.

    A model is inspected once for all tenants, and jobs run its cleaned archive without a further
    check. A child that one tenant's model has taken over must not write the archive of another
    tenant's model. So each inspection has a child of its own if there are keys of several tenants.
    """
    if record is None or record.id != id:
        record = next(iter(stores.jobs.get_many([id])), None)
    if record is None:
        return None
    if is_newer(record):
        stores.newer_records.leave(record, stores.jobs, worker)
        return None
    is_shared = stores.jobs.kind == "inspection" and len(KeyStore(stores.connection).tenants()) > 1
    return f"inspection:{id}" if is_shared else record.tenant
