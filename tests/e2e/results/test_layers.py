"""Over HTTP: several layers in one job, each with the numbers of a job of this layer alone."""

import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from torch import nn

from tests.e2e.conftest import ended, save
from tests.service.conftest import assert_problem
from unitrank_plots import LAYERED, PICTURES
from unitrank_schemas.base import Json
from unitrank_schemas.results import LayeredResult, Result

BYTES = {"Content-Type": "application/octet-stream"}
NPZ = {"Accept": "application/x-npz"}
METHODS = ["gradient", "conductance", "taylor"]
DIFFERENT = {"job", "cost", "seconds", "p_family", "p_family_worse"}
"""Members of a result that differ from those of a job of one layer.

p-values of a job are corrected for the rankings of all its layers.
"""


class Net(nn.Module):
    """A small network for images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu1, self.conv2, self.relu2 = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU()
        self.flat, self.fc = nn.Flatten(), nn.Linear(24, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.flat(self.relu2(self.conv2(self.relu1(self.conv1(x))))))


@pytest.fixture(scope="module")
def contents(url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the network, which the service has as `layered`, with its data."""
    folder = tmp_path_factory.mktemp("layers")
    torch.manual_seed(0)
    net = Net()
    save(net, folder / "net.pt2", torch.zeros(2, 1, 6, 6))
    x = np.random.default_rng(0).normal(size=(60, 1, 6, 6)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=net(torch.from_numpy(x)).argmax(1).numpy())
    with httpx.Client(base_url=url, timeout=90) as http:
        http.put("/v1/datasets/layered", content=(folder / "data.npz").read_bytes(), headers=BYTES).raise_for_status()
        http.put("/v1/models/layered", content=(folder / "net.pt2").read_bytes(), headers=BYTES).raise_for_status()
        assert ended(http, "/v1/models/layered")["status"] == "ready"
    return folder


def request(layer: str | list[str], **changes: Any) -> Json:
    return {
        "model": "layered",
        "layer": layer,
        "dataset": "layered",
        "methods": METHODS,
        "clusters": {"by": "label"},
        "units": "channel",
        "ablation": {"random": 19, "examples": 20},
        "metadata": {"tags": ["layered"]},
        **changes,
    }


def ran(http: httpx.Client, body: Json) -> Json:
    """The job, as soon as it has succeeded."""
    answer = http.post("/v1/jobs", json=body)
    assert answer.status_code in (200, 202), answer.text
    job = ended(http, f"/v1/jobs/{answer.json()['id']}")
    assert job["status"] == "succeeded", job["problem"]
    return job


def result(http: httpx.Client, id: str, **query: str) -> Any:
    return http.get(f"/v1/jobs/{id}/result", params=query).raise_for_status().json()


def comparable(value: Any) -> Any:
    """The value without the members that differ."""
    if isinstance(value, dict):
        values = {name: comparable(each) for name, each in value.items() if name not in DIFFERENT}
        # Warnings that hold for every layer come first.
        return values | ({"warnings": sorted(map(str, values["warnings"]))} if "warnings" in values else {})
    return [comparable(each) for each in value] if isinstance(value, list) else value


@pytest.mark.check
def test_layers_when_run_in_one_job_then_each_has_the_result_of_a_job_of_its_own(contents: Path, http: httpx.Client) -> None:
    job = ran(http, request(["relu1", "relu2"], joint=True))
    whole = LayeredResult.model_validate(result(http, job["id"]))
    full = np.load(io.BytesIO(http.get(f"/v1/jobs/{job['id']}/result", headers=NPZ).content))
    estimate = http.post("/v1/jobs?dry_run=true", json=request(["relu1", "relu2"], joint=True)).json()["estimate"]

    for layer in ("relu1", "relu2"):
        alone = ran(http, request(layer))
        assert comparable(result(http, job["id"], layer=layer)) == comparable(result(http, alone["id"]))
        own = np.load(io.BytesIO(http.get(f"/v1/jobs/{alone['id']}/result", headers=NPZ).content))
        for name in own.files:
            np.testing.assert_array_equal(full[name if name.startswith(("rows/", "tests/rows")) else f"{layer}/{name}"], own[name])
        for path in ("plots/importance.json", "plots/ablation.json", "plots/leaderboard.json", "units/1", "plots/heatmap.json"):
            of_layer = http.get(f"/v1/jobs/{job['id']}/{path}", params={"layer": layer})
            assert comparable(of_layer.json()) == comparable(http.get(f"/v1/jobs/{alone['id']}/{path}").json()), path
    joint = Result.model_validate(result(http, job["id"], layer="joint"))
    assert joint.layer == (whole.joint and whole.joint.layer)
    assert joint.layer.count == 10
    assert sum(full[name].nbytes for name in full.files) <= estimate["result_bytes"] * 1.1
    leaders = {name: part.leaderboard[0] for name, part in whole.parts().items() if part.leaderboard[0].verdict}
    ranking, _, layer = job["summary"]["best"].rpartition(" at ")
    assert (leaders[layer].ranking, leaders[layer].area) == (ranking, job["summary"]["area"])
    events = [line for line in http.get(f"/v1/jobs/{job['id']}/events").text.splitlines() if line.startswith("data:")]
    assert json.loads(events[-1].removeprefix("data:"))["status"] == "succeeded"


@pytest.mark.check
def test_joint_when_its_parts_are_read_then_none_is_an_error_of_the_service(contents: Path, http: httpx.Client) -> None:
    changes = {"keep_examples": 2, "target": {"class": "each"}, "methods": ["gradient", "taylor", "random"], "units": "neuron"}
    path = f"/v1/jobs/{ran(http, request(['relu1', 'relu2'], joint=True, **changes))['id']}"
    codes = {}

    for name in (*PICTURES, *LAYERED):
        for query in ("", "&ranking=gradient@1", "&cluster=1", "&example=0", "&channel=0", "&overlay=true", "&style=paper"):
            for form in ("png", "json"):
                answer = http.get(f"{path}/plots/{name}.{form}?layer=joint{query}")
                codes[name, query, form] = answer.status_code
    for part in ("report?layer=joint", "report", "units/3?layer=joint", "result?layer=joint&ranking=gradient@1&top=3"):
        codes["", part, ""] = http.get(f"{path}/{part}").status_code

    assert {code for (name, _, _), code in codes.items() if name == "heatmap"} == {422}
    assert {place: code for place, code in codes.items() if place[0] not in ("heatmap", "comparisons") and code != 200} == {}
    assert {code for (name, _, _), code in codes.items() if name == "comparisons"} <= {200, 422}


@pytest.mark.check
def test_pattern_when_the_model_is_still_inspected_then_the_result_has_its_layers(contents: Path, http: httpx.Client) -> None:
    torch.manual_seed(1)
    save(Net(), contents / "late.pt2", torch.zeros(2, 1, 6, 6))
    http.put("/v1/models/late", content=(contents / "late.pt2").read_bytes(), headers=BYTES).raise_for_status()

    job = ran(http, request("relu*", model="late", joint=True))

    assert job["request"]["layer"] == "relu*"
    assert list(result(http, job["id"])["layers"]) == ["relu1", "relu2"]
    assert result(http, job["id"], layer="relu2")["layer"]["name"] == "relu2"
    assert result(http, job["id"], layer="joint", top="3")["layer"]["count"] == 10


@pytest.mark.check
def test_layers_when_a_pattern_matches_the_models_layers_then_the_request_lists_them(contents: Path, http: httpx.Client) -> None:
    answer = http.post("/v1/jobs?dry_run=true", json=request("relu*")).json()

    assert answer["request"]["layer"] == ["relu1", "relu2"]


GIVEN = {"name": "given", "scores": "layered"}


@pytest.mark.check
@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        (request(["relu1", "relu9"]), "layer_not_found", "/layer/1"),
        (request(["relu1", "fc9*"]), "layer_not_found", "/layer/1"),
        (request(["relu1", "relu1"]), "duplicate_layer", "/layer/1"),
        (request([f"relu{number}" for number in range(65)]), "invalid_request", "/layer"),
        (request([]), "invalid_request", "/layer"),
        (request(["relu1", "relu2"], methods=[GIVEN]), "method_not_applicable", "/methods/0"),
        (request("relu1", joint=True), "joint_needs_layers", "/joint"),
        (request(["relu1"], joint=True), "joint_needs_layers", "/joint"),
    ],
)
def test_layers_when_they_are_wrong_then_the_problem_names_the_place(
    contents: Path, http: httpx.Client, body: Json, code: str, pointer: str
) -> None:
    problem = assert_problem(http.post("/v1/jobs", json=body), 422, code)

    pointers = [error["pointer"] for error in problem["errors"]]
    assert any(each == pointer or each.startswith(f"{pointer}/") for each in pointers), problem
