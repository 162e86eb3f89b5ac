"""The tests check types and shapes on every call into the engine."""

import pytest
import torch
from beartype.roar import BeartypeCallHintParamViolation
from jaxtyping import TypeCheckError

from unitrank_engine.methods.batch import PathGap
from unitrank_engine.program.nodes import operator_name


def test_function_when_the_shapes_of_two_arguments_disagree_then_raises() -> None:
    with pytest.raises(TypeCheckError, match="rows"):
        PathGap.measured(torch.zeros(2), torch.zeros(3))


def test_function_without_shapes_when_the_type_of_an_argument_is_wrong_then_raises() -> None:
    with pytest.raises(BeartypeCallHintParamViolation, match="operator_name"):
        operator_name("relu")
