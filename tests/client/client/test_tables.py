"""A user's data becomes a table that the service reads. Equal values give equal bytes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from unitrank.client.tables import array_of, table_file, write_npz
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


def content(data: Any, **fields: Any) -> bytes:
    with table_file(data, fields) as path:
        return path.read_bytes()


def test_table_when_equal_values_come_in_any_form_then_the_bytes_are_equal(tmp_path: Path) -> None:
    np.savez(tmp_path / "saved.npz", x=X, y=Y)
    tensors = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    expected = (tmp_path / "saved.npz").read_bytes()

    assert content(tmp_path / "saved.npz") == expected
    assert content(None, x=X, y=Y) == expected
    assert content({"x": torch.from_numpy(X).requires_grad_()}, y=Y.tolist()) == expected
    assert content(tensors) == expected


def test_table_when_items_have_names_then_the_store_reads_each_as_a_field() -> None:
    with table_file(Named(), {"row": range(4)}) as path, open_table(path) as table:
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
        (iter([1]), "a list_iterator cannot be uploaded as a dataset; give arrays such as x="),
        ([(np.zeros(2), 0), (np.zeros(3), 0)], r"item 1 .* float64 \[3\] in field 'x', but item 0 is float64 \[2\]"),
        ([(np.zeros(2), 0), (np.zeros(2), 0.5)], "item 1 .* float64 .* in field 'y', but item 0 is int64"),
        ([{"x": 1, "y": 2}, {"x": 1}], r"item 1 .* has the fields \['x'\], but item 0 has \['x', 'y'\]"),
        (["a", "bcd"], "item 1 .* in field 'x'"),
        ({"x": [None]}, "mixed or ragged"),
        ({"x": [[1], [1, 2]]}, "mixed or ragged"),
        ({"x": torch.zeros(2, 2).to_sparse()}, "mixed or ragged"),
        (pandas.DataFrame({"x": [1, 2]}), "a DataFrame cannot be uploaded as a dataset; pass it as a field: put\\(name, x=frame"),
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
