"""A user's data becomes a table that the service reads. Equal values give equal bytes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, DatasetDict, Features
from datasets import Dataset as HuggingFace
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from unitrank.dataset_files import array_of, dataset_file, write_npz
from unitrank.errors import NotPossible
from unitrank_tables import open_table

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 1, 1, 0])


class Named(Dataset[Any]):
    """Items with named parts: nested lists, texts and numbers."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"x": X[row].tolist(), "group": f"g{row}", "y": int(Y[row])}


class Stream(IterableDataset[Any]):
    """Items without a length."""

    def __iter__(self) -> Iterator[Any]:
        return iter([(row, label) for row, label in zip(X, Y, strict=True)])


def content(data: Any, **fields: Any) -> bytes:
    with dataset_file(data, fields) as path:
        return path.read_bytes()


def test_table_when_equal_values_come_in_any_form_then_the_bytes_are_equal(tmp_path: Path) -> None:
    np.savez(tmp_path / "saved.npz", x=X, y=Y)
    tensors = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    expected = (tmp_path / "saved.npz").read_bytes()

    assert content(tmp_path / "saved.npz") == expected
    assert content(None, x=X, y=Y) == expected
    assert content({"x": torch.from_numpy(X).requires_grad_()}, y=Y.tolist()) == expected
    assert content(tensors) == expected
    assert content(DataLoader(tensors, batch_size=3)) == expected
    assert content(iter(tensors)) == expected
    assert content(Stream()) == expected
    assert content(HuggingFace.from_dict({"x": X, "y": Y}).with_format("numpy")) == expected


def test_table_when_items_have_names_then_the_store_reads_each_as_a_field() -> None:
    with dataset_file(Named(), {"row": range(4)}) as path, open_table(path) as table:
        assert table.examples == 4
        assert set(table.fields) == {"x", "group", "y", "row"}
        np.testing.assert_array_equal(table.read("x", slice(None)), X)
        assert table.read("group", slice(None)).tolist() == ["g0", "g1", "g2", "g3"]


def test_table_when_a_tensor_is_bfloat16_then_keeps_its_values() -> None:
    values = array_of(torch.tensor([0.5, -2.0], dtype=torch.bfloat16), "x")

    assert (values.dtype, values.tolist()) == (np.float32, [0.5, -2.0])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "the dataset is empty"),
        (3, "a int cannot be uploaded as a dataset; give arrays such as x="),
        ([(np.zeros(2), 0), (np.zeros(3), 0)], r"item 1 .* float64 \[3\] in field 'x', but item 0 is float64 \[2\]"),
        ([(np.zeros(2), 0), (np.zeros(2), 0.5)], "item 1 .* float64 .* in field 'y', but item 0 is int64"),
        ([{"x": 1, "y": 2}, {"x": 1}], r"item 1 .* has the fields \['x'\], but item 0 has \['x', 'y'\]"),
        (["a", 1], "item 1 .* is int64 .* in field 'x', but item 0 is text"),
        ([1, "a"], "item 1 .* is <U1 .* in field 'x', but item 0 is int64"),
        ({"x": [None]}, "mixed or ragged"),
        ({"x": [[1], [1, 2]]}, "mixed or ragged"),
        ({"x": torch.zeros(2, 2).to_sparse()}, "mixed or ragged"),
        (DataLoader(TensorDataset(torch.zeros(4)), shuffle=True), "the DataLoader shuffles"),
        (DataLoader(TensorDataset(torch.zeros(4)), batch_size=3, drop_last=True), "may leave out the last rows"),
        (DatasetDict({"test": HuggingFace.from_dict({"x": [1]})}), r"upload one of them, such as data\['test'\]"),
    ],
)
def test_table_when_the_data_is_invalid_then_the_error_names_the_field_or_item(data: Any, words: str) -> None:
    with pytest.raises(NotPossible, match=words):
        content(data)


def test_npz_when_an_array_is_called_like_an_argument_then_is_written_all_the_same(tmp_path: Path) -> None:
    write_npz(tmp_path / "t.npz", {"file": X, "a/b": X.T})

    with np.load(tmp_path / "t.npz") as archive:
        np.testing.assert_array_equal(archive["file"], X)
        np.testing.assert_array_equal(archive["a/b"], X.T)


def test_table_when_an_array_is_a_memory_map_then_its_values_are_written(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)

    assert content(np.load(tmp_path / "x.npy", mmap_mode="r")) == content(None, x=X) == content(tmp_path / "x.npy")


def test_table_when_classes_have_names_then_a_field_holds_them() -> None:
    features = Features({"label": ClassLabel(names=["cat", "dog"])})
    with dataset_file(HuggingFace.from_dict({"label": [1, 0]}, features=features), {}) as path, open_table(path) as table:
        assert table.read("label", slice(None)).tolist() == [1, 0]
        assert table.read("label_name", slice(None)).tolist() == ["dog", "cat"]


def test_table_when_columns_are_named_then_fields_are_made_of_them() -> None:
    items = [{"a": 1.5, "b": 2.0, "c": 0}, {"a": 3.0, "b": 4.0, "c": 1}]
    with dataset_file(items, {}, {"x": ["b", "a"], "y": "c"}) as path, open_table(path) as table:
        assert set(table.fields) == {"x", "y"}
        np.testing.assert_array_equal(table.read("x", slice(None)), [[2, 1.5], [4, 3]])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"x": ["agee"]}, "column 'agee' of the field 'x' does not exist; did you mean 'age'"),
        ({"y": "zzz"}, "the columns are 'age', 'image'"),
        ({"x": ["age", "image"]}, r"unequal shapes: age \[\], image \[2\]"),
    ],
)
def test_table_when_a_named_column_does_not_fit_then_the_error_says_which(columns: Any, words: str) -> None:
    with pytest.raises(NotPossible, match=words), dataset_file({"age": [1], "image": [[1, 2]]}, {}, columns):
        pass


def test_table_when_a_field_is_given_twice_then_is_refused() -> None:
    with pytest.raises(NotPossible, match="the field 'x' is in the data and was given, too"):
        content(TensorDataset(torch.zeros(2)), x=[1, 2])
