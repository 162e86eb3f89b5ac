"""Webhooks over HTTP on a real store, to a listener on loopback that the operator trusts."""

import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from standardwebhooks import Webhook

from tests.service.conftest import Json, Served, assert_problem, job, put_dataset, put_model, ready_model, wait_for
from tests.support.webhook_receiver import Ear, ear
from unitrank_service.backend import Backend
from unitrank_store.contents.waiting_jobs import model_rejected
from unitrank_store.redis import keyspace
from unitrank_store.settings import Settings
from unitrank_store.webhooks.deliveries import LEASE_SECONDS, Attempt, DeliveryRecord

Serve = Callable[..., tuple[httpx.Client, Served]]
TRUSTED = ("127.0.0.0/8",)
REJECTED = {"code": "bad", "title": "Bad", "detail": "bad", "status": 422, "retryable": False}


@pytest.fixture
def redis_url(own_redis_url: str) -> str:
    """The dispatcher of the session's service would deliver too, and trusts nobody."""
    return own_redis_url


@pytest.fixture
def listener() -> Iterator[Ear]:
    with ear() as listener:
        yield listener


class Desk:
    """A backend whose dispatcher delivers when it is told to, at a time of the test's own."""

    def __init__(self, redis_url: str, state: Path, **settings: Any) -> None:
        self.backend = Backend.of(Settings(redis_url=redis_url, state=state, webhook_hosts=TRUSTED, **settings))
        self.jobs, self.dispatcher = self.backend.jobs, self.backend.dispatcher
        self.time = datetime.now(UTC).timestamp()
        self.dispatcher.now = lambda: self.time
        self.dispatcher.jitter = lambda: 1.0

    def wanted(self, url: str, owner: str = "") -> str:
        """A job whose end is to be told."""
        delivery = DeliveryRecord.of(owner, url)
        id = f"{len(self.jobs.list()[0]):026}"
        self.jobs.create(
            {"webhook": {"url": url}}, id=id, also=lambda pipeline: self.backend.deliveries.add(id, delivery, pipeline)
        )
        return id

    def end(self, id: str, status: Any = "succeeded") -> None:
        assert self.jobs.finish(id, self.jobs.start(id, "cpu-0") or 0, status)

    def only(self, id: str) -> DeliveryRecord:
        (found,) = self.backend.deliveries.of(id)
        return found


@pytest.fixture
def desk(redis_url: str, tmp_path: Path) -> Desk:
    return Desk(redis_url, tmp_path)


def deliveries(client: httpx.Client, id: str) -> list[Json]:
    answer = client.get(f"/v1/jobs/{id}/deliveries")
    assert answer.status_code == 200, answer.text
    assert answer.json()["next"] is None
    found: list[Json] = answer.json()["items"]
    return found


def end(served: Served, id: str, status: Any = "succeeded") -> None:
    attempt = served.backend.jobs.start(id, "cpu-0")
    assert attempt
    assert served.backend.jobs.finish(id, attempt, status)


def furnished(serve: Serve, **settings: Any) -> tuple[httpx.Client, Served]:
    client, served = serve(webhook_hosts=TRUSTED, **settings)
    ready_model(client, served)
    put_dataset(client)
    return client, served


def post(client: httpx.Client, url: str, **more: Any) -> httpx.Response:
    headers = more.pop("headers", None)
    answer = client.post("/v1/jobs", json=job(webhook={"url": url}, **more), headers=headers)
    assert answer.status_code in (200, 202), answer.text
    return answer


@pytest.mark.parametrize("status", ["succeeded", "failed", "timed_out", "cancelled"])
def test_job_when_it_has_ended_then_is_announced_signed(serve: Serve, listener: Ear, status: str) -> None:
    client, served = furnished(serve)
    id = post(client, f"{listener.url}/hook?token=abc").json()["id"]
    assert [(each["state"], each["attempts"]) for each in deliveries(client, id)] == [("pending", [])]
    if status == "cancelled":
        client.post(f"/v1/jobs/{id}/cancel")
    else:
        end(served, id, status)

    wait_for(lambda: deliveries(client, id)[0]["state"] == "delivered")
    (heard,) = listener.heard
    (found,) = deliveries(client, id)
    assert heard.path == "/hook?token=abc"
    assert heard.said == {"id": id, "status": status}
    assert Webhook(served.backend.keys.webhook_secret("")).verify(heard.body, heard.headers) == heard.said
    assert (heard.headers["webhook-id"], heard.headers["content-type"]) == (found["id"], "application/json")
    assert [(each["status"], each["error"]) for each in found["attempts"]] == [(204, None)]
    assert (found["url"], found["next_at"]) == (f"{listener.url}/hook?token=abc", None)


def test_job_when_its_model_is_rejected_then_is_announced(serve: Serve, listener: Ear) -> None:
    client, served = serve(webhook_hosts=TRUSTED)
    model = put_model(client)
    put_dataset(client)
    id = post(client, listener.url).json()["id"]
    model_rejected(served.backend.jobs, model["digest"], REJECTED)

    wait_for(lambda: listener.heard)
    assert listener.heard[0].said == {"id": id, "status": "failed"}


def test_requests_when_answered_with_an_equal_job_then_each_has_its_own_delivery(serve: Serve, listener: Ear) -> None:
    client, served = furnished(serve)
    first = post(client, f"{listener.url}/1").json()["id"]
    second = post(client, f"{listener.url}/2").json()["id"]
    end(served, first)
    wait_for(lambda: len(listener.heard) == 2)
    again = post(client, f"{listener.url}/3")

    wait_for(lambda: len(listener.heard) == 3)
    assert {first, second, again.json()["id"]} == {first}
    assert again.status_code == 200
    assert sorted(heard.path for heard in listener.heard) == ["/1", "/2", "/3"]
    assert len({heard.headers["webhook-id"] for heard in listener.heard}) == 3
    assert [each["url"][-1] for each in deliveries(client, first)] == ["1", "2", "3"]


def test_request_when_sent_again_under_its_key_then_is_announced_once(serve: Serve, listener: Ear) -> None:
    client, served = furnished(serve)
    ids = {post(client, listener.url, headers={"Idempotency-Key": "k"}).json()["id"] for _ in range(2)}
    (id,) = ids
    end(served, id)
    wait_for(lambda: deliveries(client, id)[0]["state"] == "delivered")
    post(client, listener.url, headers={"Idempotency-Key": "k"})
    for _ in range(2):
        post(client, listener.url, headers={"Idempotency-Key": "another"})

    wait_for(lambda: [each["state"] for each in deliveries(client, id)] == ["delivered"] * 2)
    assert len(listener.heard) == 2


def test_request_when_it_is_a_dry_run_then_nothing_is_announced(serve: Serve, listener: Ear) -> None:
    client, served = furnished(serve)
    end(served, client.post("/v1/jobs", json=job()).json()["id"])

    assert client.post("/v1/jobs?dry_run=true", json=job(webhook={"url": listener.url})).status_code == 200
    assert not served.backend.connection.keys(f"{keyspace.PREFIX}:webhooks:*")


def test_request_when_the_equal_job_has_too_many_webhooks_then_is_429(
    serve: Serve, listener: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unitrank_service.jobs.submission.MOST_DELIVERIES", 2)
    client, _ = furnished(serve)
    for _ in range(2):
        post(client, listener.url)

    answer = client.post("/v1/jobs", json=job(webhook={"url": listener.url}))
    assert_problem(answer, 429, "webhook_limit")
    assert "retry-after" in answer.headers


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://169.254.169.254/latest/meta-data", "webhook_not_allowed"),
        ("https://[::1]/", "webhook_not_allowed"),
        ("http://example.org/?token=abc", "webhook_not_allowed"),
        ("https://user:word@example.org/", "webhook_malformed"),
        ("https://0x7f000001/", "webhook_malformed"),
    ],
)
def test_post_when_the_webhook_may_not_be_sent_then_is_422(serve: Serve, url: str, code: str) -> None:
    client, _ = furnished(serve)

    problem = assert_problem(client.post("/v1/jobs", json=job(webhook={"url": url})), 422, code, "/webhook/url")
    assert url not in problem["detail"]
    assert client.get("/v1/jobs").json()["items"] == []


def test_deliveries_when_another_tenant_asks_then_are_404(serve: Serve, listener: Ear) -> None:
    client, served = furnished(serve)
    id = post(client, listener.url).json()["id"]
    keys = served.backend.keys
    secrets = {tenant: keys.create(tenant, ["read"], tenant)[1] for tenant in ("default", "other")}
    secrets["write"] = keys.create("write", ["write"])[1]
    statuses = {
        name: client.get(f"/v1/jobs/{id}/deliveries", headers={"Authorization": f"Bearer {secret}"}).status_code
        for name, secret in secrets.items()
    }

    assert statuses == {"default": 200, "other": 404, "write": 403}
    assert client.get(f"/v1/jobs/{id}/deliveries").status_code == 401


def test_deliveries_when_two_keys_want_them_then_each_is_signed_with_its_own_secret(serve: Serve, listener: Ear) -> None:
    client, served = furnished(serve)
    made = [served.backend.keys.create(name, ["write", "read"]) for name in ("a", "b")]
    for key, secret in made:
        id = post(client, f"{listener.url}/{key.name}", headers={"Authorization": f"Bearer {secret}"}).json()["id"]
    end(served, id)

    wait_for(lambda: len(listener.heard) == 2)
    for heard in listener.heard:
        (key,) = (key for key, _ in made if heard.path == f"/{key.name}")
        assert Webhook(served.backend.keys.webhook_secret(key.id)).verify(heard.body, heard.headers)["id"] == id


def test_job_when_deleted_then_nothing_is_delivered_any_more(desk: Desk, listener: Ear) -> None:
    id = desk.wanted(listener.url)
    desk.end(id, "failed")
    desk.jobs.delete(id)

    assert desk.dispatcher.deliver_next()
    assert not desk.dispatcher.deliver_next()
    assert listener.heard == []
    assert not desk.backend.connection.keys(f"{keyspace.PREFIX}:*{id}*")
    assert desk.backend.connection.zcard(keyspace.due("")) == 0


def test_delivery_when_it_fails_then_is_tried_again_later_each_time_under_its_id(desk: Desk, listener: Ear) -> None:
    listener.answers = [500, 302, 429]
    id = desk.wanted(listener.url)
    assert not desk.dispatcher.deliver_next()
    desk.end(id)
    waited = []
    for _ in range(3):
        assert desk.dispatcher.deliver_next()
        again = desk.only(id).next_at
        assert again is not None
        waited.append(round(again - desk.time, 3))
        desk.time = again - 0.01
        assert not desk.dispatcher.deliver_next()
        desk.time = again
    assert desk.dispatcher.deliver_next()

    found = desk.only(id)
    assert waited == [5, 20, 80]
    assert (found.state, [attempt.status for attempt in found.attempts]) == ("delivered", [500, 302, 429, 204])
    assert {heard.path for heard in listener.heard} == {"/"}
    assert {heard.headers["webhook-id"] for heard in listener.heard} == {found.id}
    secret = Webhook(desk.backend.keys.webhook_secret(""))
    for heard, attempt in zip(listener.heard, found.attempts, strict=True):
        at = datetime.fromtimestamp(attempt.at, UTC)
        assert heard.headers["webhook-timestamp"] == str(int(attempt.at))
        assert heard.headers["webhook-signature"] == secret.sign(found.id, at, heard.body.decode())
    assert not desk.dispatcher.deliver_next()


def test_delivery_when_it_fails_then_waits_by_chance_between_half_and_all_of_the_delay(desk: Desk, listener: Ear) -> None:
    listener.answers = [500] * 2
    desk.dispatcher.jitter = lambda: 0.0
    id = desk.wanted(listener.url)
    desk.end(id)
    desk.dispatcher.deliver_next()

    assert desk.only(id).next_at == pytest.approx(desk.time + 2.5)


def test_delivery_when_it_fails_too_often_then_has_failed(redis_url: str, tmp_path: Path, listener: Ear) -> None:
    desk = Desk(redis_url, tmp_path, webhook_attempts=12)
    listener.answers = [500] * 12
    id = desk.wanted(listener.url)
    desk.end(id, "failed")
    longest = 0.0
    for _ in range(12):
        assert desk.dispatcher.deliver_next()
        again = desk.only(id).next_at or desk.time
        longest = max(longest, again - desk.time)
        desk.time = again

    assert (desk.only(id).state, len(desk.only(id).attempts), longest) == ("failed", 12, 12 * 3600)
    desk.time += 10**6
    assert not desk.dispatcher.deliver_next()


def test_delivery_when_the_listener_wants_no_more_then_has_failed(desk: Desk, listener: Ear) -> None:
    listener.answers = [410]
    id = desk.wanted(listener.url)
    desk.end(id)
    desk.dispatcher.deliver_next()

    assert (desk.only(id).state, desk.only(id).next_at) == ("failed", None)


def test_delivery_when_nobody_listens_then_says_why(redis_url: str, tmp_path: Path, listener: Ear) -> None:
    desk = Desk(redis_url, tmp_path, webhook_timeout=0.3)
    listener.mute = True
    ids = [desk.wanted(url) for url in (listener.url, "http://127.0.0.1:1/", "https://10.0.0.1/", "http://gone.example/")]
    for id in ids:
        desk.end(id)
    while desk.dispatcher.deliver_next():
        pass

    errors = [desk.only(id).attempts[0].error or "" for id in ids]
    assert errors[0] == "there was no answer in time"
    assert errors[1].startswith("ConnectError")
    assert all("nothing is posted" in error for error in errors[2:])
    assert all(desk.only(id).state == "pending" for id in ids)


def test_delivery_when_its_key_was_revoked_then_is_not_sent(desk: Desk, listener: Ear) -> None:
    key, _ = desk.backend.keys.create("a", ["write"])
    id = desk.wanted(listener.url, key.id)
    desk.end(id)
    desk.backend.keys.revoke(key.id)
    desk.dispatcher.deliver_next()

    assert "revoked" in (desk.only(id).attempts[0].error or "")
    assert listener.heard == []


def test_delivery_when_something_breaks_then_it_counts_as_an_attempt(
    desk: Desk, listener: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk.dispatcher.poster, "post", lambda *arguments: 1 / 0)
    id = desk.wanted(listener.url)
    desk.end(id)
    desk.dispatcher.deliver_next()

    assert desk.only(id).attempts[0].error == "the service failed; its log has the reason"


def test_delivery_when_logged_then_only_the_host_is_told(desk: Desk, listener: Ear) -> None:
    id = desk.wanted(f"{listener.url}/path-secret?token=query-secret")
    desk.end(id)
    with structlog.testing.capture_logs() as lines:
        desk.dispatcher.deliver_next()

    (line,) = (line for line in lines if line["event"] == "webhook")
    assert (line["job"], line["host"], line["status"]) == (id, "127.0.0.1", 204)
    assert not re.search("secret", str(lines))


def test_delivery_when_its_service_was_lost_then_another_takes_it_after_a_while(desk: Desk, listener: Ear) -> None:
    id = desk.wanted(listener.url)
    desk.end(id)
    lost = desk.backend.deliveries.take(desk.time)
    assert lost is not None
    assert not desk.dispatcher.deliver_next()
    desk.time += LEASE_SECONDS

    assert desk.dispatcher.deliver_next()
    assert desk.only(id).state == "delivered"
    late = DeliveryRecord("", "", "").tried(Attempt(0, 500, None, 0), "pending", desk.time)
    assert not desk.backend.deliveries.settle(lost, late)
    assert desk.only(id).state == "delivered"
    assert len(listener.heard) == 1


def test_deliveries_when_one_owner_has_many_then_others_have_their_turn(desk: Desk, listener: Ear) -> None:
    for _ in range(5):
        desk.end(desk.wanted(f"{listener.url}/many", "a"))
    last = desk.wanted(listener.url, "b")
    desk.end(last)
    taken = []
    while (due := desk.backend.deliveries.take(desk.time)) is not None:
        taken.append(due)

    assert [due.member[0] for due in taken] == ["a", "b", "a"]
    desk.backend.deliveries.settle(taken[0], None)
    assert (desk.backend.deliveries.take(desk.time) or taken[1]).member[0] == "a"


def test_delivery_when_the_store_is_full_then_is_made_all_the_same(desk: Desk, listener: Ear) -> None:
    desk.backend.keys.webhook_secret("")
    id = desk.wanted(listener.url)
    attempt = desk.jobs.start(id, "cpu-0") or 0
    desk.backend.connection.config_set("maxmemory", 1)
    try:
        assert desk.jobs.finish(id, attempt, "succeeded")
        assert desk.dispatcher.deliver_next()
    finally:
        desk.backend.connection.config_set("maxmemory", 0)

    assert desk.only(id).state == "delivered"


def test_service_when_killed_between_end_and_delivery_then_delivers_once_after_its_restart(
    redis_url: str, tmp_path: Path, listener: Ear
) -> None:
    desk = Desk(redis_url, tmp_path)
    before, after = (desk.wanted(f"{listener.url}/{name}") for name in ("before", "after"))
    with service(redis_url, tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        desk.end(before)
        process.kill()
        process.wait()
    desk.end(after, "cancelled")
    assert listener.heard == []

    with service(redis_url, tmp_path) as process:
        wait_for(lambda: desk.only(before).state == desk.only(after).state == "delivered")
        process.terminate()
        process.wait()
    assert sorted((heard.path, heard.said["status"]) for heard in listener.heard) == [
        ("/after", "cancelled"),
        ("/before", "succeeded"),
    ]


@contextmanager
def service(redis_url: str, state: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A service in a process of its own."""
    environment = os.environ | {"UNITRANK_WEBHOOK_HOSTS": "127.0.0.1"}
    words = [sys.executable, "-m", "unitrank_service", "--port", "0", "--redis-url", redis_url, "--state", str(state)]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            while (line := process.stderr.readline()) and b"startup complete" not in line:
                pass
            assert line, "the service ended"
            yield process
        finally:
            process.kill()


def test_dispatcher_when_it_draws_its_delay_then_leaves_the_shared_generator_alone(redis_url: str, tmp_path: Path) -> None:
    dispatcher = Backend.of(Settings(redis_url=redis_url, state=tmp_path)).dispatcher
    before = random.getstate()
    delays = [dispatcher.jitter() for _ in range(3)]

    # Property tests of other files failed when this thread drew from it between their own draws.
    assert random.getstate() == before
    assert len(set(delays)) == 3
