"""From an exported program to one pure graph that runs at any batch size."""

import operator

import torch
from torch import fx
from torch.export import ExportedProgram

from worker.errors import EngineError

aten = torch.ops.aten

# Each is drawn anew on every call: the graph was exported in training mode.
TRAINING = {
    "aten::dropout": 2,
    "aten::feature_dropout": 2,
    "aten::alpha_dropout": 2,
    "aten::native_dropout": 2,
    "aten::batch_norm": 5,
    "aten::instance_norm": 5,
    "aten::_native_batch_norm_legit": 5,
    "aten::_native_batch_norm_legit_functional": 5,
    "aten::native_batch_norm": 5,
}
"""Operators with a training flag, by the flag's position."""

ASSERTIONS = {
    "aten::_assert_async",
    "aten::_assert_scalar",
    "aten::_assert_tensor_metadata",
    "aten::sym_constrain_range",
    "aten::sym_constrain_range_for_size",
}


def operator_name(node: fx.Node) -> str:
    """`aten::relu` for a call of any of its overloads, else the empty string."""
    return node.target._schema.name if isinstance(node.target, torch._ops.OpOverload) else ""


def refuse_training_mode(graph: fx.Graph) -> None:
    """Raises EngineError `training_mode` where dropout or batch statistics of training are baked in."""
    for node in graph.nodes:
        position = TRAINING.get(operator_name(node))
        if position is None:
            continue
        schema = node.target._schema.arguments[position].name
        flag = node.args[position] if len(node.args) > position else node.kwargs.get(schema)
        if flag is True:
            raise EngineError(
                "training_mode",
                f"the model was exported in training mode ('{node.target}' draws or averages over the batch); "
                "call model.eval() before torch.export.export",
            )


def functionalise(exported: ExportedProgram) -> fx.GraphModule:
    """The program as a graph without in-place operations, whose parameters are frozen attributes.

    Raises EngineError `training_mode`.
    """
    refuse_training_mode(exported.graph)
    module = exported.run_decompositions({}).module(check_guards=False)
    assert isinstance(module, fx.GraphModule)
    refuse_training_mode(module.graph)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    graph = module.graph
    for node in list(graph.nodes):
        if node.target is aten.view.default:
            # a baked view fails on other memory formats
            node.target = aten.reshape.default
        elif operator_name(node) in ASSERTIONS or (node.target is operator.le and not node.users):
            graph.erase_node(node)
    graph.eliminate_dead_code()
    return fx.GraphModule(module, graph)
