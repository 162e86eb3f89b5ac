"""A recurrent layer whose weights, biases or states do not fit is refused before it runs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of
from unitrank_engine.errors import EngineError

aten = torch.ops.aten

UNITS, INPUTS = 6, 4
LAYERS = {"lstm": (aten.lstm.input, 4), "gru": (aten.gru.input, 3), "rnn_tanh": (aten.rnn_tanh.input, 1)}
CELLS = {"lstm": (aten.lstm_cell.default, 4), "gru": (aten.gru_cell.default, 3), "rnn_relu": (aten.rnn_relu_cell.default, 1)}


class Layer(nn.Module):
    """Calls ATen's recurrent layer or cell with these weights."""

    def __init__(self, operator: Callable[..., Any], weights: list[Tensor], state: Tensor, *options: Any) -> None:
        super().__init__()
        self.operator, self.options, self.count = operator, options, len(weights)
        self.lstm = "lstm" in str(operator)
        self.register_buffer("state", state)
        for number, weight in enumerate(weights):
            self.register_buffer(f"weight_{number}", weight)

    def forward(self, x: Tensor) -> Tensor:
        weights = [getattr(self, f"weight_{number}") for number in range(self.count)]
        assert isinstance(self.state, Tensor)
        shape = list(self.state.shape)
        shape[-2] = x.shape[0]
        state = self.state.expand(shape)
        given = [state, state] if self.lstm else state
        results = self.operator(x, given, weights, *self.options) if self.options else self.operator(x, given, *weights)
        return (results if isinstance(results, Tensor) else results[0]).flatten(1)


def weights_of(gates: int) -> list[Tensor]:
    """w_ih, w_hh, b_ih and b_hh."""
    rows = gates * UNITS
    return [torch.randn(rows, INPUTS), torch.randn(rows, UNITS), torch.randn(rows), torch.randn(rows)]


def layer(name: str, weights: list[Tensor], state: Tensor, layers: int = 1) -> Layer:
    return Layer(LAYERS[name][0], weights, state, True, layers, 0.0, False, False, True)


WRONG: dict[str, Callable[[list[Tensor]], list[Tensor]]] = {
    "a_bias_of_one_number": lambda weights: [*weights[:2], torch.zeros(1), torch.zeros(1)],
    "a_second_bias_of_one_number": lambda weights: [*weights[:3], torch.zeros(1)],
    "a_bias_with_an_axis_of_one": lambda weights: [*weights[:2], weights[2][None], weights[3]],
}


def code_of(network: nn.Module, x: Tensor) -> str:
    """The code of the refusal; torch's own refusal while it exports the network counts as well."""
    with pytest.raises(EngineError) as caught:
        program_of(network, x)
    return caught.value.code


@pytest.mark.parametrize("name", list(LAYERS))
@pytest.mark.parametrize("fault", list(WRONG))
def test_a_layer_whose_weights_do_not_fit_is_refused(name: str, fault: str) -> None:
    """With a bias of one number, lstm.input returned numbers from beyond the bias."""
    weights = WRONG[fault](weights_of(LAYERS[name][1]))

    assert code_of(layer(name, weights, torch.zeros(1, 1, UNITS)), torch.randn(2, 3, INPUTS)) == "weights_refused"


@pytest.mark.parametrize("name", list(CELLS))
def test_a_cell_whose_bias_is_one_number_is_refused(name: str) -> None:
    weights = WRONG["a_bias_of_one_number"](weights_of(CELLS[name][1]))
    network = Layer(CELLS[name][0], weights, torch.zeros(1, UNITS))

    assert code_of(network, torch.randn(2, INPUTS)) == "weights_refused"


@pytest.mark.filterwarnings("ignore:The tensor attributes:UserWarning")  # torch warns about its own layers.
@pytest.mark.parametrize(
    "network",
    [
        nn.LSTM(INPUTS, UNITS, batch_first=True),
        nn.LSTM(INPUTS, UNITS, num_layers=2, bidirectional=True, batch_first=True),
        nn.LSTM(INPUTS, UNITS, batch_first=True, proj_size=3, num_layers=2),
        nn.LSTM(INPUTS, UNITS, batch_first=True, bias=False),
        nn.GRU(INPUTS, UNITS, num_layers=2, bidirectional=True, batch_first=True),
        nn.RNN(INPUTS, UNITS, nonlinearity="relu", batch_first=True),
        nn.RNN(INPUTS, UNITS, bias=False, batch_first=True),
    ],
    ids=str,
)
def test_a_layer_of_torch_passes(network: nn.Module) -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = network

        def forward(self, x: Tensor) -> Tensor:
            return self.recurrent(x)[0].flatten(1)

    assert program_of(First(), torch.randn(2, 3, INPUTS)).places


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_a_cell_of_torch_passes(cell: type[nn.Module]) -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell(INPUTS, UNITS)

        def forward(self, x: Tensor) -> Tensor:
            states = self.cell(x)
            return states if isinstance(states, Tensor) else states[0]

    assert program_of(First(), torch.randn(2, INPUTS)).places
