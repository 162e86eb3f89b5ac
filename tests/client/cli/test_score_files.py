"""`--given NAME=FILE`: the kinds of files that hold scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from unitrank.cli.score_files import read_scores
from unitrank.errors import NotPossible

ROWS = np.arange(6.0).reshape(2, 3)


def entry(file: Path, made_on: str | None = None) -> Any:
    scores = read_scores([f"mine={file}"], made_on)["mine"]
    return scores.entry(importance=scores.importance())


def test_file_when_it_has_a_row_for_each_cluster_then_the_clusters_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", importance=ROWS, cluster=np.array(["x", "y"]))
    save_file({"importance": ROWS, "cluster": np.array([3, 4])}, tmp_path / "b.safetensors")

    assert entry(tmp_path / "a.npz")["importance"] == {"x": [0.0, 1.0, 2.0], "y": [3.0, 4.0, 5.0]}
    assert entry(tmp_path / "b.safetensors", "train") == {
        "name": "given",
        "id": "mine",
        "made_on": "train",
        "importance": {"3": [0.0, 1.0, 2.0], "4": [3.0, 4.0, 5.0]},
    }


def test_file_when_its_arrays_are_clusters_then_each_is_named_by_its_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"0": ROWS[0], "1": ROWS[1]})

    assert entry(tmp_path / "a.npz")["importance"] == {"0": [0.0, 1.0, 2.0], "1": [3.0, 4.0, 5.0]}


def test_file_when_it_has_one_array_then_it_is_the_importance_of_all_clusters(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    np.savez(tmp_path / "b.npz", ROWS)
    np.savez(tmp_path / "c.npz", scores=ROWS)

    assert [entry(tmp_path / name)["importance"] for name in ("a.npy", "b.npz", "c.npz")] == [[0, 1, 2, 3, 4, 5]] * 3


def test_file_when_it_cannot_be_read_then_the_error_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "text.npy").write_text("hello")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    file = tmp_path / "a.npy"
    np.save(file, ROWS)
    for arguments, words in {
        ("mine",): "--given 'mine' is invalid: write NAME=FILE",
        ("=a.npy",): "is invalid",
        (f"mine={file}", f"mine={file}"): "is there twice",
        (f"mine={tmp_path / 'none.npz'}",): "does not exist",
        (f"mine={tmp_path / 'text.npz'}",): "cannot be read",
        (f"mine={tmp_path / 'text.npy'}",): "cannot be read",
        (f"mine={tmp_path / 'objects.npy'}",): "cannot be read",
    }.items():
        with pytest.raises(NotPossible, match=words):
            read_scores(list(arguments), None)
