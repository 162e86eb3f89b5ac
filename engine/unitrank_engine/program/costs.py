"""Counts the floating-point operations of each node while one example of zeros passes the model."""

from typing import Any

import torch
from torch import Tensor, fx
from torch.utils.flop_counter import FlopCounterMode

from unitrank_engine.program.contracts.invented import invented_values


class Counting(fx.Interpreter):
    """Runs a graph node by node and counts the floating-point operations of each node.

    A node costs the operations of its matrix products and convolutions, plus one for each value of
    its result.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.costs: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        with FlopCounterMode(display=False) as counter:
            result = super().run_node(n)
        if n.op == "call_function":
            self.costs[n] = counter.get_total_flops() + (result.numel() if isinstance(result, Tensor) else 0)
        return result


def count_costs(module: fx.GraphModule, inputs: list[Tensor]) -> dict[fx.Node, int]:
    """Floating-point operations of each operator node for these inputs, in order of execution."""
    counting = Counting(module)
    with torch.no_grad(), invented_values():
        counting.run(*inputs)
    return counting.costs
