"""The tests check types and shapes of calls into the engine."""

import pytest
import torch
from beartype.roar import BeartypeCallHintParamViolation
from jaxtyping import TypeCheckError

from tests.support.type_checks import MOST_CHECKED
from unitrank_engine.methods.batch import PathGap
from unitrank_engine.program.nodes import operator_name


def test_function_when_the_shapes_of_two_arguments_disagree_then_raises() -> None:
    with pytest.raises(TypeCheckError, match="rows"):
        PathGap.measured(torch.zeros(2), torch.zeros(3))


@pytest.mark.parametrize("number", [1, 2])
def test_function_when_a_test_has_called_it_often_then_only_its_first_calls_are_checked(number: int) -> None:
    """Each of two tests has its own first calls."""
    right, wrong = (torch.zeros(2), torch.zeros(2)), (torch.zeros(2), torch.zeros(3))
    for _ in range(MOST_CHECKED - 1):
        PathGap.measured(*right)

    with pytest.raises(TypeCheckError, match="rows"):
        PathGap.measured(*wrong)
    with pytest.raises(RuntimeError, match="size"):
        PathGap.measured(*wrong)


def test_function_without_shapes_when_the_type_of_an_argument_is_wrong_then_raises() -> None:
    with pytest.raises(BeartypeCallHintParamViolation, match="operator_name"):
        operator_name("relu")
