"""Over HTTP: wrong requests that are rejected at once, and wrong ones that fail while they run."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.e2e.conftest import save
from unitrank.client.sync import Client
from unitrank.errors import NotSucceeded

pytestmark = pytest.mark.check

Json = dict[str, Any]
ROWS = 12


class Rooted(nn.Module):
    """F = Σ √h for each class. At a baseline of zeros F is finite, but its gradient is infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        roots = self.act(x).sqrt()
        return torch.stack([roots.sum(1), 2 * roots.sum(1)], 1)


class Certain(nn.Module):
    """Returns only the predicted class, as zeros and a one: the output has no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.one_hot(self.fc(x).argmax(1), 2).float()


@pytest.fixture
def job(client: Client, tmp_path: Path) -> Json:
    x = np.ones((ROWS, 3), dtype=np.float32)
    np.savez(tmp_path / "data.npz", x=x, small=x[:, :2], y=np.arange(ROWS) % 3)
    client.datasets.put("failing", tmp_path / "data.npz")
    for name, net in {"rooted": Rooted(), "certain": Certain()}.items():
        client.models.put(name, save(net, tmp_path / f"{name}.pt2", torch.ones(2, 3)))
    target = {"class": 1}
    return {"model": "rooted", "layer": "act", "dataset": "failing", "methods": ["gradient", "conductance"], "target": target}


def ended(client: Client, http: httpx.Client, job: Json) -> Json:
    id = http.post("/v1/jobs", json=job).raise_for_status().json()["id"]
    with pytest.raises(NotSucceeded):
        client.jobs.get(id).wait()
    record: Json = http.get(f"/v1/jobs/{id}").json()
    response = http.get(f"/v1/jobs/{id}/result")
    assert (response.status_code, response.json()["code"]) == (409, "job_failed")
    return record


def test_job_when_one_ranking_is_not_finite_then_its_problem_names_it_and_the_others_can_be_computed(
    client: Client, http: httpx.Client, job: Json
) -> None:
    problem = ended(client, http, job)["problem"]

    assert (problem["code"], problem["ranking"], problem["finished"]) == ("non_finite", "conductance", ["gradient"])
    assert "repeat the request without 'conductance' to get 'gradient'" in problem["detail"]
    again = http.post("/v1/jobs", json=job | {"methods": problem["finished"]}).raise_for_status().json()
    assert client.jobs.get(again["id"]).wait().status == "succeeded"


def test_job_when_its_ablation_is_not_finite_then_its_problem_names_the_finished_scores(
    client: Client, http: httpx.Client, job: Json, tmp_path: Path
) -> None:
    class Logarithmic(nn.Module):
        """F = Σ log h: infinite if a unit is zero."""

        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            logs = self.act(x).log().sum(1)
            return torch.stack([logs, -logs], 1)

    client.models.put("logarithmic", save(Logarithmic(), tmp_path / "logarithmic.pt2", torch.ones(2, 3)))
    part = {"baseline": {"kind": "constant", "value": 2.0}, "ablation": {"fill": "zero", "random": 5}, "fidelity": None}
    problem = ended(client, http, job | {"model": "logarithmic"} | part)["problem"]

    assert (problem["code"], problem.get("ranking"), problem["finished"]) == ("non_finite", None, ["gradient", "conductance"])
    again = http.post("/v1/jobs", json=job | {"model": "logarithmic"} | part | {"ablation": None}).raise_for_status().json()
    assert client.jobs.get(again["id"]).wait().status == "succeeded"


def test_labels_when_the_model_is_still_inspected_then_the_worker_checks_their_range(
    client: Client, http: httpx.Client, job: Json, tmp_path: Path
) -> None:
    # New random weights: no worker has inspected this model before.
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    client.models.put("fresh", save(net, tmp_path / "fresh.pt2", torch.ones(2, 3)), wait=False)
    wrong = job | {"model": "fresh", "layer": "1", "target": {"class": "label"}, "metadata": {"once": str(tmp_path)}}
    problem = ended(client, http, wrong)["problem"]

    assert (problem["code"], problem["status"]) == ("class_out_of_range", 422)
    assert "holds 2, but output 'output' has classes 0 to 1" in problem["detail"]


@pytest.mark.parametrize(
    ("wrong", "code", "pointer"),
    [
        ({"baseline": {"kind": "field", "field": "small"}}, "baseline_shape", "/baseline/field"),
        ({"target": {"class": "label"}}, "class_out_of_range", "/labels"),
        ({"target": {"class": 2}}, "class_out_of_range", "/target/class"),
        ({"methods": ["gradient", "grad_cam"]}, "method_not_applicable", "/methods/1"),
        ({"model": "certain", "layer": "fc", "methods": ["activation", "gradient"]}, "not_differentiable", "/methods/1"),
    ],
)
def test_job_when_it_does_not_fit_the_manifest_then_is_rejected_at_once(
    http: httpx.Client, job: Json, wrong: Json, code: str, pointer: str
) -> None:
    answer = http.post("/v1/jobs", json=job | wrong)

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_job_when_the_model_has_no_gradients_then_methods_without_them_still_rank(
    client: Client, http: httpx.Client, job: Json
) -> None:
    plain = job | {"model": "certain", "layer": "fc", "methods": ["activation", "random"]}
    id = http.post("/v1/jobs", json=plain).raise_for_status().json()["id"]

    assert client.jobs.get(id).wait().status == "succeeded"
