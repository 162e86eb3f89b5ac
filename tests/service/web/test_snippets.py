"""A job's request as JSON, for curl and for Python."""

import json
from typing import Any

import httpx
import pytest

from tests.service.conftest import Json, Served, job, put_dataset, ready_model
from unitrank_schemas.jobs import JobRequest
from unitrank_service.web import snippets


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"methods": [{"name": "conductance", "steps": 7, "statistic": "rms"}, "gradient", "gradient"], "clusters": {"by": "label"}},
        {"ablation": None, "fidelity": {"select": "top"}, "target": {"class": "predicted", "score": "margin"}, "seed": 3},
        {"baseline": {"kind": "constant", "value": 1.5}, "preprocess": {"scale": 2.0}, "metadata": {"a": None}},
    ],
)
def test_request_when_spoken_then_asks_for_the_same(client: httpx.Client, served: Served, changes: Json) -> None:
    ready_model(client, served)
    put_dataset(client)
    first = client.post("/v1/jobs", json=job(**changes)).json()
    request = snippets.short(first["request"])

    assert client.post("/v1/jobs", json=request).json()["id"] == first["id"]
    assert JobRequest.model_validate(request)
    assert "steps" not in json.dumps(snippets.short(first["request"] | {"methods": first["request"]["methods"][-1:]}))


def test_python_when_spoken_then_is_what_python_reads(client: httpx.Client) -> None:
    request = job(metadata={"it's": '"quoted"\n'})
    program = snippets.as_python(request, "http://127.0.0.1:8000", key=True)
    scope: dict[str, Any] = {}
    exec(compile(program.partition("\nwith ")[0], "spoken", "exec"), scope)

    assert scope["request"] == request
    compile(program, "spoken", "exec")


def test_snippets_when_the_request_has_many_given_numbers_then_there_are_none() -> None:
    def request(count: int) -> Json:
        return job(methods=["gradient", {"name": "given", "importance": {"all": [0.5] * count}}])

    assert snippets.snippets(request(10), "http://127.0.0.1", key=False) is not None
    assert snippets.snippets(request(1001), "http://127.0.0.1", key=False) is None
