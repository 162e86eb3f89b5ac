"""The OpenAPI document is valid and complete, and its examples work."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from docs.generate import openapi
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from pydantic import BaseModel

from tests.service.conftest import MANIFEST, Served, job, put_dataset, ready_model
from unitrank_schemas.datasets import Dataset
from unitrank_schemas.jobs import DryRun, Job
from unitrank_schemas.methods import MethodCard
from unitrank_schemas.models import Model
from unitrank_schemas.operations import Version, Workers
from unitrank_schemas.results import LayeredResult, Result
from unitrank_service.openapi.examples.by_schema import examples_by_schema

Json = dict[str, Any]


@pytest.fixture
def page(client: httpx.Client) -> Json:
    resource: Json = client.get("/openapi.json").json()
    return resource


def operations(page: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in page["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_the_page_is_valid(page: Json) -> None:
    validate(page)


def test_every_answer_has_a_schema(page: Json) -> None:
    for name, operation in operations(page):
        for status, answer in operation["responses"].items():
            if status in ("204", "304"):
                continue
            kinds = answer["content"]
            assert kinds, f"{name} {status}"
            assert all(kind.get("schema") for kind in kinds.values()), f"{name} {status}"


def test_every_json_has_an_example_that_follows_its_schema(page: Json) -> None:
    for name, operation in operations(page):
        for message in [operation.get("requestBody", {}), *operation["responses"].values()]:
            content = message.get("content", {}).get("application/json")
            if content is None:
                continue
            examples = [content["example"]] if "example" in content else [each["value"] for each in content["examples"].values()]
            assert examples, name
            for example in examples:
                Draft202012Validator(content["schema"] | {"components": page["components"]}).validate(example)


@pytest.mark.parametrize("schema", [Model, Dataset, Job, DryRun, Result, LayeredResult, MethodCard, Workers, Version])
def test_examples_are_what_the_service_says(schema: type[BaseModel]) -> None:
    schema.model_validate_json(json.dumps(examples_by_schema()[schema.__name__]))


def test_the_webhook_is_described(page: Json) -> None:
    content = page["webhooks"]["job.ended"]["post"]["requestBody"]["content"]["application/json"]

    Draft202012Validator(content["schema"] | {"components": page["components"]}).validate(content["example"])
    assert set(page["components"]["schemas"]["Announcement"]["properties"]) == {"id", "status"}


def test_every_problem_is_a_problem_with_an_example(page: Json) -> None:
    for name, operation in operations(page):
        failures = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
        assert "500" in failures or operation["x-scope"] == "public", name
        for status, answer in failures.items():
            assert set(answer["content"]) == {"application/problem+json"}, f"{name} {status}"
            schema = {"$ref": "#/components/schemas/Problem", "components": page["components"]}
            Draft202012Validator(schema).validate(answer["content"]["application/problem+json"]["example"])


def test_every_parameter_and_every_answer_has_a_description(page: Json) -> None:
    for name, operation in operations(page):
        assert operation["description"], name
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), f"{name} {parameter['name']}"
        for status, answer in operation["responses"].items():
            assert answer["description"] not in ("", "Successful Response"), f"{name} {status}"


def test_every_body_that_is_sent_is_described(page: Json) -> None:
    sent = {name for name, operation in operations(page) if "requestBody" in operation}

    assert sent == {"PUT /v1/models/{name}", "PUT /v1/datasets/{name}", "POST /v1/jobs", "PATCH /v1/jobs/{id}"}


def test_the_examples_of_jobs_are_accepted(client: httpx.Client, served: Served, page: Json) -> None:
    layers = [layer | {"name": "relu1"} if layer["name"] == "conv1" else layer for layer in MANIFEST["layers"]]
    inputs = [{"name": "x", "dtype": "float32", "shape": [None, 1, 28, 28]}]
    ready_model(client, served, "mnist", inputs=inputs, layers=layers)
    put_dataset(client, "mnist-t10k", x=np.zeros((10, 1, 28, 28), np.uint8), y=np.arange(10, dtype=np.uint8) % 3)
    examples = page["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["examples"]

    for example in examples.values():
        answer = client.post("/v1/jobs", json=example["value"])
        assert answer.status_code == 202, answer.text


def test_single_resources_have_an_etag_and_304(page: Json) -> None:
    tagged = {name for name, operation in operations(page) if "304" in operation["responses"]}

    assert {"GET /v1/models/{name}", "GET /v1/datasets/{name}", "GET /v1/jobs/{id}", "GET /v1/jobs/{id}/result"} <= tagged
    assert not {"GET /v1/models", "GET /v1/jobs", "POST /v1/jobs"} & tagged


def test_answers_follow_their_schemas(client: httpx.Client, served: Served, page: Json) -> None:
    model = ready_model(client, served)
    dataset = put_dataset(client)
    resource = client.post("/v1/jobs", json=job()).json()

    for name, value in {"Model": model, "Dataset": dataset, "Job": resource}.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": page["components"]}
        Draft202012Validator(schema).validate(value)


def test_a_job_as_shown_can_be_posted_again(client: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    put_dataset(client)
    resource = client.post("/v1/jobs", json=job()).json()

    again = client.post("/v1/jobs", json=resource["request"])

    assert again.status_code == 202
    assert again.json()["request"] == resource["request"]


def test_the_committed_document_is_the_one_that_the_service_answers(page: Json) -> None:
    assert openapi.FILE.read_text(encoding="utf-8") == openapi.text(), "run: python docs/generate/openapi.py"
    committed = json.loads(openapi.text())
    assert page | {"info": committed["info"]} == committed


def test_each_schema_has_one_name(page: Json) -> None:
    titles = [schema.get("title", name) for name, schema in page["components"]["schemas"].items()]

    assert len(set(titles)) == len(titles)
    assert not [name for name in page["components"]["schemas"] if name.endswith(("-Input", "-Output"))]


def test_each_operation_has_a_short_name(page: Json) -> None:
    names = [operation["operationId"] for _, operation in operations(page)]

    assert len(set(names)) == len(names)
    assert {"post_job", "get_result", "list_models"} <= set(names)


def test_no_default_is_an_object_or_an_array(page: Json) -> None:
    def defaults(node: Any) -> Iterator[Any]:
        if isinstance(node, dict):
            yield from [node["default"]] if "default" in node else []
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from defaults(child)

    schemas = page["components"]["schemas"]
    described = schemas["JobRequest"]["properties"]["clusters"]["description"]

    assert not [default for default in defaults(schemas) if isinstance(default, dict | list)]
    assert described == 'Default: `{"by": "all"}`.'
