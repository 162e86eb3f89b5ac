import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitrank_tables.range_result import RangeJoin, RangeResult


def _result(number: int) -> RangeResult:
    values = np.random.default_rng(number).standard_normal(3) * 10.0 ** (number % 7)
    return RangeResult({"sum": values}, {"row": np.array([number])})


@given(st.integers(1, 13).flatmap(lambda count: st.permutations(range(count))))
def test_results_in_any_order_give_the_same_bits(order: list[int]) -> None:
    join = RangeJoin(len(order))
    for number in order:
        join.add(number, _result(number))

    result, expected = join.result(), np.zeros(3)
    for number in range(len(order)):
        expected += _result(number).sums["sum"]
    assert result.sums["sum"].tobytes() == expected.tobytes()
    assert result.rows["row"].tolist() == list(range(len(order)))


def test_results_in_order_do_not_wait() -> None:
    join = RangeJoin(100)
    for number in range(100):
        join.add(number, _result(number))

        assert join.waiting == 0
    assert join.missing == 0


def test_the_join_leaves_the_arrays_of_a_range_unchanged() -> None:
    first, join = _result(0), RangeJoin(2)
    before = first.sums["sum"].copy()
    join.add(0, first)
    join.add(1, _result(1))

    np.testing.assert_array_equal(first.sums["sum"], before)


def test_a_missing_range_leaves_no_result() -> None:
    join = RangeJoin(2)
    join.add(1, _result(1))

    with pytest.raises(ValueError, match="2 of 2 ranges are missing"):
        join.result()


def test_ranges_with_different_arrays_are_not_joined() -> None:
    join = RangeJoin(2)
    join.add(0, _result(0))

    with pytest.raises(ValueError, match="different arrays"):
        join.add(1, RangeResult({"other": np.zeros(3)}))


@pytest.mark.parametrize("lengths", [(2, 5, 0, 9), (0, 3, 1), (4, 1, 1)])
def test_ranges_of_different_lengths_follow_each_other(lengths: tuple[int, ...]) -> None:
    join, rows = RangeJoin(len(lengths)), [np.arange(2 * length).reshape(length, 2) for length in lengths]
    for number, each in enumerate(rows):
        join.add(number, RangeResult(rows={"row": each}))

    np.testing.assert_array_equal(join.result().rows["row"], np.concatenate(rows))


def test_ranges_with_rows_of_different_types_are_not_joined() -> None:
    join = RangeJoin(2)
    join.add(0, _result(0))

    with pytest.raises(ValueError, match="rows of different types"):
        join.add(1, RangeResult({"sum": np.zeros(3)}, {"row": np.zeros(1, np.uint8)}))


def test_an_encoded_result_decodes_to_the_same_arrays() -> None:
    result = RangeResult({"a": np.arange(6.0).reshape(2, 3).T}, {"b": np.array([True, False]), "c": np.zeros((0, 4), np.float32)})

    decoded = RangeResult.decode(result.encode())

    for before, after in ((result.sums, decoded.sums), (result.rows, decoded.rows)):
        assert before.keys() == after.keys()
        for name, array in before.items():
            assert after[name].dtype == array.dtype
            np.testing.assert_array_equal(after[name], array)


def test_rows_of_many_arrays_are_joined_in_the_memory_of_one_more_array() -> None:
    arrays, rows = 10, 20_000
    tracemalloc.start()
    try:
        join = RangeJoin(2)
        for number in range(2):
            join.add(number, RangeResult(rows={str(name): np.full(rows, number) for name in range(arrays)}))
        tracemalloc.reset_peak()
        result = join.result()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    size = sum(array.nbytes for array in result.rows.values())
    assert size < peak < size * (1 + 1 / arrays) + 20_000


@pytest.mark.parametrize(
    "other",
    [
        RangeResult({"sum": np.zeros((400, 1))}, {"row": np.zeros(1)}),
        RangeResult({"sum": np.zeros(1)}, {"row": np.zeros(1)}),
        RangeResult({"sum": np.zeros(3)}, {"row": np.zeros((1, 2))}),
        RangeResult({"sum": np.zeros(3)}, {"row": np.float64(0).reshape(())}),
    ],
    ids=["larger sum", "smaller sum", "wider rows", "scalar"],
)
def test_ranges_with_arrays_of_different_shapes_are_not_joined(other: RangeResult) -> None:
    join = RangeJoin(2)
    join.add(0, _result(0))

    with pytest.raises(ValueError, match=r"different shapes|instead of rows"):
        join.add(1, other)
