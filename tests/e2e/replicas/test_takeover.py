"""Work beside the requests: one of three services does it, and another one after `kill -9`."""

import json
import time
from collections import Counter

import httpx
import pytest
import redis

from tests.e2e.replicas.installation import Installation, expire, sent_by
from tests.service.conftest import job, npz
from tests.support.polling import wait_until
from tests.support.servers.remote_sources import Web
from tests.support.servers.webhook_receiver import WebhookReceiver
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.redis import keyspace
from unitrank_store.webhooks.deliveries import DeliveryRecord, DeliveryStore

pytestmark = pytest.mark.check

REQUEST = job(timeout=60, priority="normal", methods=[{"name": "gradient"}])


def ended_with_webhook(connection: redis.Redis, url: str) -> JobRecord:
    """A job that has succeeded, whose webhook is due."""
    jobs, deliveries = JobStore(connection), DeliveryStore(connection)
    id = jobs.create(REQUEST).id
    with connection.pipeline() as pipeline:
        deliveries.add(id, DeliveryRecord.of("", url), pipeline)
        pipeline.execute()
    jobs.finish(id, jobs.start(id, "w") or 0, "succeeded", result={})
    return jobs.get(id)


def states(connection: redis.Redis, records: list[JobRecord]) -> Counter[str]:
    return Counter(delivery.state for record in records for delivery in DeliveryStore(connection).of(record.id))


def test_webhooks_when_three_services_send_them_then_each_is_sent_once(
    services: Installation, connection: redis.Redis, receiver: WebhookReceiver
) -> None:
    records = [ended_with_webhook(connection, f"{receiver.url}/each") for _ in range(40)]
    wait_until(lambda: states(connection, records)["delivered"] == len(records), "all webhooks are delivered")
    posts = Counter(post.content["id"] for post in receiver.posts if post.path == "/each")

    assert posts == Counter({record.id: 1 for record in records})
    assert connection.zcard(keyspace.deliveries_under_way()) == 0


def test_webhook_when_its_service_is_killed_before_the_answer_then_another_one_sends_it(
    services: Installation, connection: redis.Redis, receiver: WebhookReceiver
) -> None:
    receiver.mute = True
    record = ended_with_webhook(connection, f"{receiver.url}/killed")
    try:
        sending = sent_by(services.services, int(receiver.url.rpartition(":")[2]))
        wait_until(lambda: [post for post in receiver.posts if post.path == "/killed"], "the first attempt arrives")
    finally:
        receiver.mute = False
    sending.kill()
    # The lease of the killed service ends now, and not after a minute.
    (member,) = connection.zrange(keyspace.deliveries_under_way(), 0, -1)
    connection.zadd(keyspace.due(""), {member: time.time()})
    connection.zadd(keyspace.deliveries_under_way(), {member: time.time()})
    wait_until(lambda: states(connection, [record])["delivered"], "another service delivers it")

    posts = [post for post in receiver.posts if post.path == "/killed"]
    assert [post.content["id"] for post in posts] == [record.id] * 2
    assert len({post.headers["webhook-id"] for post in posts}) == 1


def test_import_when_its_service_is_killed_then_another_one_ends_it(
    services: Installation, http: httpx.Client, connection: redis.Redis, site: Web
) -> None:
    site.pages["/slow.npz"] = npz(x=[[0.5, 1.0]] * 1000)
    site.slow.add("/slow.npz")
    http.put("/v1/datasets/slow", json={"uri": f"{site.url}/slow.npz"})
    reading = sent_by(services.services, int(site.url.rpartition(":")[2]))
    (key,) = (value.decode().partition(" ")[2] for value in connection.smembers(keyspace.imports()))
    reading.kill()
    site.slow.clear()
    site.go.set()
    services.remove(reading)
    expire(connection, keyspace.import_lock(key))
    resource = wait_until(
        lambda: (body := http.get("/v1/datasets/slow").json())["status"] != "importing" and body, "another service ends the import"
    )

    assert (resource["status"], resource["examples"]) == ("ready", 1000)
    assert site.requests.count("/slow.npz") == 2
    assert not connection.exists(keyspace.import_attempts(key))


def test_reaper_when_three_services_run_then_one_sweeps_and_another_takes_over(
    services: Installation, connection: redis.Redis
) -> None:
    jobs = JobStore(connection)

    def lost() -> str:
        """A job whose worker does not exist; it is repaired by a sweep."""
        id = jobs.create(REQUEST).id
        jobs.start(id, "nobody")
        return id

    def repaired(id: str) -> bool:
        return jobs.get(id).status == "queued"

    def holder() -> bytes | None:
        return connection.get(keyspace.reaper_lock())

    first = lost()
    wait_until(lambda: repaired(first), "a sweep queues the job again")
    # Only one of the services is left. If it did not sweep before, it takes the lock now.
    *others, survivor = services.services
    for service in others:
        service.kill()
    second = lost()
    wait_until(lambda: repaired(second), "the service that is left sweeps")
    token = holder()
    successor = services.start_service()
    services.await_ready(successor)
    survivor.kill()
    third = lost()
    wait_until(lambda: repaired(third), "the next service sweeps")

    assert holder() != token
    # Each job was given up once, although three services look for lost jobs.
    for id in (first, second, third):
        record = jobs.get(id)
        entries = connection.xrange(keyspace.events("job", id))
        statuses = [json.loads(fields[b"data"])["status"] for _, fields in entries]
        assert (record.losses, statuses) == (1, ["queued", "running", "queued"])
        jobs.cancel(id)
