from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitrank_tables.range_result import RangeResult, SumTree


def _result(number: int) -> RangeResult:
    values = np.random.default_rng(number).standard_normal(3) * 10.0 ** (number % 7)
    return RangeResult({"sum": values}, {"row": np.array([number])})


def _joined(numbers: Sequence[int]) -> np.ndarray:
    """The sum by the definition: pairs of neighbours, level by level."""
    level = [_result(number).sums["sum"] for number in numbers]
    while len(level) > 1:
        level = [sum(level[start + 1 : start + 2], level[start]) for start in range(0, len(level), 2)]
    return level[0]


@given(st.permutations(range(13)).flatmap(lambda order: st.integers(1, 13).map(lambda n: [each for each in order if each < n])))
def test_results_in_any_order_give_the_same_bits(order: list[int]) -> None:
    tree = SumTree(len(order))
    for number in order:
        tree.add(number, _result(number))

    result = tree.result()
    assert result.sums["sum"].tobytes() == _joined(range(len(order))).tobytes()
    assert result.rows["row"].tolist() == list(range(len(order)))


def test_results_in_order_leave_few_in_memory() -> None:
    tree, most = SumTree(1000), 0
    for number in range(1000):
        tree.add(number, _result(number))
        most = max(most, tree.held)

    assert most <= 11


def test_a_missing_range_leaves_no_result() -> None:
    tree = SumTree(2)
    tree.add(1, _result(1))

    with pytest.raises(KeyError):
        tree.result()


def test_ranges_with_different_arrays_are_not_joined() -> None:
    with pytest.raises(ValueError, match="different arrays"):
        _result(0).joined(RangeResult({"other": np.zeros(3)}))


def test_an_encoded_result_decodes_to_the_same_arrays() -> None:
    result = RangeResult({"a": np.arange(6.0).reshape(2, 3).T}, {"b": np.array([True, False]), "c": np.zeros((0, 4), np.float32)})

    decoded = RangeResult.decode(result.encode())

    for before, after in ((result.sums, decoded.sums), (result.rows, decoded.rows)):
        assert before.keys() == after.keys()
        for name, array in before.items():
            assert after[name].dtype == array.dtype
            np.testing.assert_array_equal(after[name], array)
