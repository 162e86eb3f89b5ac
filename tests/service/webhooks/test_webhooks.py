"""Webhooks over HTTP: the end of a job is posted, with a signature, once for each request."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tests.service.conftest import assert_problem, job, put_dataset, put_model
from tests.service.webhooks.conftest import TRUSTED, Desk, Serve, deliveries, end, furnished, post
from tests.service.webhooks.network import Resolver
from tests.support.polling import wait_until
from tests.support.servers.webhook_receiver import WebhookReceiver
from unitrank_store.contents.waiting_jobs import model_rejected
from unitrank_store.redis import keyspace

REJECTED = {"code": "bad", "title": "Bad", "detail": "bad", "status": 422, "retryable": False}


ENDS = ["succeeded", *(pytest.param(status, marks=pytest.mark.check) for status in ("failed", "timed_out", "cancelled"))]


@pytest.mark.parametrize("status", ENDS)
def test_job_when_it_has_ended_then_is_announced_signed(serve: Serve, receiver: WebhookReceiver, status: str) -> None:
    client, served = furnished(serve)
    id = post(client, f"{receiver.url}/hook?token=abc").json()["id"]
    assert [(each["state"], each["attempts"]) for each in deliveries(client, id)] == [("pending", [])]
    if status == "cancelled":
        client.post(f"/v1/jobs/{id}/cancel")
    else:
        end(served, id, status)

    wait_until(lambda: deliveries(client, id)[0]["state"] == "delivered")
    (received,) = receiver.posts
    (delivery,) = deliveries(client, id)
    assert received.path == "/hook?token=abc"
    assert received.content == {"id": id, "status": status}
    assert Webhook(served.backend.keys.webhook_secret("")).verify(received.body, received.headers) == received.content
    assert (received.headers["webhook-id"], received.headers["content-type"]) == (delivery["id"], "application/json")
    assert [(each["status"], each["error"]) for each in delivery["attempts"]] == [(204, None)]
    assert (delivery["url"], delivery["next_at"]) == (f"{receiver.url}/hook?token=abc", None)


def test_job_when_its_model_is_rejected_then_is_announced(serve: Serve, receiver: WebhookReceiver) -> None:
    client, served = serve(webhook_hosts=TRUSTED)
    model = put_model(client)
    put_dataset(client)
    id = post(client, receiver.url).json()["id"]
    model_rejected(served.backend.jobs, model["digest"], REJECTED)

    wait_until(lambda: receiver.posts)
    assert receiver.posts[0].content == {"id": id, "status": "failed"}


def test_requests_when_answered_with_an_equal_job_then_each_has_its_own_delivery(serve: Serve, receiver: WebhookReceiver) -> None:
    client, served = furnished(serve)
    first = post(client, f"{receiver.url}/1").json()["id"]
    second = post(client, f"{receiver.url}/2").json()["id"]
    end(served, first)
    wait_until(lambda: len(receiver.posts) == 2)
    again = post(client, f"{receiver.url}/3")

    wait_until(lambda: len(receiver.posts) == 3)
    assert {first, second, again.json()["id"]} == {first}
    assert again.status_code == 200
    assert sorted(received.path for received in receiver.posts) == ["/1", "/2", "/3"]
    assert len({received.headers["webhook-id"] for received in receiver.posts}) == 3
    assert [each["url"][-1] for each in deliveries(client, first)] == ["1", "2", "3"]


def test_request_when_sent_again_under_its_key_then_is_announced_once(serve: Serve, receiver: WebhookReceiver) -> None:
    client, served = furnished(serve)
    ids = {post(client, receiver.url, headers={"Idempotency-Key": "k"}).json()["id"] for _ in range(2)}
    (id,) = ids
    end(served, id)
    wait_until(lambda: deliveries(client, id)[0]["state"] == "delivered")
    post(client, receiver.url, headers={"Idempotency-Key": "k"})
    for _ in range(2):
        post(client, receiver.url, headers={"Idempotency-Key": "another"})

    wait_until(lambda: [each["state"] for each in deliveries(client, id)] == ["delivered"] * 2)
    assert len(receiver.posts) == 2


def test_request_when_it_is_a_dry_run_then_nothing_is_announced(serve: Serve, receiver: WebhookReceiver) -> None:
    client, served = furnished(serve)
    end(served, client.post("/v1/jobs", json=job()).json()["id"])

    assert client.post("/v1/jobs?dry_run=true", json=job(webhook={"url": receiver.url})).status_code == 200
    assert not served.backend.connection.keys(f"{keyspace.PREFIX}:webhooks:*")


def test_request_when_the_equal_job_has_too_many_webhooks_then_is_429(
    serve: Serve, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unitrank_service.jobs.submission.MOST_DELIVERIES", 2)
    client, _ = furnished(serve)
    for _ in range(2):
        post(client, receiver.url)

    answer = client.post("/v1/jobs", json=job(webhook={"url": receiver.url}))
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


def test_post_when_the_webhooks_name_has_a_private_address_then_is_422(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client, served = furnished(serve)
    monkeypatch.setattr(served.backend.url_policy, "_resolve_briefly", Resolver(hook_example=[["10.0.0.5"]]))

    answer = client.post("/v1/jobs", json=job(webhook={"url": "https://hook.example/"}))
    assert_problem(answer, 422, "webhook_not_allowed", "/webhook/url")


def test_deliveries_when_another_tenant_asks_then_are_404(serve: Serve, receiver: WebhookReceiver) -> None:
    client, served = furnished(serve)
    id = post(client, receiver.url).json()["id"]
    keys = served.backend.keys
    secrets = {tenant: keys.create(tenant, ["read"], tenant)[1] for tenant in ("default", "other")}
    secrets["write"] = keys.create("write", ["write"])[1]
    statuses = {
        name: client.get(f"/v1/jobs/{id}/deliveries", headers={"Authorization": f"Bearer {secret}"}).status_code
        for name, secret in secrets.items()
    }

    assert statuses == {"default": 200, "other": 404, "write": 403}
    assert client.get(f"/v1/jobs/{id}/deliveries").status_code == 401


@pytest.mark.check
def test_deliveries_when_two_keys_want_them_then_each_is_signed_with_its_own_secret(
    serve: Serve, receiver: WebhookReceiver
) -> None:
    client, served = furnished(serve)
    new_keys = [served.backend.keys.create(name, ["write", "read"]) for name in ("a", "b")]
    for key, secret in new_keys:
        id = post(client, f"{receiver.url}/{key.name}", headers={"Authorization": f"Bearer {secret}"}).json()["id"]
    end(served, id)

    wait_until(lambda: len(receiver.posts) == 2)
    for received in receiver.posts:
        (key,) = (key for key, _ in new_keys if received.path == f"/{key.name}")
        assert Webhook(served.backend.keys.webhook_secret(key.id)).verify(received.body, received.headers)["id"] == id


@pytest.mark.check
def test_service_when_killed_between_end_and_delivery_then_delivers_once_after_its_restart(
    redis_url: str, tmp_path: Path, receiver: WebhookReceiver
) -> None:
    desk = Desk(redis_url, tmp_path)
    before, after = (desk.add_job(f"{receiver.url}/{name}") for name in ("before", "after"))
    with service(redis_url, tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        desk.end(before)
        process.kill()
        process.wait()
    desk.end(after, "cancelled")
    assert receiver.posts == []

    with service(redis_url, tmp_path) as process:
        wait_until(lambda: desk.only(before).state == desk.only(after).state == "delivered")
        process.terminate()
        process.wait()
    assert sorted((received.path, received.content["status"]) for received in receiver.posts) == [
        ("/after", "cancelled"),
        ("/before", "succeeded"),
    ]


@contextmanager
def service(redis_url: str, state: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A service in a separate process."""
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
