"""`unitrank.rank`: it runs the engine in this process, and raises the errors of a service."""

import numpy as np
import pytest
import torch
from torch import nn

import unitrank


def test_rank_when_the_request_is_wrong_then_says_where_as_the_service_does() -> None:
    network, x = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), np.zeros((8, 2), np.float32)
    with pytest.raises(unitrank.InvalidRequest) as missing:
        unitrank.rank(network, "9", x, target={"class": 5})
    with pytest.raises(unitrank.InvalidRequest) as malformed:
        unitrank.rank(network, "1", x, methods=[{"name": "conductance", "steps": 0}, "gradent"], clusters={"by": "kmeans"}, sead=1)

    assert [place.pointer for place in missing.value.places] == ["/layer", "/target/class"]
    assert (missing.value.code, missing.value.exit_code) == ("layer_not_found", 2)
    assert {place.pointer: place.code for place in malformed.value.places} == {
        "/methods/0/steps": "invalid_request",
        "/methods/1": "method_not_found",
        "/clusters/k": "missing_field",
        "/clusters/layer": "missing_field",
        "/sead": "unknown_field",
    }
    assert "nearest: 'gradient'" in str(malformed.value)


def test_rank_when_the_data_is_not_a_table_then_the_error_names_the_field() -> None:
    network, x = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), np.zeros((20, 2), np.float32)
    with pytest.raises(unitrank.InvalidRequest) as uneven:
        unitrank.rank(network, "1", x, np.zeros(9, int))
    with pytest.raises(unitrank.InvalidRequest) as odd:
        unitrank.rank(network, "1", x, fields={"z": np.zeros(20, complex)})
    with pytest.raises(unitrank.NotPossible, match="mixed or ragged"):
        unitrank.rank(network, "1", [[1.0], [1.0, 2.0]])

    assert (uneven.value.code, odd.value.code) == ("unequal_lengths", "unsupported_dtype")
    assert "20" in str(uneven.value)
    assert "'<c16'" in str(odd.value)


def test_rank_when_the_network_cannot_be_computed_then_the_job_failed_with_its_code() -> None:
    class Rooted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            roots = self.act(x).sqrt().sum(1)
            return torch.stack([roots, -roots], 1)

    with pytest.raises(unitrank.JobFailed) as caught:
        unitrank.rank(Rooted(), "act", np.ones((6, 3), np.float32), methods=["conductance"])

    assert (caught.value.code, caught.value.exit_code) == ("non_finite", 1)


def test_rank_when_x_holds_integers_then_they_are_cast_only_for_networks_of_floats() -> None:
    dense = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    ids = nn.Sequential(nn.Embedding(6, 3), nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2))
    values = np.random.default_rng(0).integers(6, size=(12, 4))

    pixels = unitrank.rank(dense, "1", values.astype(np.uint8), methods=["gradient"], ablation=None, fidelity=None)
    words = unitrank.rank(ids, "3", values, methods=["gradient"], ablation=None, fidelity=None)

    assert (pixels.layer.count, words.layer.count) == (5, 5)
