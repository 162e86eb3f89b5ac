"""The rows and names of clusters, and the rows that a limit draws."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program

COUNT = 24
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(COUNT, 3)).astype(np.float32)
Y = RANDOM.integers(0, 3, COUNT).astype(np.uint8)


@pytest.fixture(scope="module")
def dense() -> Program:
    torch.manual_seed(1)
    return program_of(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 3)), torch.randn(2, 3))


def rows_of(program: Program, folder: Path, clusters: dict[str, Any], seed: int = 0, **fields: np.ndarray) -> dict[str, list[int]]:
    """The rows of each cluster by name; its importance must come from these rows alone."""
    settings: dict[str, Any] = {"ablation": None, "fidelity": None, "seed": seed, "target": {"class": 0}}
    summary, arrays = rank(program, folder, {"x": X, "y": Y, **fields}, "0", ["activation"], clusters=clusters, **settings)
    names = [cluster["name"] for cluster in summary["clusters"]]
    rows = {name: arrays[f"rows/{name}"].tolist() for name in names}
    weight, bias = (program.module.get_parameter(f"0.{name}").numpy() for name in ("weight", "bias"))
    h = (X @ weight.T + bias).astype(np.float64)
    for index, name in enumerate(names):
        assert summary["clusters"][index]["examples"] == len(rows[name])
        np.testing.assert_allclose(arrays["importance/activation"][index], h[rows[name]].mean(0), rtol=1e-4, atol=1e-6)
    return rows


def where(condition: np.ndarray) -> list[int]:
    return [int(row) for row in np.flatnonzero(condition)]


def test_all_is_every_row(dense: Program, tmp_path: Path) -> None:
    assert rows_of(dense, tmp_path, {"by": "all"}) == {"all": list(range(COUNT))}


def test_label_makes_a_cluster_for_each_label_in_order(dense: Program, tmp_path: Path) -> None:
    rows = rows_of(dense, tmp_path, {"by": "label"})

    assert list(rows) == ["0", "1", "2"]
    assert rows == {str(label): where(label == Y) for label in range(3)}


def test_prediction_makes_a_cluster_for_each_class_the_model_gives(dense: Program, tmp_path: Path) -> None:
    classes = dense.forward((torch.from_numpy(X),), "output").argmax(1).numpy()

    rows = rows_of(dense, tmp_path, {"by": "prediction"})

    assert rows == {str(label): where(classes == label) for label in np.unique(classes)}


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (np.array([7, -1, 300]), ["-1", "7", "300"]),
        (np.array(["cat", "a dog", "é"]), ["a dog", "cat", "é"]),
        (np.array([b"x", b"y", b"z"]), ["x", "y", "z"]),
        (np.array([0.5, -2.0, 1e10], dtype=np.float64), ["-2.0", "0.5", "10000000000.0"]),
        (np.array([0.1, 0.2, 0.3], dtype=np.float32), None),
        (np.array([True, False, True]), ["0", "1"]),
        (np.array([2**63, 1, 2], dtype=np.uint64), ["1", "2", "9223372036854775808"]),
    ],
    ids=["int", "string", "bytes", "float64", "float32", "bool", "uint64"],
)
def test_field_makes_a_cluster_for_each_value_in_order(
    values: np.ndarray, names: list[str] | None, dense: Program, tmp_path: Path
) -> None:
    field = values[RANDOM.permutation(np.arange(COUNT) % 3)]

    rows = rows_of(dense, tmp_path, {"by": "field", "field": "g"}, g=field)

    assert names is None or list(rows) == names
    assert list(rows.values()) == [where(field == value) for value in np.unique(values)]


def test_members_keep_their_order_of_names_may_overlap_and_count_each_row_once(dense: Program, tmp_path: Path) -> None:
    members = {"z": [5, 1, 1, 9], "a": [9, 1], "m": [0]}

    rows = rows_of(dense, tmp_path, {"by": "members", "members": members})

    assert list(rows) == ["z", "a", "m"]
    assert rows == {"z": [1, 5, 9], "a": [1, 9], "m": [0]}


def test_limit_draws_that_number_of_each_cluster_by_the_seed(dense: Program, tmp_path: Path) -> None:
    whole = rows_of(dense, tmp_path, {"by": "label"})

    first, again, another = (rows_of(dense, tmp_path, {"by": "label", "limit": 3}, seed=seed) for seed in (1, 1, 2))

    assert first == again
    assert first != another
    for name, rows in first.items():
        assert len(rows) == 3
        assert set(rows) < set(whole[name])
        assert rows == sorted(rows)


def test_a_limit_above_the_size_changes_nothing(dense: Program, tmp_path: Path) -> None:
    assert rows_of(dense, tmp_path, {"by": "label", "limit": 1000}) == rows_of(dense, tmp_path, {"by": "label"})


def test_a_field_of_clusters_with_nan_is_refused(dense: Program, tmp_path: Path) -> None:
    field = np.where(np.arange(COUNT) == 3, np.nan, 1.0)

    with pytest.raises(EngineError, match="the field of the clusters is NaN or infinite in row 3") as caught:
        rows_of(dense, tmp_path, {"by": "field", "field": "g"}, g=field)

    assert caught.value.code == "non_finite"


def test_more_than_ten_thousand_clusters_are_refused(dense: Program, tmp_path: Path) -> None:
    count = 10_001
    fields = {"x": np.zeros((count, 3), dtype=np.float32), "g": np.arange(count)}

    with pytest.raises(EngineError, match="10001 clusters; at most 10000") as caught:
        rank(dense, tmp_path, fields, "0", ["activation"], clusters={"by": "field", "field": "g"}, ablation=None, fidelity=None)

    assert caught.value.code == "too_many_clusters"
