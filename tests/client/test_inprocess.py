"""`unitrank.rank`: it runs the engine in this process, and raises the errors of a service."""

from typing import Any

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


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_rank_when_called_without_gradients_then_is_the_same(mode: Any) -> None:
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)), np.random.default_rng(0).normal(size=(20, 4))
    methods: list[Any] = ["gradient", "deeplift", "shapley", {"name": "conductance", "steps": 4}]

    def ranked() -> dict[str, np.ndarray]:
        result = unitrank.rank(network, "1", x.astype(np.float32), methods=methods, ablation=None)
        return {name: result.importances(name)["all"] for name in result.rankings}

    expected = ranked()
    with mode():
        values = ranked()
        assert not torch.is_grad_enabled()

    for name, importance in expected.items():
        assert np.abs(importance).max() > 0
        np.testing.assert_array_equal(values[name], importance)


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


def test_rank_when_scores_are_given_then_they_are_ranked_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    x, y = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32), np.arange(40) % 2
    scores = np.random.default_rng(1).normal(size=(40, 3, 2, 2))
    means = {label: scores[y == label].mean(0) for label in (0, 1)}

    def importances(*methods: Any) -> list[np.ndarray]:
        result = unitrank.rank(network, "2", x, y, methods=list(methods), ablation={"random": 3}, fidelity=None)
        return [np.stack([result.importances(f"g{number}")[name] for name in ("0", "1")]) for number in range(len(methods))]

    examples, mapping, rows, whole = importances(
        unitrank.given(scores, "g0"),
        unitrank.given(means, "g1"),
        unitrank.given(np.stack([means[1], means[0]]), "g2", clusters=[1, 0], made_on="none"),
        unitrank.given(scores[0], "g3"),
    )
    # Scores that are too large for a request are the rows of a table.
    monkeypatch.setattr("unitrank.client.given.MOST_IMPORTANCE_BYTES", 10)
    large, large_whole = importances(unitrank.given(means, "g0"), unitrank.given(scores[0], "g1"))

    expected = np.stack([means[0], means[1]])
    for array in (examples, mapping, rows, large):
        np.testing.assert_allclose(array, expected, rtol=1e-6)
    for array in (whole, large_whole):
        np.testing.assert_allclose(array, [scores[0]] * 2, rtol=1e-6)


def test_rank_when_scores_name_a_dataset_then_says_that_there_is_none() -> None:
    network, x = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), np.zeros((8, 2), np.float32)

    with pytest.raises(unitrank.InvalidRequest) as caught:
        unitrank.rank(network, "1", x, methods=[{"name": "given", "scores": "mine"}])

    assert [(place.pointer, place.code) for place in caught.value.places] == [("/methods/0/scores", "dataset_not_found")]
