"""The number of round trips to the store that a trivial job takes in the worker's parent."""

from pathlib import Path

import numpy as np
import redis
from rq.serializers import JSONSerializer

from tests.support.round_trips import recorded_round_trips
from tests.worker.test_tasks import REQUEST, at_once, contents, result, stores_of
from unitrank_store.queue.rq_queue import enqueue_job, queue_of
from unitrank_store.queue.safe_job import SafeJob
from unitrank_store.worker_registry import WorkerRegistry
from unitrank_worker.attempts.stores import Stores
from unitrank_worker.process.job_choice import JobChoice
from unitrank_worker.tasks import start, tenant_of


def run_job(stores: Stores) -> None:
    """Take the job from the queue and run it as a worker does, without the steps of RQ."""
    queue = queue_of(stores.connection, "job")
    queue.chooser = JobChoice(queue, stores, WorkerRegistry(stores.connection), has_warm=lambda tenant, model: True)
    taken = queue.dequeue_any([queue], None, stores.connection, job_class=SafeJob, serializer=JSONSerializer)
    assert taken is not None
    job, _ = taken
    assert isinstance(job, SafeJob)
    assert tenant_of(stores, job.record_id, "w", job.record) == "default"
    attempt = start(stores, job.record_id, worker="w", number=job.attempt)
    assert attempt is not None
    attempt.order(warm=()).close()
    outcome = result(x=np.ones(2, np.float32))
    outcome.content["result"]["rankings"] = [{"id": "g", "method": {"name": "gradient"}, "seconds": 0.5}]
    attempt.take(outcome)
    attempt.finish("succeeded", None, at_once)


def test_job_when_it_is_trivial_and_its_model_is_warm_then_takes_eight_round_trips(connection: redis.Redis, tmp_path: Path) -> None:
    stores = stores_of(connection, tmp_path, "job")
    resolved = contents(stores) | {"flops": 10.0}
    # As if an earlier job had read the record of the dataset, of which this test has only the blob.
    stores.copied[resolved["dataset"]["digest"]] = False
    for _ in range(2):
        enqueue_job(connection, stores.jobs.create(REQUEST, resolved))
    # The first job reads the model, and sends the scripts.
    run_job(stores)
    with recorded_round_trips() as packets:
        run_job(stores)

    # Jobs left for larger workers, the next id, its turn, its entry and record; the start; the
    # result, the end, and the counts.
    assert len(packets) <= 8, packets
