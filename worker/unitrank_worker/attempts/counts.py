"""Counts a job that has succeeded: the speed of its device, and the durations of its rankings."""

import structlog
from redis.client import Pipeline

from unitrank_store.jobs.record import JobRecord
from unitrank_worker.attempts.stores import Stores
from unitrank_worker.process.channel import Message

log = structlog.get_logger()


def queue_counts(stores: Stores, record: JobRecord, outcome: Message, pipeline: Pipeline) -> None:
    """Queue the commands that count a job. `outcome`: the message with the job's result.

    A job that reused parts does not measure the speed: the device would look too fast.
    """
    summary = outcome.content["result"]
    try:
        if not summary.get("cost", {}).get("reused"):
            flops, seconds = float(record.resolved.get("flops", 0)), float(outcome.content["seconds"])
            stores.throughput.note(stores.device, flops, seconds, pipeline)
        stores.counters.ran(summary, pipeline)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The code of a model may control the child, which wrote the summary.
        log.warning("job not counted", error=repr(error))
