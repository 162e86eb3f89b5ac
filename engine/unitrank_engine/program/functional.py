"""From an exported program to one pure graph that runs at any batch size."""

import operator
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram

from unitrank_engine.errors import EngineError
from unitrank_engine.program.nodes import operator_name
from unitrank_engine.torch_private import OpOverload, argument_names, has_no_statistics

aten = torch.ops.aten

FLAGS = ("train", "training")
RATES = ("p", "dropout", "dropout_p")
"""How ATen names the arguments that make an operator draw at random or average over the batch."""

ASSERTIONS = {
    "aten::_assert_async",
    "aten::_assert_scalar",
    "aten::_assert_tensor_metadata",
    "aten::sym_constrain_range",
    "aten::sym_constrain_range_for_size",
}


def refuse_training_mode(graph: fx.Graph) -> None:
    """Raises EngineError `training_mode` where dropout or batch statistics of training are baked in."""
    for node in graph.nodes:
        if _is_training(node):
            raise EngineError(
                "training_mode",
                f"the model was exported in training mode ('{node.target}' draws or averages over the batch); "
                "call model.eval() before torch.export.export",
            )


def _is_training(node: fx.Node) -> bool:
    if not isinstance(node.target, OpOverload) or has_no_statistics(node.target):
        return False  # without statistics of the batch: an instance norm, which is the same in evaluation mode
    names = argument_names(node.target)
    values = dict(zip(names, node.args, strict=False)) | node.kwargs
    rates = [values[name] for name in RATES if isinstance(values.get(name), float)]
    if any(name in names for name in FLAGS):
        return any(values.get(name) is True for name in FLAGS) and all(rate != 0.0 for rate in rates)
    return "dropout_p" in names and any(rate != 0.0 for rate in rates)


def functionalise(exported: ExportedProgram) -> fx.GraphModule:
    """The program as a graph without in-place operations, whose parameters are frozen attributes.

    Raises EngineError `training_mode`.
    """
    refuse_training_mode(exported.graph)
    module = exported.run_decompositions({}).module(check_guards=False)
    assert isinstance(module, fx.GraphModule)
    refuse_training_mode(module.graph)
    _freeze(module)
    graph = module.graph
    for node in list(graph.nodes):
        if node.target in (aten.view.default, aten._unsafe_view.default):
            # a baked view fails on other memory formats
            node.target = aten.reshape.default
        elif node.target is aten.copy.default:
            _write_out(graph, node)
        elif node.target is aten.copy_.default:
            # what a pass leaves behind, in a buffer or in what it was given, must not be there for the next
            node.replace_all_uses_with(node.args[1])
            graph.erase_node(node)
        elif operator_name(node) in ASSERTIONS or (node.target is operator.le and not node.users):
            graph.erase_node(node)
    graph.eliminate_dead_code()
    # called with one tensor after another, whatever the model's own signature is
    graph.set_codegen(fx.graph.CodeGen())
    return fx.GraphModule(module, graph)


def _write_out(graph: fx.Graph, node: fx.Node) -> None:
    """What is left of an assignment has no derivative: the value itself, in the type and shape of what it replaces, has one."""
    replaced, value = node.args[:2]
    assert isinstance(replaced, fx.Node)
    assert isinstance(value, fx.Node)
    old, new = replaced.meta["val"], value.meta["val"]
    with graph.inserting_before(node):
        if new.dtype != old.dtype:
            value = _call(graph, node, aten._to_copy.default, (value,), {"dtype": old.dtype})
        value = _call(graph, node, aten.expand_as.default, (value, replaced), {})
    node.replace_all_uses_with(value)
    graph.erase_node(node)


def _call(graph: fx.Graph, like: fx.Node, target: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> fx.Node:
    node = graph.call_function(target, args, kwargs)
    node.meta = dict(like.meta)
    return node


def _freeze(module: nn.Module) -> None:
    """Exchanges the parameters for frozen ones of the same memory: the module that was exported keeps its own, as they are."""
    frozen: dict[nn.Parameter, nn.Parameter] = {}
    for path, parameter in list(module.named_parameters(remove_duplicate=False)):
        owner, _, name = path.rpartition(".")
        if parameter not in frozen:
            frozen[parameter] = nn.Parameter(parameter.detach(), requires_grad=False)
        setattr(module.get_submodule(owner), name, frozen[parameter])
