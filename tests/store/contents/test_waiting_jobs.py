"""Jobs that wait for a model."""

import redis

from unitrank_store.contents.waiting_jobs import model_key, model_ready, model_rejected
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.queue.rq_queue import depth


def test_jobs_when_their_model_is_ready_then_are_in_the_queue(connection: redis.Redis) -> None:
    jobs = JobStore(connection)
    for _ in range(2):
        jobs.create({}, waiting_for=[model_key("sha256:ab")])
    jobs.create({}, waiting_for=[model_key("sha256:cd")])
    model_ready(connection, jobs, "sha256:ab")

    assert depth(connection) == 2


def test_jobs_when_their_model_is_rejected_then_fail_with_the_problem_of_the_model(connection: redis.Redis) -> None:
    jobs = JobStore(connection)
    id = jobs.create({}, waiting_for=[model_key("sha256:ab")]).id
    model_rejected(jobs, "sha256:ab", {"code": "bad_archive"})

    assert (jobs.get(id).status, jobs.get(id).problem) == ("failed", {"code": "bad_archive"})
