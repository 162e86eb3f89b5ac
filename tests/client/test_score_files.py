"""The kinds of files that hold scores, for `--given NAME=FILE` and for `check_scores`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from unitrank.errors import NotPossible
from unitrank.score_checks.given_scores import given_scores
from unitrank.score_files import given_files

ROWS = np.arange(6.0).reshape(2, 3)


def entry(file: Path, made_on: str | None = None) -> Any:
    scores = given_files([f"mine={file}"], made_on)["mine"]
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
            given_files(list(arguments), None)


def test_file_when_its_scores_are_checked_then_it_may_have_every_kind(tmp_path: Path) -> None:
    np.save(tmp_path / "whole.npy", ROWS)
    np.savez(tmp_path / "whole.npz", attributions=ROWS)
    save_file({"3": ROWS[0], "4": ROWS[1]}, tmp_path / "clusters.safetensors")
    np.savez(tmp_path / "clusters.npz", importance=ROWS, cluster=np.array([3, 4]))
    np.savez(tmp_path / "one.npz", importance=ROWS[:1], cluster=np.array(["3"]))

    for name in ("whole.npy", "whole.npz"):
        scores = given_scores(tmp_path / name)
        assert (scores.by_cluster, np.array(scores.of_all).tolist()) == (None, ROWS.tolist())
    for name, clusters in {"clusters.safetensors": ["3", "4"], "clusters.npz": ["3", "4"], "one.npz": ["3"]}.items():
        by_cluster = given_scores(str(tmp_path / name)).by_cluster
        assert by_cluster is not None
        assert {cluster: rows.tolist() for cluster, rows in by_cluster.items()} == dict(zip(clusters, ROWS.tolist(), strict=False))


def test_file_when_rows_and_clusters_differ_then_the_error_names_both(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", importance=ROWS, cluster=np.array(["x", "y", "z"]))

    for read in (given_scores, entry):
        with pytest.raises(NotPossible, match="'importance' has 2 rows and 'cluster' has 3"):
            read(tmp_path / "a.npz")
