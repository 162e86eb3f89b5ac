"""A model that will not do: rejected, and so is what waited for it."""

import logging

from store.arrivals import model_rejected
from store.errors import NotFound
from store.jobs import Jobs
from store.models import Models
from store.record import Json

log = logging.getLogger("unitrank.worker")


def reject(jobs: Jobs, models: Models, digest: str, problem: Json) -> None:
    """Reject the model, unless it was deleted meanwhile, and fail the jobs that waited for it."""
    try:
        models.reject(digest, problem)
    except NotFound:
        log.info("event=model_gone digest=%s", digest)
    model_rejected(jobs, digest, problem)
