"""The contract of recurrent layers: each weight and bias has one row for each gate and unit.

torch traces a recurrent layer by its formula, which broadcasts a bias of one number. The kernel of
a CPU reads one number for each gate and unit, and so reads beyond the end of a shorter bias.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from unitrank_engine.errors import EngineError

aten = torch.ops.aten

LAYERS: dict[object, int] = {aten.lstm.input: 4, aten.gru.input: 3, aten.rnn_tanh.input: 1, aten.rnn_relu.input: 1}
CELLS: dict[object, int] = {
    aten.lstm_cell.default: 4,
    aten.gru_cell.default: 3,
    aten.rnn_tanh_cell.default: 1,
    aten.rnn_relu_cell.default: 1,
}
"""Operator → the number of gates of a unit."""

Shape = tuple[str, ...]
"""Sizes as text, because comparing a symbolic batch size would turn the symbol into a number."""


@dataclass(frozen=True)
class _WeightSizes:
    """`gates`: gates × units.

    `output`: the size of h, which is less than `units` with projections.
    """

    gates: str
    units: str
    output: str


def check_layer(node: fx.Node, arguments: Mapping[str, Any]) -> None:
    """Raises EngineError `weights_refused` for a recurrent layer whose tensors do not fit.

    `arguments`: the arguments of the call by name.
    """
    x, states, weights = arguments["input"], _states(arguments), arguments["params"]
    layers, directions = arguments["num_layers"], 2 if arguments["bidirectional"] else 1
    sizes = _sizes(node, states)
    axes = _shape(x)
    if len(axes) != 3:
        raise _refusal(node, "input", axes, "three axes")
    batch = axes[0 if arguments["batch_first"] else 1]
    for state, size in zip(states, (sizes.output, sizes.units), strict=False):
        _check(node, "a state", state, (str(layers * directions), batch, size))
    rows = list(_rows(sizes, arguments["has_biases"]))
    if not 1 <= layers <= len(weights) or len(weights) != layers * directions * len(rows):
        raise _refusal(node, "params", (str(len(weights)),), f"{len(rows)} tensors for each of {layers} × {directions} layers")
    for index, weight in enumerate(weights):
        layer, (name, shape) = index // (directions * len(rows)), rows[index % len(rows)]
        width = axes[2] if layer == 0 else str(directions * int(sizes.output))
        _check(node, name, weight, tuple(width if size == "input" else size for size in shape))
    _check_types(node, [x, *states, *weights])


def check_cell(node: fx.Node, arguments: Mapping[str, Any]) -> None:
    """Raises EngineError `weights_refused` for one step of a recurrent layer whose tensors do not
    fit.
    """
    x, states = arguments["input"], _states(arguments)
    sizes, axes = _sizes(node, states), _shape(x)
    if len(axes) != 2:
        raise _refusal(node, "input", axes, "two axes")
    for state in states:
        _check(node, "a state", state, (axes[0], sizes.units))
    weights = [arguments["w_ih"], arguments["w_hh"], arguments.get("b_ih"), arguments.get("b_hh")]
    for weight, (name, shape) in zip(weights, _rows(sizes, biases=True), strict=False):
        if weight is not None:
            _check(node, name, weight, tuple(axes[1] if size == "input" else size for size in shape))
    _check_types(node, [x, *states, *(weight for weight in weights if weight is not None)])


def _rows(sizes: _WeightSizes, biases: bool) -> Iterator[tuple[str, Shape]]:
    """The names and shapes of a layer's weights in ATen's order."""
    yield "w_ih", (sizes.gates, "input")
    yield "w_hh", (sizes.gates, sizes.output)
    if biases:
        yield "b_ih", (sizes.gates,)
        yield "b_hh", (sizes.gates,)
    if sizes.output != sizes.units:
        yield "w_hr", (sizes.output, sizes.units)


def _states(arguments: Mapping[str, Any]) -> list[fx.Node]:
    """The states: h, and for an LSTM c too."""
    states = arguments["hx"]
    return list(states) if isinstance(states, list | tuple) else [states]


def _sizes(node: fx.Node, states: list[fx.Node]) -> _WeightSizes:
    gates = (LAYERS | CELLS)[node.target]
    if len(states) != (2 if gates == 4 else 1):
        raise _refusal(node, "hx", (str(len(states)),), "two states for an LSTM, one for other layers")
    output, units = _shape(states[0])[-1:], _shape(states[-1])[-1:]
    if not all(size and size[0].isdecimal() and size != ("0",) for size in (output, units)):
        raise _refusal(node, "hx", _shape(states[0]), "a fixed number of units, at least one")
    return _WeightSizes(str(gates * int(units[0])), units[0], output[0])


def _check(node: fx.Node, name: str, tensor: fx.Node, expected: Shape) -> None:
    if _shape(tensor) != expected:
        raise _refusal(node, name, _shape(tensor), f"({', '.join(expected)})")


def _check_types(node: fx.Node, tensors: list[fx.Node]) -> None:
    types = {str(tensor.meta["val"].dtype) for tensor in tensors}
    if len(types) != 1:
        raise EngineError("weights_refused", f"{node.name} ({node.target}): its tensors are {sorted(types)}; expected one type")


def _shape(node: fx.Node) -> Shape:
    return tuple(str(size) for size in node.meta["val"].shape)


def _refusal(node: fx.Node, name: str, shape: Shape, expected: str) -> EngineError:
    return EngineError(
        "weights_refused", f"{node.name} ({node.target}): {name} has the shape ({', '.join(shape)}); expected {expected}"
    )
