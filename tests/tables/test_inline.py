"""Nested lists of a request become a table, or are refused with a pointer to the wrong value."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from unitrank_tables import encode_inline, open_table
from unitrank_tables.errors import BadTable

SHAPES = st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3)
DTYPES = st.sampled_from(["i8", "f4", "?"])
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


def read(folder: Path, fields: dict[str, object]) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    path = folder / "table"
    path.write_bytes(encode_inline(fields))
    with open_table(path) as table:
        return {name: table.read(name, slice(None)) for name in table.fields}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    array=st.tuples(DTYPES, SHAPES).flatmap(
        lambda drawn: st_numpy.arrays(
            drawn[0], (2, *drawn[1]), elements={"allow_nan": False, "allow_infinity": False} if drawn[0] == "f4" else None
        )
    ),
    names=st.lists(st.text(LETTERS, max_size=4), min_size=2, max_size=2),
)
def test_lists_are_read_back_as_they_were(tmp_path: Path, array: np.ndarray[Any, np.dtype[Any]], names: list[str]) -> None:
    fields = read(tmp_path, {"x": array.tolist(), "n": names})

    assert fields["x"].dtype == array.dtype
    np.testing.assert_array_equal(fields["x"], array)
    assert fields["n"].tolist() == names


def test_equal_lists_are_equal_bytes_whatever_their_order() -> None:
    assert encode_inline({"x": [1, 2], "y": ["a", "b"]}) == encode_inline({"y": ["a", "b"], "x": [1, 2]})


def test_integers_in_a_list_with_real_numbers_become_float32(tmp_path: Path) -> None:
    assert read(tmp_path, {"x": [[1, 2.5], [3, 4]]})["x"].dtype == np.float32


@pytest.mark.parametrize("name", ["file", "allow_pickle", "self", "a/b"])
def test_a_field_may_have_any_name(tmp_path: Path, name: str) -> None:
    assert list(read(tmp_path, {name: [1]})) == [name]


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({}, "no_fields", "/fields"),
        ({"x": []}, "no_examples", "/fields/x"),
        ({"x": [[], []]}, "ragged_field", "/fields/x/0"),
        ({"x": 3}, "ragged_field", "/fields/x"),
        ({"x": {"0": 1}}, "ragged_field", "/fields/x"),
        ({"x": [[1, 2], [3]]}, "ragged_field", "/fields/x/1"),
        ({"x": [[1], 2]}, "ragged_field", "/fields/x/1"),
        ({"x": [1, [2]]}, "ragged_field", "/fields/x/1"),
        ({"x": [[[1], [2]], [[3], [4, 5]]]}, "ragged_field", "/fields/x/1/1"),
        ({"x": [1, None]}, "unsupported_value", "/fields/x/1"),
        ({"x": [{"a": 1}]}, "unsupported_value", "/fields/x/0"),
        ({"x": [[1, 2], [3, True]]}, "unsupported_value", "/fields/x/1/1"),
        ({"x": ["a", 1]}, "unsupported_value", "/fields/x/1"),
        ({"x": [0, 2**63]}, "out_of_range", "/fields/x/1"),
        ({"x": [[0.5, 1e39]]}, "out_of_range", "/fields/x/0/1"),
        ({"x": [[0.5, 10**400]]}, "out_of_range", "/fields/x/0/1"),
        ({"x": [float("nan")]}, "out_of_range", "/fields/x/0"),
        ({"x": ["a", "b\0"]}, "bad_text", "/fields/x/1"),
        ({"x": ["\ud800"]}, "bad_text", "/fields/x/0"),
        ({"x": [1, 2], "y": [1]}, "unequal_lengths", "/fields/y"),
        ({"a/b~": [None]}, "unsupported_value", "/fields/a~1b~0/0"),
        ({"x": ["long" * 1000, *[""] * 10_000]}, "dataset_too_large", "/fields/x"),
    ],
)
def test_lists_that_are_not_a_table_have_a_code_and_a_pointer(fields: dict[str, object], code: str, pointer: str) -> None:
    with pytest.raises(BadTable) as caught:
        encode_inline(fields)

    assert (caught.value.code, caught.value.pointer) == (code, pointer)


def test_lists_that_are_nested_too_deep_are_refused() -> None:
    deep: object = [1]
    for _ in range(500):
        deep = [deep]

    with pytest.raises(BadTable, match="501 deep"):
        encode_inline({"x": deep})
