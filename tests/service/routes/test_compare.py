"""`GET /v1/compare`: jobs with and without results, of one tenant."""

import json

import httpx
import pytest

from tests.service.conftest import BROWSER, Served, assert_problem, job
from tests.service.results import layered
from tests.service.results.conftest import succeeded
from unitrank_store.redis import keyspace


def test_compare_when_jobs_have_results_then_gives_differences_agreement_and_reasons(client: httpx.Client, served: Served) -> None:
    first = succeeded(client, served)
    second = succeeded(client, served, seed=1, metadata={"name": "again"})
    answer = client.get("/v1/compare", params={"job": [first, second]})

    assert answer.status_code == 200, answer.text
    comparison = answer.json()
    assert [each["id"] for each in comparison["jobs"]] == [first, second]
    assert [each["name"] for each in comparison["jobs"]] == [None, "again"]
    assert comparison["differences"] == [{"field": "seed", "values": [0, 1]}]
    (agreed,) = comparison["agreement"]
    assert (agreed["job_a"], agreed["job_b"], agreed["a"], agreed["b"]) == (first, second, "gradient", "gradient")
    assert agreed["spearman"] == agreed["pearson"] == pytest.approx(1.0)
    assert [each["part"] for each in comparison["not_compared"]] == ["comparisons"]
    assert (
        client.get("/v1/compare", params={"job": [first, second]}, headers={"If-None-Match": answer.headers["etag"]}).status_code
        == 304
    )


def test_compare_when_a_job_has_no_result_then_still_gives_the_differences(client: httpx.Client, served: Served) -> None:
    first = succeeded(client, served)
    waiting = client.post("/v1/jobs", json=job(layer="fc")).json()["id"]
    comparison = client.get("/v1/compare", params={"job": [first, waiting]}).json()

    assert comparison["differences"] == [{"field": "layer", "values": ["conv1", "fc"]}]
    assert (comparison["agreement"], comparison["comparisons"]) == ([], [])
    assert f"the job {waiting} is queued" in comparison["not_compared"][0]["detail"]


def test_compare_when_a_newer_worker_wrote_a_summary_then_leaves_it_out(client: httpx.Client, served: Served) -> None:
    ids = [succeeded(client, served, seed=number) for number in range(2)]
    summary = {"best": "gradient", "verdict": "newer", "robust": None, "area": 1.0, "clusters": 1}
    with served.backend.connection.pipeline() as pipeline:
        pipeline.hset(keyspace.record("job", ids[0]), "summary", json.dumps(summary)).execute()
    answer = client.get("/v1/compare", params={"job": ids})

    assert (answer.status_code, answer.json()["jobs"][0]["summary"]) == (200, None)
    assert client.get("/v1/jobs").json()["items"][1]["summary"] == summary


def test_compare_when_jobs_are_wrong_then_is_a_problem(client: httpx.Client, served: Served) -> None:
    first = succeeded(client, served)
    for query in (f"job={first}", f"job={first}&job={first}", "&".join(f"job={number}" for number in range(5))):
        assert_problem(client.get(f"/v1/compare?{query}"), 422, "invalid_parameter", "/query/job")
    for other in ("0" * 26, "nonsense"):
        assert_problem(client.get(f"/v1/compare?job={first}&job={other}"), 404, "job_not_found")
    assert_problem(client.get("/v1/compare"), 422, "invalid_parameter")
    _, secret = served.backend.keys.create("Eve", ["admin"], "theirs")
    assert_problem(
        client.get(f"/v1/compare?job={first}&job={'0' * 26}", headers={"Authorization": f"Bearer {secret}"}), 404, "job_not_found"
    )


def test_compare_when_jobs_have_several_layers_then_compares_the_first_common_one(client: httpx.Client, served: Served) -> None:
    first, second = layered.succeeded(client, served), layered.succeeded(client, served, ["fc", "conv1"], seed=1)
    comparison = client.get("/v1/compare", params={"job": [first, second]}).json()

    assert [each["layer"] for each in comparison["jobs"]] == ["conv1", "conv1"]
    assert [each["layers"] for each in comparison["jobs"]] == [["conv1", "fc", "joint"], ["fc", "conv1", "joint"]]
    assert comparison["jobs"][0]["summary"]["best"] == comparison["jobs"][0]["leaderboard"][0]["ranking"] == "gradient"
    assert comparison["jobs"][0]["summary"]["area"] == layered.AREAS["conv1"]["gradient"]
    assert comparison["differences"] == [
        {"field": "layer", "values": [["conv1", "fc"], ["fc", "conv1"]]},
        {"field": "seed", "values": [0, 1]},
    ]


@pytest.mark.parametrize("layer", ["conv1", "fc", "joint"])
def test_compare_when_a_layer_is_named_then_compares_the_jobs_there(client: httpx.Client, served: Served, layer: str) -> None:
    ids = [layered.succeeded(client, served), layered.succeeded(client, served, seed=1)]
    comparison = client.get("/v1/compare", params={"job": ids, "layer": layer}).json()
    page = client.get("/compare", params={"job": ids, "layer": layer}, headers=BROWSER)

    assert [each["layer"] for each in comparison["jobs"]] == [layer, layer]
    assert {(each["a"], each["b"]) for each in comparison["agreement"]} >= {("gradient", "gradient")}
    assert all(each["spearman"] == pytest.approx(1.0) for each in comparison["agreement"] if each["a"] == each["b"])
    assert [each["leaderboard"][0]["area"] for each in comparison["jobs"]] == [layered.AREAS[layer]["gradient"]] * 2
    assert page.status_code == 200
    assert f'<option value="{layer}" selected>' in page.text
    assert f"layer={layer}" in page.text


def test_compare_when_one_job_has_one_layer_then_compares_at_this_layer(client: httpx.Client, served: Served) -> None:
    several, one = layered.succeeded(client, served), succeeded(client, served, seed=1)
    comparison = client.get("/v1/compare", params={"job": [several, one]}).json()
    elsewhere = client.get("/v1/compare", params={"job": [several, one], "layer": "fc"}).json()

    assert [(each["layer"], each["layers"]) for each in comparison["jobs"]] == [
        ("conv1", ["conv1", "fc", "joint"]),
        ("conv1", None),
    ]
    assert comparison["agreement"]
    assert elsewhere["agreement"] == elsewhere["comparisons"] == []
    assert f"the job {one} ranks other layers: conv1" in elsewhere["not_compared"][0]["detail"]
    answer = client.get("/v1/compare", params={"job": [several, one], "layer": "conv2"})
    assert "conv1" in assert_problem(answer, 404, "layer_not_found")["detail"]


def test_compare_when_a_layered_job_has_no_result_then_names_its_layers(client: httpx.Client, served: Served) -> None:
    several = layered.succeeded(client, served)
    waiting = client.post("/v1/jobs", json=job(layer=["fc", "conv1"], seed=3)).json()["id"]
    comparison = client.get("/v1/compare", params={"job": [waiting, several]}).json()

    assert [each["layer"] for each in comparison["jobs"]] == ["fc", "fc"]
    assert f"the job {waiting} is queued" in comparison["not_compared"][0]["detail"]
