"""Jobs name what their worker must know; data of a newer version are refused with the reason."""

import json

import httpx

from tests.service.conftest import Served, assert_problem, job, put_dataset, put_model
from tests.service.jobs.conftest import post
from unitrank_schemas.base import Json
from unitrank_schemas.jobs.options import LAYERS, SHARDS, known_options
from unitrank_store.redis import keyspace


def options(served: Served, id: str) -> list[str]:
    names: list[str] = served.backend.jobs.get(id).resolved["options"]
    return names


def rewrite(served: Served, **fields: object) -> None:
    """Change the stored content of the dataset `data`."""
    connection = served.backend.connection
    key = keyspace.content("dataset", served.backend.datasets.get("data").digest)
    content: Json = json.loads(connection.get(key) or "{}")
    connection.set(key, json.dumps(content | fields))


def test_job_when_posted_then_names_its_chosen_options_only(client: httpx.Client, served: Served) -> None:
    id = post(client, seed=3, methods=[{"name": "conductance", "steps": 7}])["id"]
    names = options(served, id)

    assert {"seed", "methods.name=conductance", "methods.steps"} <= set(names)
    # The service chose the field of the input, not the client.
    assert "inputs" not in names
    assert known_options().issuperset(names)


def test_job_when_its_dataset_is_shards_then_names_their_form(client: httpx.Client, served: Served) -> None:
    assert SHARDS not in options(served, post(client, seed=4)["id"])
    rewrite(served, format="shards")

    assert SHARDS in options(served, client.post("/v1/jobs", json=job(seed=5)).json()["id"])


def test_job_when_its_dataset_may_become_shards_then_names_their_form(client: httpx.Client, served: Served) -> None:
    post(client, seed=6)
    rewrite(served, status="importing", format=None, fields=None, examples=None, uri="s3://bucket/part-*.npz")
    glob = client.post("/v1/jobs", json=job(seed=7)).json()
    rewrite(served, status="importing", uri="s3://bucket/all.npz")
    one = client.post("/v1/jobs", json=job(seed=8)).json()

    assert SHARDS in options(served, glob["id"])
    assert SHARDS not in options(served, one["id"])


def test_job_when_its_dataset_has_a_format_of_a_newer_version_then_is_refused(client: httpx.Client, served: Served) -> None:
    post(client, seed=9)
    rewrite(served, format="hologram")
    answer = client.post("/v1/jobs", json=job(seed=10))

    assert_problem(answer, 503, "service_too_old")
    assert "'hologram'" in answer.json()["detail"]


def test_job_when_it_has_several_layers_then_names_the_list(client: httpx.Client, served: Served) -> None:
    one = post(client, seed=11)["id"]
    listed = post(client, layer=["conv1", "fc"], joint=True, seed=12)["id"]

    assert LAYERS not in options(served, one)
    assert {LAYERS, "joint"} <= set(options(served, listed)) <= known_options()


def test_job_when_a_pattern_waits_for_its_model_then_names_the_list(client: httpx.Client, served: Served) -> None:
    put_dataset(client)
    put_model(client)

    assert LAYERS in options(served, client.post("/v1/jobs", json=job(layer="conv*")).json()["id"])
