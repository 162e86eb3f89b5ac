"""Jobs and inspections of the real engine in a confined child."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import unitrank
from tests.worker.confinement.children import Result, child, result_of
from unitrank_engine.models import inspection
from unitrank_schemas.base import Json
from unitrank_schemas.methods import METHODS

pytestmark = [pytest.mark.check, pytest.mark.usefixtures("confinable")]

ENGINE = "unitrank_worker.engine:TorchEngine"
RESOLVED: Json = {
    "clean": "sha256:1",
    "model": {"name": "m", "digest": "sha256:2"},
    "dataset": {"name": "d", "digest": "sha256:3"},
}


@pytest.fixture
def network(tmp_path: Path) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 8), nn.GELU(), nn.Linear(8, 3)
    ).eval()


def test_job_when_its_child_is_confined_then_its_numbers_are_equal_to_the_bit(network: nn.Module, tmp_path: Path) -> None:
    unitrank.export(network, torch.zeros(2, 3, 8, 8), tmp_path / "net.pt2")
    manifest = inspection.inspect(tmp_path / "net.pt2", tmp_path / "clean.pt2")
    random = np.random.default_rng(0)
    # A compressed field is unpacked into the scratch folder.
    np.savez_compressed(tmp_path / "data.npz", x=random.normal(size=(40, 3, 8, 8)).astype(np.float32))
    options = {"given": {"importance": list(range(144))}, "shapley": {"permutations": 2}}
    methods = [{"name": name, **options.get(name, {})} for name in METHODS]
    request = {"layer": "1", "methods": methods, "clusters": {"by": "kmeans", "k": 2, "layer": "4"}, "target": {"class": 0}}

    def run(confinement: str) -> Result:
        (tmp_path / confinement).mkdir()
        with child(tmp_path / confinement, ENGINE, confinement) as handle:
            return result_of(handle, request, tmp_path / "data.npz", tmp_path / "clean.pt2", resolved=RESOLVED, manifest=manifest)

    confined, free = run("require"), run("off")

    assert len(confined.summary["rankings"]) == len(METHODS)
    assert confined.arrays.keys() == free.arrays.keys()
    assert [name for name, array in confined.arrays.items() if array.tobytes() != free.arrays[name].tobytes()] == []
