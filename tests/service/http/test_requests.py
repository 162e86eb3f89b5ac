"""Invalid bodies of a job's request: the problem has the pointer of the error and its code."""

import json
from typing import Any

import httpx
import pytest

from tests.service.conftest import Served, assert_problem, job, put_dataset, ready_model

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"layerz": "x"}, "unknown_field", "/layerz"),
        ({"target": {"klass": 1}}, "unknown_field", "/target/klass"),
        ({"clusters": {"by": "field", "field": "y", "fields": "x"}}, "unknown_field", "/clusters/fields"),
        ({"methods": [{"name": "conductance", "stepz": 3}]}, "unknown_option", "/methods/0/stepz"),
        ({"methods": [{"name": "gradient", "steps": 3}]}, "unknown_option", "/methods/0/steps"),
        ({"methods": ["gradeint"]}, "method_not_found", "/methods/0"),
        ({"methods": ["gradient", {"name": "conductnce"}]}, "method_not_found", "/methods/1/name"),
        ({"methods": [{"steps": 3}]}, "missing_field", "/methods/0"),
        ({"methods": [3]}, "invalid_request", "/methods/0"),
        ({"methods": []}, "invalid_request", "/methods"),
        ({"methods": [{"name": "conductance", "steps": True}]}, "invalid_request", "/methods/0/steps"),
        ({"methods": [{"name": "conductance", "steps": 0}]}, "invalid_request", "/methods/0/steps"),
        ({"methods": [{"name": "conductance", "steps": "20"}]}, "invalid_request", "/methods/0/steps"),
        ({"layer": 3}, "invalid_request", "/layer"),
        ({"layer": None}, "invalid_request", "/layer"),
        ({"seed": True}, "invalid_request", "/seed"),
        ({"seed": 1.0}, "invalid_request", "/seed"),
        ({"seed": -1}, "invalid_request", "/seed"),
        ({"seed": 2**70}, "invalid_request", "/seed"),
        ({"timeout": False}, "invalid_request", "/timeout"),
        ({"target": {"class": True}}, "invalid_request", "/target/class"),
        ({"target": {"class": "labels"}}, "invalid_request", "/target/class"),
        ({"target": {"class": -1}}, "invalid_request", "/target/class"),
        ({"clusters": {"by": "everything"}}, "invalid_request", "/clusters/by"),
        ({"clusters": {}}, "missing_field", "/clusters"),
        ({"clusters": {"by": "members", "members": {"a": [0, -1]}}}, "invalid_request", "/clusters/members/a/1"),
        ({"clusters": {"by": "members", "members": {"a": [True]}}}, "invalid_request", "/clusters/members/a/0"),
        ({"baseline": {"kind": "constant"}}, "missing_field", "/baseline/value"),
        ({"baseline": {"kind": "constant", "value": True}}, "invalid_request", "/baseline/value"),
        ({"preprocess": {"mean": [0.1, True]}}, "invalid_request", "/preprocess/mean/1"),
        ({"ablation": {"fractions": [2.0]}}, "invalid_request", "/ablation/fractions/0"),
        ({"dataset": {"field": {"x": [1]}}}, "missing_field", "/dataset/field"),
        ({"dataset": 3}, "invalid_request", "/dataset"),
        ({"dataset": "a b"}, "invalid_request", "/dataset"),
        ({"model": "net@sha256:12"}, "invalid_request", "/model"),
        ({"webhook": {"url": "http://example.org/hook"}}, "webhook_not_allowed", "/webhook/url"),
        ({"webhook": {"url": "hook"}}, "webhook_malformed", "/webhook/url"),
    ],
)
def test_post_of_a_wrong_body_names_place_and_code(client: httpx.Client, changes: dict[str, Any], code: str, pointer: str) -> None:
    assert_problem(client.post("/v1/jobs", json=job(**changes)), 422, code, pointer)


@pytest.mark.parametrize("field", ["model", "layer", "dataset", "methods"])
def test_post_without_a_required_field_says_so(client: httpx.Client, field: str) -> None:
    body = job()
    del body[field]

    assert_problem(client.post("/v1/jobs", json=body), 422, "missing_field", f"/{field}")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b"\xff", 400, "malformed_json"),
        (b"[]", 422, "invalid_request"),
        (b"null", 422, "invalid_request"),
        (b'"text"', 422, "invalid_request"),
        (b'{"seed": NaN}', 422, "number_not_finite"),
        (b'{"timeout": 1e309}', 422, "number_not_finite"),
        (b'{"seed": 1, "seed": 2}', 422, "duplicate_key"),
        (b'{"metadata": ' + b"[" * 40 + b"]" * 40 + b"}", 422, "too_deep"),
        (b'{"layer": "\\ud800"}', 422, "invalid_text"),
        (b'{"seed": ' + b"1" * 5000 + b"}", 422, "number_not_finite"),
    ],
)
def test_post_of_liberal_json_is_refused(client: httpx.Client, body: bytes, status: int, code: str) -> None:
    assert_problem(client.post("/v1/jobs", content=body, headers=JSON), status, code)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_post_of_another_type_is_415(client: httpx.Client, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}

    assert_problem(client.post("/v1/jobs", content=json.dumps(job()), headers=headers), 415, "unsupported_media_type")


def test_post_of_a_compressed_body_is_415(client: httpx.Client) -> None:
    answer = client.post("/v1/jobs", content=b"\x1f\x8b", headers={**JSON, "Content-Encoding": "gzip"})

    assert_problem(answer, 415, "unsupported_media_type")


def test_post_over_the_limit_is_413_with_and_without_length(client: httpx.Client) -> None:
    body = b'{"metadata": "' + b"x" * 9_000_000 + b'"}'

    assert_problem(client.post("/v1/jobs", content=body, headers=JSON), 413, "body_too_large")
    assert_problem(client.post("/v1/jobs", content=iter([body]), headers=JSON), 413, "body_too_large")


def test_post_with_several_mistakes_names_them_all(client: httpx.Client) -> None:
    answer = client.post("/v1/jobs", json=job(layer=1, seed="x", extra=1))

    problem = assert_problem(answer, 422, "invalid_request")
    assert {error["pointer"] for error in problem["errors"]} == {"/layer", "/seed", "/extra"}


@pytest.mark.parametrize(
    "changes",
    [
        {f"field{number}": 1 for number in range(50_000)},
        {"clusters": {"by": "members", "members": {"a": ["x"] * 200_000}}},
        {"clusters": {"by": "members", "members": {str(number): ["x"] for number in range(20_000)}}},
        {"clusters": {"by": "members", "members": {"a": [0] * 200_000}}},
    ],
)
def test_post_with_very_many_mistakes_names_the_first(client: httpx.Client, served: Served, changes: dict[str, Any]) -> None:
    ready_model(client, served)
    put_dataset(client)
    answer = client.post("/v1/jobs", json=job(**changes), timeout=60)

    assert answer.status_code == 422
    assert 1 <= len(answer.json()["errors"]) <= 100


def test_post_of_an_unknown_method_names_the_nearest(client: httpx.Client) -> None:
    problem = client.post("/v1/jobs", json=job(methods=["conductanse"])).json()

    assert problem["detail"] == "method 'conductanse' not found; nearest: 'conductance'"


def test_post_of_an_unknown_field_names_the_nearest(client: httpx.Client) -> None:
    problem = client.post("/v1/jobs", json=job(target={"scores": "logit"})).json()

    assert "nearest: 'score'" in problem["detail"]


def test_post_of_a_huge_wrong_value_answers_with_a_short_text(client: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    put_dataset(client)

    answer = client.post("/v1/jobs", json=job(layer="x" * 500, seed="y" * 100_000))

    assert len(answer.content) < 2000
