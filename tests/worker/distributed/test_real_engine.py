"""The engine of workers, divided between nodes: equal to the bit to one process."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import unitrank
from tests.worker.distributed.conftest import REQUEST, Bed
from unitrank_engine.models import inspection
from unitrank_schemas.base import Json
from unitrank_schemas.methods import METHODS

pytestmark = pytest.mark.check

ENGINE = "tests.worker.distributed.small_ranges:SmallRanges"
ROWS = 700


def request_of(methods: list[object]) -> Json:
    ablation = {"random": 19, "orders": ["most", "least", "keep"], "specificity": True, "check_fill": "mean"}
    return REQUEST | {
        "layer": "1",
        "methods": methods,
        "clusters": {"by": "kmeans", "k": 3, "layer": "4"},
        "target": {"class": 0},
        "ablation": ablation,
        "fidelity": {"fraction": 0.1},
    }


def test_job_of_the_real_engine_when_divided_then_every_array_and_number_is_equal_to_the_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 8), nn.GELU(), nn.Linear(8, 3)
    ).eval()
    unitrank.export(network, torch.zeros(2, 3, 8, 8), tmp_path / "net.pt2")
    manifest = inspection.inspect(tmp_path / "net.pt2", tmp_path / "clean.pt2")
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(ROWS, 3, 8, 8)).astype(np.float32))
    bed = Bed(tmp_path, 2, ENGINE, [(tmp_path / name).read_bytes() for name in ("data.npz", "clean.pt2")])
    options = {"given": {"importance": list(range(144))}, "shapley": {"permutations": 2}}
    methods = [{"name": name, **options.get(name, {})} for name in METHODS]
    resolved = {
        "clean": bed.digests[1],
        "model": {"name": "m", "digest": "sha256:2"},
        "dataset": {"name": "d", "digest": bed.digests[0]},
    }
    order = {"request": request_of(methods), "resolved": resolved, "manifest": manifest}
    try:
        expected, alone = bed.local(**order), bed.summary
        actual, together = bed.divided(**order), bed.summary
    finally:
        bed.end()

    assert bed.problem is None
    assert len(together["rankings"]) == len(METHODS)
    assert actual.keys() == expected.keys()
    assert [name for name in expected if actual[name].tobytes() != expected[name].tobytes()] == []
    assert [ranking | {"seconds": 0} for ranking in together["rankings"]] == [
        ranking | {"seconds": 0} for ranking in alone["rankings"]
    ]
    assert together["cost"]["nodes"] == 2
    assert together["cost"]["forward_rows"] == alone["cost"]["forward_rows"]
