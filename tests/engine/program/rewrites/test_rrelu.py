"""`rrelu` is a leaky ReLU; in training mode it is refused."""

import pytest
import torch
from torch import nn

from tests.engine.in_process import export
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program
from unitrank_engine.program.rewrites.rrelu import rrelu

X = torch.tensor([[-2.0, -0.5, 0.0, 3.0], [1.0, -1.0, 2.0, -4.0]])


def test_values_are_those_of_the_module_in_evaluation_mode() -> None:
    module = nn.RReLU(0.1, 0.4).eval()

    program = Program.from_exported(export(module, X))

    torch.testing.assert_close(program.forward((X,), next(iter(program.outputs))), module(X))


@pytest.mark.parametrize("training", [True, 1])
def test_training_mode_is_refused_also_when_it_is_a_number(training: int) -> None:
    with pytest.raises(EngineError, match="draws random slopes") as caught:
        rrelu(X, 0.1, 0.4, training)

    assert caught.value.code == "training_mode"
