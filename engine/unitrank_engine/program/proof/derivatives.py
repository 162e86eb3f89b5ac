"""Proves that gradients pass back through a graph with complex values."""

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from unitrank_engine.errors import EngineError
from unitrank_engine.program.contracts.invented import invented_values
from unitrank_engine.program.nodes import computes_complex_values
from unitrank_engine.program.proof.proving_run import does_not_run, example
from unitrank_engine.torch_private import tree_leaves


def prove_gradients(module: fx.GraphModule, shapes: Sequence[Sequence[int | None]], device: torch.device) -> None:
    """Passes gradients back through a graph with complex values.

    torch has no derivative for complex numbers of some operators, such as a SiLU.

    Raises EngineError `no_derivative` for such an operator.
    """
    nodes = [node for node in module.graph.nodes if node.op == "placeholder"]
    if not computes_complex_values(module.graph):
        return

    def invented(rows: int) -> list[Tensor]:
        return [
            example([rows if size is None else size for size in shape], node.meta["val"].dtype, device)
            for shape, node in zip(shapes, nodes, strict=True)
        ]

    inputs = invented(1)
    real = [each.requires_grad_() for each in inputs if each.is_floating_point()]
    try:
        with torch.enable_grad(), invented_values():
            results = [value for value in tree_leaves(module(*inputs)) if isinstance(value, Tensor) and value.requires_grad]
            if results:
                torch.autograd.grad(results, real, [torch.ones_like(value) for value in results], allow_unused=True)
    except RuntimeError as error:
        raise (no_derivative(error) or does_not_run(error, 1, lambda rows: module(*invented(rows)))) from error


def no_derivative(error: Exception) -> EngineError | None:
    """The error for an operator without a derivative; None for another error of torch."""
    if "automatic differentiation" not in str(error):
        return None
    operator = str(error).partition(" ")[0]
    return EngineError(
        "no_derivative",
        f"torch has no derivative of {operator} for complex numbers; "
        "compute it from the real and the imaginary part: torch.view_as_real(z), and torch.view_as_complex afterwards",
    )
