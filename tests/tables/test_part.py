"""Parts, and the arrays of results, as bytes."""

import numpy as np
import pytest
from safetensors.numpy import load

from unitrank_tables.part import Part, decode_part, encode_part
from unitrank_tables.result_arrays import encode_arrays

PART = Part(
    {
        "sums": np.random.default_rng(0).normal(size=(3, 4, 5)),
        "right": np.array([True, False]),
        "order": np.arange(5, dtype=np.int32),
        "none": np.zeros((0, 7)),
    },
    {"warnings": [["a", "é"]], "numbers": {"steps": 7}},
)


@pytest.mark.parametrize("part", [PART, Part()])
def test_part_when_encoded_then_is_decoded_to_the_bit(part: Part) -> None:
    decoded = decode_part(encode_part(part))

    assert decoded is not None
    assert decoded.metadata == part.metadata
    assert decoded.arrays.keys() == part.arrays.keys()
    for name, array in part.arrays.items():
        np.testing.assert_array_equal(decoded.arrays[name], array, strict=True)


@pytest.mark.parametrize("data", [b"", b"{}", b"\x08\0\0\0\0\0\0\0{}      ", encode_part(PART)[:-1], encode_part(PART)[9:]])
def test_part_when_the_bytes_are_not_a_part_then_is_none(data: bytes) -> None:
    assert decode_part(data) is None


def test_arrays_when_encoded_then_floats_are_float32_and_integers_int64() -> None:
    arrays = load(encode_arrays({"x": np.ones((2, 3)), "h": np.ones(2, np.float16), "n": np.arange(3, dtype=np.uint8)}))

    assert {name: array.dtype for name, array in arrays.items()} == {"x": np.float32, "h": np.float32, "n": np.int64}


@pytest.mark.parametrize("array", [np.array([True]), np.array(["a"]), np.array([1j])])
def test_arrays_when_one_holds_no_numbers_then_raises(array: np.ndarray[tuple[int], np.dtype[np.generic]]) -> None:
    with pytest.raises(ValueError, match="'x' holds"):
        encode_arrays({"x": array})
