"""Clusters by k-means: separated blobs become clusters, in one chunk or several.

Equal jobs have equal clusters.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.errors import EngineError
from unitrank_engine.job import batch_size
from unitrank_engine.job.clusters import kmeans
from unitrank_engine.job.clusters.kmeans import partition, rows_of_chunk
from unitrank_engine.program import Program

BLOBS = 5


def blobs(count: int, features: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Points of well separated blobs, and the blob of each point."""
    random = np.random.default_rng(0)
    blob_of_row = random.integers(BLOBS, size=count)
    centres = 100 * np.eye(BLOBS, features)
    return (centres[blob_of_row] + random.normal(size=(count, features))).astype(np.float32), blob_of_row


def split(x: np.ndarray, k: int, seed: int = 0) -> list[list[int]]:
    labels = partition(len(x), k, x.shape[1], lambda rows: x[rows], np.random.default_rng(seed))
    return [np.flatnonzero(labels == cluster).tolist() for cluster in range(labels.max() + 1)]


def by_size(blob_of_row: np.ndarray) -> list[list[int]]:
    groups = [np.flatnonzero(blob_of_row == blob).tolist() for blob in np.unique(blob_of_row)]
    return sorted(groups, key=lambda rows: (-len(rows), rows[0]))


@pytest.mark.parametrize("chunk", [10_000, 100])
@pytest.mark.parametrize("seed", range(5))
def test_partition_when_blobs_lie_apart_then_each_is_a_cluster_and_the_largest_is_first(
    seed: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, blob_of_row = blobs(830)
    monkeypatch.setattr(kmeans, "CHUNK_ROWS", chunk)

    assert split(x, BLOBS, seed) == by_size(blob_of_row)


def test_partition_when_chunks_are_small_then_no_more_rows_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = blobs(830)
    monkeypatch.setattr(kmeans, "CHUNK_ROWS", 100)
    sizes: list[int] = []

    def values(rows: np.ndarray) -> np.ndarray:
        sizes.append(len(rows))
        return x[rows]

    partition(len(x), BLOBS, x.shape[1], values, np.random.default_rng(0))

    assert max(sizes) == 100
    assert sum(sizes) == kmeans.reads(830, BLOBS, x.shape[1]) == 2 * 830


def test_partition_when_values_have_no_clusters_then_equal_seeds_give_equal_clusters() -> None:
    x = np.random.default_rng(1).normal(size=(3000, 4)).astype(np.float32)

    assert split(x, 7) == split(x, 7)
    assert sorted(row for rows in split(x, 7) for row in rows) == list(range(3000))
    assert split(x, 7) != split(x, 7, seed=1)


def test_partition_when_values_are_fewer_than_clusters_then_empty_ones_are_left_out() -> None:
    x = np.repeat(np.eye(3, dtype=np.float32), [2, 7, 4], axis=0)

    assert split(x, 6) == [list(range(2, 9)), list(range(9, 13)), [0, 1]]


def test_partition_when_there_is_one_cluster_then_it_holds_all() -> None:
    assert split(blobs(40)[0], 1) == [list(range(40))]


@pytest.mark.parametrize(
    ("k", "units", "rows"), [(8, 5408, 1024), (1000, 10, 3000), (8, 100_352, 167), (8, 802_816, 24), (50, 10**7, 150)]
)
def test_chunk_when_units_are_many_then_is_small_but_holds_three_examples_a_cluster(k: int, units: int, rows: int) -> None:
    assert rows_of_chunk(k, units) == rows


@cache
def doubled() -> Program:
    """`0` doubles its input exactly."""
    net = nn.Sequential(nn.Linear(6, 6, bias=False), nn.ReLU(), nn.Linear(6, 3))
    net[0].weight.data = 2 * torch.eye(6)
    return program_of(net, torch.zeros(2, 6))


def ranked(folder: Path, x: np.ndarray, clusters: dict[str, Any], **request: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    settings = {"ablation": None, "fidelity": None, "target": {"class": 0}, "labels": None, **request}
    return rank(doubled(), folder, {"x": x}, "1", ["activation"], clusters={"by": "kmeans", **clusters}, **settings)


@pytest.mark.parametrize("layer", ["input", "0"])
def test_kmeans_when_a_layer_separates_blobs_then_the_result_holds_them_by_name(layer: str, tmp_path: Path) -> None:
    x, blob_of_row = blobs(83)
    summary, arrays = ranked(tmp_path, x, {"k": BLOBS, "layer": layer})

    assert [cluster["name"] for cluster in summary["clusters"]] == [str(index) for index in range(BLOBS)]
    assert [arrays[f"rows/{index}"].tolist() for index in range(BLOBS)] == by_size(blob_of_row)
    means = [np.maximum(2 * x[rows], 0).mean(0) for rows in by_size(blob_of_row)]
    np.testing.assert_allclose(arrays["importance/activation"], means, rtol=1e-5)
    assert summary["provenance"]["options"]["clusters"] == {"by": "kmeans", "k": BLOBS, "layer": layer, "limit": None}


def test_kmeans_when_no_path_leads_from_the_layer_to_the_output_then_its_values_still_make_clusters(tmp_path: Path) -> None:
    class Beside(nn.Module):
        """Two outputs; the second comes from `side` alone."""

        def __init__(self) -> None:
            super().__init__()
            self.main, self.side = nn.Linear(6, 3), nn.Linear(6, 6)
            self.side.weight.data = torch.eye(6)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.main(x), self.side(x)

    x, blob_of_row = blobs(60)
    _, arrays = rank(
        program_of(Beside(), torch.zeros(2, 6)), tmp_path, {"x": x}, "main", ["activation"],
        clusters={"by": "kmeans", "k": BLOBS, "layer": "side"}, ablation=None, fidelity=None,
    )  # fmt: skip

    assert [arrays[f"rows/{index}"].tolist() for index in range(BLOBS)] == by_size(blob_of_row)


def test_kmeans_when_a_limit_is_given_then_clusters_are_of_all_examples_and_hold_some(tmp_path: Path) -> None:
    x, blob_of_row = blobs(83)
    _, arrays = ranked(tmp_path, x, {"k": BLOBS, "layer": "0", "limit": 4})

    for index, rows in enumerate(by_size(blob_of_row)):
        drawn = arrays[f"rows/{index}"].tolist()
        assert len(drawn) == 4
        assert set(drawn) < set(rows)


def test_kmeans_when_batches_are_smaller_then_clusters_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(2).normal(size=(300, 6)).astype(np.float32)
    first, _ = ranked(tmp_path, x, {"k": 4, "layer": "0"})
    monkeypatch.setattr(batch_size, "LIMITS", {"cpu": (7, 7)})
    second, _ = ranked(tmp_path, x, {"k": 4, "layer": "0"})

    assert first["clusters"] == second["clusters"]


def test_kmeans_when_centres_have_no_examples_then_a_warning_says_how_many(tmp_path: Path) -> None:
    x = np.repeat(np.eye(3, 6, dtype=np.float32), 4, axis=0)
    summary, _ = ranked(tmp_path, x, {"k": 5, "layer": "0"})
    (warning,) = [warning for warning in summary["warnings"] if warning["code"] == "fewer_clusters"]

    assert len(summary["clusters"]) == 3
    assert warning["detail"].startswith("only 3 of 5 clusters")


def test_kmeans_when_there_are_fewer_examples_than_clusters_then_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="k is 9, and the dataset has 8 examples") as caught:
        ranked(tmp_path, blobs(8)[0], {"k": 9, "layer": "0"})

    assert caught.value.code == "too_few_examples"


def test_kmeans_when_a_value_overflows_then_the_layer_and_the_row_are_named(tmp_path: Path) -> None:
    x = np.ones((8, 6), dtype=np.float32)
    x[5, 0] = 3e38
    with pytest.raises(EngineError, match="layer '0' is NaN or infinite for row 5") as caught:
        ranked(tmp_path, x, {"k": 2, "layer": "0"})

    assert caught.value.code == "non_finite"
