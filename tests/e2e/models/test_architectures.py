"""Weights for an installed architecture: from PUT to a result, and rejected uploads."""

from typing import Any

import httpx
import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from tests.e2e.conftest import ended

pytestmark = pytest.mark.check

BYTES = {"Content-Type": "application/octet-stream"}


def _weights(hidden: int = 8) -> bytes:
    torch.manual_seed(0)
    return save(dict(nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 3)).state_dict()))


def test_weights_for_an_installed_architecture_are_ranked(http: httpx.Client) -> None:
    put = http.put(
        "/v1/models/by-name", params={"architecture": "perceptron", "arguments": '{"hidden": 8}'}, content=_weights(), headers=BYTES
    )
    assert put.status_code == 202, put.text
    model = ended(http, "/v1/models/by-name")
    assert model["status"] == "ready", model
    assert model["architecture"] == {"name": "perceptron", "arguments": {"hidden": 8}}
    assert [layer["name"] for layer in model["layers"]] == ["input", "0", "1", "2"]
    x = np.random.default_rng(0).normal(size=(40, 4)).round(3).tolist()
    job: dict[str, Any] = {
        "model": "by-name",
        "layer": "1",
        "methods": ["gradient_x_delta"],
        "dataset": {"fields": {"x": x}},
        "inputs": {"input": "x"},
    }

    posted = http.post("/v1/jobs", json=job)

    assert posted.status_code == 202, posted.text
    assert ended(http, f"/v1/jobs/{posted.json()['id']}")["status"] == "succeeded"


def test_the_same_weights_with_other_arguments_are_another_model(http: httpx.Client) -> None:
    def put(**arguments: str) -> httpx.Response:
        return http.put("/v1/models/twice", params={"architecture": "perceptron", **arguments}, content=_weights(), headers=BYTES)

    default, empty, explicit = put(), put(arguments="{}"), put(arguments='{"hidden": 8}')

    assert [default.status_code, empty.json()["digest"] == default.json()["digest"]] == [202, True]
    assert explicit.json()["digest"] != default.json()["digest"]


def test_weights_of_another_shape_make_a_rejected_model_that_lists_them(http: httpx.Client) -> None:
    http.put("/v1/models/odd", params={"architecture": "perceptron"}, content=_weights(9), headers=BYTES)

    model = ended(http, "/v1/models/odd")

    assert (model["status"], model["problem"]["code"]) == ("rejected", "weights_refused")
    assert "0.weight [9, 4] instead of [8, 4]" in model["problem"]["detail"]


@pytest.mark.parametrize(
    ("parameters", "content", "code"),
    [
        ({"architecture": "perceptrom"}, _weights(), "architecture_not_found"),
        ({"arguments": "{}"}, _weights(), "architecture_missing"),
        ({"architecture": "perceptron", "arguments": "{"}, _weights(), "malformed_json"),
        ({"architecture": "perceptron", "arguments": "[]"}, _weights(), "invalid_arguments"),
        ({"architecture": "perceptron", "arguments": '{"hidden": NaN}'}, _weights(), "number_not_finite"),
        ({"architecture": "perceptron"}, b"PK\x03\x04" + bytes(100), "not_a_table"),
        ({"architecture": "perceptron"}, b"\x03" + bytes(7) + b"[1]", "header_mismatch"),
        ({"architecture": "perceptron"}, b"\x03", "header_mismatch"),
        ({"architecture": "perceptron"}, b"", "empty_body"),
    ],
)
def test_an_upload_that_is_wrong_is_rejected_at_once(
    parameters: dict[str, str], content: bytes, code: str, http: httpx.Client
) -> None:
    answer = http.put("/v1/models/wrong", params=parameters, content=content, headers=BYTES)

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert http.get("/v1/models/wrong").status_code == 404


def test_an_error_for_a_misspelt_architecture_names_the_nearest_one(http: httpx.Client) -> None:
    answer = http.put("/v1/models/wrong", params={"architecture": "perceptrom"}, content=_weights(), headers=BYTES)

    assert answer.json()["detail"] == "architecture 'perceptrom' not found; nearest: 'perceptron'"
