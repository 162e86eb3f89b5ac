"""Records of a newer version of Unitrank, which this worker cannot run.

While services and workers are updated one after the other, a worker may take a record that it does
not understand. The worker leaves such a record `queued`, and the reaper puts it into the queue
again some seconds later: a newer worker may take it then. After `PATIENCE` seconds without a newer
worker a job fails with `worker_too_old`. An inspection waits on: a rejected model would stay
rejected.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from unitrank_schemas.jobs.options import known_options
from unitrank_schemas.models import INSPECTION
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import FORMAT, JobRecord
from unitrank_store.observability.logs import bound
from unitrank_worker.problem import WORKER_TOO_OLD

log = structlog.get_logger()

PATIENCE = 600.0
"""Seconds for which a worker leaves a record to a newer worker."""


def is_newer(record: JobRecord) -> bool:
    """Whether only a worker of a newer version can run the record."""
    # Records of older services name neither; this version knows all that they can ask for.
    inspection, options = str(record.resolved.get("inspection", "")), record.resolved.get("options", ())
    is_newer_inspection = inspection.isdecimal() and int(inspection) > int(INSPECTION)
    return record.format > FORMAT or is_newer_inspection or not known_options().issuperset(options)


@dataclass
class NewerRecords:
    """The newer records that a worker has left. `clock`: returns seconds."""

    clock: Callable[[], float] = time.monotonic
    _left_at: dict[str, float] = field(default_factory=dict)

    def leave(self, record: JobRecord, jobs: JobStore, worker: str) -> None:
        """Leave a queued record to a newer worker, or fail a job after `PATIENCE` seconds."""
        unknown = sorted(set(record.resolved.get("options", ())) - known_options())
        log.warning("worker too old", format=record.format, known_format=FORMAT, unknown=unknown, **bound(jobs.kind, record))
        now = self.clock()
        if jobs.kind == "inspection" or now - self._left_at.setdefault(record.id, now) < PATIENCE:
            return
        del self._left_at[record.id]
        attempt = jobs.start(record.id, worker, record.attempt + 1)
        if attempt is not None:
            jobs.finish(record.id, attempt, "failed", problem=WORKER_TOO_OLD)
