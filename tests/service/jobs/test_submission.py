"""A request becomes a job, queued or waiting for its model."""

import httpx

from tests.service.conftest import MANIFEST, Served, job, put_model
from tests.service.jobs.conftest import PROBLEM, post
from unitrank_schemas.jobs import Job
from unitrank_store.contents.waiting_jobs import model_ready, model_rejected
from unitrank_store.queue.rq_queue import depth


def test_post_of_a_right_job_is_accepted_and_queued(client: httpx.Client, served: Served) -> None:
    answer = client.post("/v1/jobs", json=job())

    assert answer.status_code == 202
    resource = Job.model_validate_json(answer.content)
    assert answer.headers["location"] == resource.links.self == f"/v1/jobs/{resource.id}"
    assert answer.headers["retry-after"] == "1"
    assert (resource.status, resource.attempt, resource.position) == ("queued", 0, 0)
    assert depth(served.backend.connection) == 1


def test_post_pins_contents_by_digest(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]

    resolved = served.backend.jobs.get(id).resolved
    assert resolved["model"] == {"name": "net", "digest": client.get("/v1/models/net").json()["digest"]}
    assert resolved["dataset"] == {"name": "data", "digest": client.get("/v1/datasets/data").json()["digest"]}


def test_post_on_a_model_under_inspection_waits_for_it(client: httpx.Client, served: Served) -> None:
    digest = put_model(client, "new", b"new archive")["digest"]
    resource = post(client, model="new")
    assert (resource["status"], resource["position"], depth(served.backend.connection)) == ("queued", None, 0)

    with served.backend.blobs.writer() as sink:
        sink.write(b"clean")
    served.backend.models.ready(digest, MANIFEST, sink.digest)
    model_ready(served.backend.connection, served.backend.jobs, digest)

    assert client.get(f"/v1/jobs/{resource['id']}").json()["position"] == 0


def test_post_on_a_model_that_is_then_rejected_fails(client: httpx.Client, served: Served) -> None:
    digest = put_model(client, "new", b"new archive")["digest"]
    resource = post(client, model="new")

    model_rejected(served.backend.jobs, digest, PROBLEM)

    after = client.get(f"/v1/jobs/{resource['id']}").json()
    assert (after["status"], after["problem"]["code"]) == ("failed", "internal")


def test_post_with_a_high_priority_goes_first(client: httpx.Client) -> None:
    first = post(client)
    second = post(client, priority="high")

    assert client.get(f"/v1/jobs/{second['id']}").json()["position"] == 0
    assert client.get(f"/v1/jobs/{first['id']}").json()["position"] == 1
