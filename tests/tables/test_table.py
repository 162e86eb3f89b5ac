"""Tables that numpy and safetensors write are read as these libraries read them, packed or not."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from safetensors.numpy import save

from unitrank_tables import Table, open_table
from unitrank_tables.errors import BadTable

Array = np.ndarray[Any, np.dtype[Any]]
Fields = dict[str, Array]

NUMBERS = st.one_of(
    st_numpy.boolean_dtypes(),
    st_numpy.integer_dtypes(endianness="?"),
    st_numpy.unsigned_integer_dtypes(endianness="?"),
    st_numpy.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
)
ANY = st.one_of(NUMBERS, st_numpy.unicode_string_dtypes(endianness="?", max_len=5), st_numpy.byte_string_dtypes(max_len=5))
NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=300, exclude_characters="/\\:"), min_size=1, max_size=8).filter(
    lambda name: name.isprintable() and name not in ("file", "args", "kwds", "allow_pickle") and not name.startswith("__")
)


def elements(dtype: np.dtype[Any]) -> st.SearchStrategy[Any]:
    """All numbers of the type; for strings all Unicode texts."""
    letters: dict[str, Any] = {"alphabet": st.characters(exclude_categories=["Cs"])} if dtype.kind == "U" else {}
    return st_numpy.from_dtype(dtype, **letters)


@st.composite
def tables(draw: st.DrawFn, dtypes: st.SearchStrategy[np.dtype[Any]]) -> Fields:
    rows = draw(st.integers(1, 5))
    shapes = st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
    arrays = dtypes.flatmap(lambda dtype: st_numpy.arrays(dtype, shapes.map(lambda rest: (rows, *rest)), elements=elements(dtype)))
    fields: Fields = draw(st.dictionaries(NAMES, arrays, min_size=1, max_size=3))
    return {name: np.asfortranarray(array) if draw(st.booleans()) else array for name, array in fields.items()}


def npz(fields: Fields) -> bytes:
    sink = io.BytesIO()
    np.savez(sink, **fields)  # type: ignore[arg-type]
    return sink.getvalue()


def packed_npz(fields: Fields) -> bytes:
    sink = io.BytesIO()
    np.savez_compressed(sink, **fields)  # type: ignore[arg-type]
    return sink.getvalue()


def safetensors(fields: Fields) -> bytes:
    return save({name: np.ascontiguousarray(array, array.dtype.newbyteorder("<")) for name, array in fields.items()})


def opened(folder: Path, data: bytes) -> Table:
    path = folder / "table"
    path.write_bytes(data)
    return open_table(path)


def expected(array: Array) -> Array:
    if array.dtype.kind == "S":
        decoded = [value.decode("utf-8", "backslashreplace") for value in array.ravel().tolist()]
        return np.array(decoded, dtype="U1" if not decoded else None).reshape(array.shape)
    return array


def check_equal(rows: Array, array: Array) -> None:
    np.testing.assert_array_equal(rows, expected(array))
    assert rows.dtype.kind == ("U" if array.dtype.kind == "S" else array.dtype.kind)
    assert rows.dtype.isnative
    assert rows.flags.c_contiguous
    assert rows.flags.owndata or rows.base is not None


def check_round_trip(folder: Path, fields: Fields, data: bytes) -> None:
    with opened(folder, data) as table:
        assert set(table.fields) == set(fields)
        for name, array in fields.items():
            backwards = np.arange(len(array))[::-1]
            kind = "str" if array.dtype.kind in "US" else array.dtype.newbyteorder("=").name

            assert table.examples == len(array)
            assert table.fields[name] == {"dtype": kind, "shape": [None, *array.shape[1:]]}
            check_equal(table.read(name, slice(None)), array)
            check_equal(table.read(name, backwards), array[::-1])
            check_equal(table.read(name, slice(1, None, 2)), array[1::2])
            check_equal(table.read(name, []), array[:0])


PROPERTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("write", [npz, packed_npz])
@PROPERTY
@given(fields=tables(ANY))
def test_npz_that_numpy_writes_is_read_equal(tmp_path: Path, write: Callable[[Fields], bytes], fields: Fields) -> None:
    check_round_trip(tmp_path, fields, write(fields))


@PROPERTY
@given(fields=tables(NUMBERS))
def test_safetensors_that_its_library_writes_is_read_equal(tmp_path: Path, fields: Fields) -> None:
    check_round_trip(tmp_path, fields, safetensors(fields))


@pytest.mark.parametrize("write", [npz, packed_npz, safetensors])
@PROPERTY
@given(data=st.data())
def test_a_file_with_changed_bytes_raises_bad_table_or_reads(
    tmp_path: Path, write: Callable[[Fields], bytes], data: st.DataObject
) -> None:
    good = write({"x": np.arange(12, dtype=np.float32).reshape(4, 3), "n": np.arange(4, dtype=np.uint8)})
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(bad)), st.integers(0, len(bad))))

    try:
        with opened(tmp_path, bytes(bad[:cut])) as table:
            for name in table.fields:
                table.read(name, slice(None))
    except BadTable:
        pass


@PROPERTY
@given(data=st.binary(max_size=200), start=st.sampled_from([b"PK", b"PK\x03\x04", b"PK\x05\x06", b"\x08" + b"\0" * 7 + b"{", b""]))
def test_any_bytes_raise_bad_table(tmp_path: Path, data: bytes, start: bytes) -> None:
    with pytest.raises(BadTable):
        opened(tmp_path, start + data)


@pytest.mark.parametrize("write", [npz, packed_npz, safetensors])
def test_rows_when_read_are_new_and_can_be_written_to(tmp_path: Path, write: Callable[[Fields], bytes]) -> None:
    with opened(tmp_path, write({"x": np.arange(6.0)})) as table:
        for rows in (slice(None), [0, 1], np.array([2, 3], np.int64)):
            table.read("x", rows)[:] = -1.0

        assert table.read("x", slice(None)).tolist() == list(range(6))


def test_rows_when_read_outlive_the_table(tmp_path: Path) -> None:
    with opened(tmp_path, npz({"x": np.arange(3)})) as table:
        rows = table.read("x", slice(None))

    assert rows.tolist() == [0, 1, 2]


def test_close_may_be_repeated_and_leaves_nothing_to_read(tmp_path: Path) -> None:
    table = opened(tmp_path, npz({"x": np.arange(3)}))
    table.read("x", [0])
    table.close()
    table.close()

    with pytest.raises(KeyError):
        table.read("x", [0])


def test_read_when_the_field_or_row_is_missing_then_raises(tmp_path: Path) -> None:
    with opened(tmp_path, npz({"x": np.arange(3)})) as table:
        with pytest.raises(KeyError):
            table.read("y", slice(None))
        with pytest.raises(IndexError):
            table.read("x", [3])


@pytest.mark.parametrize("write", [npz, packed_npz])
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "no_fields"),
        ({"x": np.zeros((0, 3))}, "no_examples"),
        ({"x": np.float32(1.0)}, "unequal_lengths"),
        ({"x": np.zeros(3), "y": np.zeros(2)}, "unequal_lengths"),
        ({"x": np.array([None, 1])}, "pickled_array"),
        ({"x": np.zeros(3, complex)}, "unsupported_dtype"),
        ({"x": np.zeros(3, np.longdouble)}, "unsupported_dtype"),
        ({"x": np.zeros(3, "M8[s]")}, "unsupported_dtype"),
        ({"x": np.zeros(3, "V4")}, "unsupported_dtype"),
        ({"x": np.zeros(3, [("a", "f4")])}, "unsupported_dtype"),
        ({"x" * 200: np.zeros(3)}, "bad_field_name"),
        ({"\x07": np.zeros(3)}, "bad_field_name"),
        ({f"x{index}": np.zeros(1) for index in range(1001)}, "too_many_fields"),
    ],
)
def test_npz_when_numpy_writes_arrays_that_are_not_a_table_then_the_error_has_a_code(
    tmp_path: Path, write: Callable[[Fields], bytes], fields: Fields, code: str
) -> None:
    with pytest.raises(BadTable) as caught:
        opened(tmp_path, write(fields))

    assert caught.value.code == code


@pytest.mark.parametrize("write", [npz, packed_npz, safetensors])
def test_arrays_over_the_limit_are_refused_before_they_are_read(tmp_path: Path, write: Callable[[Fields], bytes]) -> None:
    path = tmp_path / "table"
    path.write_bytes(write({"x": np.zeros(1000), "y": np.zeros(1000)}))

    with pytest.raises(BadTable) as caught:
        open_table(path, limit=15_999)

    assert caught.value.code == "dataset_too_large"
    open_table(path, limit=16_000).close()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\x93NUMPY\x01\x00", "numpy.savez"),
        (b"\x80\x04\x95", "pickle"),
        (b"x,y\n1,2\n", "starts with"),
        (b"P", "starts with"),
    ],
)
def test_a_file_of_another_kind_is_not_a_table_and_the_message_names_the_kind(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(BadTable, match=words) as caught:
        opened(tmp_path, data)

    assert caught.value.code == "not_a_table"


@pytest.mark.parametrize("code", [0x110000, 0xD800, 0xFFFFFFFF])
@pytest.mark.parametrize("order", "<>")
def test_strings_that_are_not_unicode_are_refused_when_read(tmp_path: Path, code: int, order: str) -> None:
    names = np.array([65, code], f"{order}u4").view(f"{order}U1")
    with opened(tmp_path, npz({"x": names})) as table:
        assert table.read("x", slice(0, 1)).tolist() == ["A"]
        with pytest.raises(BadTable) as caught:
            table.read("x", slice(None))

    assert caught.value.code == "bad_text"


def test_booleans_of_other_bytes_than_0_and_1_are_true(tmp_path: Path) -> None:
    strange = np.array([0, 1, 2, 255], np.uint8).view(bool)
    with opened(tmp_path, npz({"x": strange})) as table:
        read = table.read("x", slice(None))

    assert read.view(np.uint8).tolist() == [0, 1, 1, 1]
