"""Turns an exported program into a graph without side effects that runs at any batch size.

An exported program can change tensors in place and update buffers. Methods run parts of the graph
again and again, so each run must leave its arguments and buffers as they are.
"""

import operator
from collections.abc import Collection
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram

from unitrank_engine.errors import EngineError, is_out_of_memory
from unitrank_engine.program.nodes import operator_name
from unitrank_engine.program.proof.derivatives import no_derivative
from unitrank_engine.program.rewrites import REWRITES
from unitrank_engine.program.rewrites.complex_numbers import write_in_parts
from unitrank_engine.torch_private import OpOverload, argument_names, has_no_statistics, quick_decompositions, tracing_mode

aten = torch.ops.aten

FLAGS = ("train", "training")
RATES = ("p", "dropout", "dropout_p")
"""Names of ATen arguments that make an operator random, or make it average over the batch."""

# Checks at run time that torch.export adds to the graph. They are removed.
ASSERTIONS = {
    "aten::_assert_async",
    "aten::_assert_scalar",
    "aten::_assert_tensor_metadata",
    "aten::sym_constrain_range",
    "aten::sym_constrain_range_for_size",
}


def refuse_training_mode(graph: fx.Graph, inputs: Collection[str]) -> None:
    """Raises EngineError `training_mode` when a node drops values or averages over the batch.

    A batch norm of weights averages over no batch: networks standardise their weights with it.

    `inputs`: the names of the placeholders that hold the model's inputs.
    """
    dependent: set[fx.Node] = set()
    for node in graph.nodes:
        if node.name in inputs or any(source in dependent for source in node.all_input_nodes):
            dependent.add(node)
        if _is_training(node) and (node in dependent or operator_name(node) != "aten::batch_norm"):
            raise EngineError(
                "training_mode",
                f"the model was exported in training mode: '{node.target}' draws random numbers or averages over the batch; "
                "call model.eval() before torch.export.export",
            )


def _is_training(node: fx.Node) -> bool:
    if not isinstance(node.target, OpOverload) or has_no_statistics(node.target):
        # Without statistics, the operator is an instance norm: evaluation mode changes nothing.
        return False
    names = argument_names(node.target)
    values = dict(zip(names, node.args, strict=False)) | node.kwargs
    rates = [values[name] for name in RATES if isinstance(values.get(name), float)]
    if any(name in names for name in FLAGS):
        return any(values.get(name) is True for name in FLAGS) and all(rate != 0.0 for rate in rates)
    return "dropout_p" in names and any(rate != 0.0 for rate in rates)


def functionalise(exported: ExportedProgram) -> fx.GraphModule:
    """The program as a graph without in-place operations; its parameters require no gradients.

    Operators that can reach memory outside their tensors are replaced, see `rewrites`.

    Raises EngineError `training_mode`; `not_loadable` for shapes that torch cannot compute;
    `program_refused` or `weights_refused` for an operator that cannot be replaced.
    """
    refuse_training_mode(exported.graph, exported.graph_signature.user_inputs)
    module = _decomposed(exported).module(check_guards=False)
    assert isinstance(module, fx.GraphModule)
    refuse_training_mode(module.graph, [node.name for node in module.graph.nodes if node.op == "placeholder"])
    _freeze(module)
    graph = module.graph
    written = any(node.target is aten.copy.default for node in graph.nodes)
    written = write_in_parts(graph) or written
    for node in list(graph.nodes):
        if node.target in (aten.view.default, aten._unsafe_view.default):
            # view fails when the tensor has another memory format than at export.
            node.target = aten.reshape.default
        elif node.target is aten.copy.default:
            _write_out(graph, node)
        elif node.target is aten.copy_.default:
            # Writes into buffers and arguments are left out: the next run must not see them.
            node.replace_all_uses_with(node.args[1])
            graph.erase_node(node)
        elif operator_name(node) in ASSERTIONS or (node.target is operator.le and not node.users):
            graph.erase_node(node)
    graph.eliminate_dead_code()
    if written:
        _trace_again(graph)
    # The graph is called with tensors by position, not with the nested arguments of the model.
    graph.set_codegen(fx.graph.CodeGen())
    return fx.GraphModule(module, graph)


def _decomposed(exported: ExportedProgram) -> ExportedProgram:
    """The program in core operators. torch computes each shape of the program again for it."""
    try:
        with quick_decompositions():
            decomposed: ExportedProgram = exported.run_decompositions(dict(REWRITES))
        return decomposed
    except EngineError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        if (refusal := no_derivative(error)) is not None:
            raise refusal from error
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise EngineError(
            "not_loadable",
            f"torch {torch.__version__} cannot compute the shapes of the program: {reason}; "
            "export the network again with unitrank.export, and do not change the archive",
        ) from error


def _write_out(graph: fx.Graph, node: fx.Node) -> None:
    """Replaces an assignment (`aten.copy`) by the assigned value.

    The copy has no derivative, and the value has one. The value takes the type and shape of the
    tensor that the assignment overwrites.
    """
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


def _trace_again(graph: fx.Graph) -> None:
    """Computes `val` of each node again.

    A value that replaces an assignment can have another memory layout than the tensor that it was
    assigned to, and later results keep that layout.
    """
    with tracing_mode(node.meta["val"] for node in graph.nodes if node.op == "placeholder"):
        for node in graph.nodes:
            if node.op == "call_function":
                args, kwargs = fx.map_arg((node.args, node.kwargs), lambda source: source.meta["val"])
                node.meta["val"] = node.target(*args, **kwargs)


def _call(graph: fx.Graph, like: fx.Node, target: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> fx.Node:
    node = graph.call_function(target, args, kwargs)
    node.meta = dict(like.meta)
    return node


def _freeze(module: nn.Module) -> None:
    """Replaces each parameter by a frozen one that shares its memory.

    The parameters of the module that was exported stay as they are.
    """
    frozen: dict[nn.Parameter, nn.Parameter] = {}
    for path, parameter in list(module.named_parameters(remove_duplicate=False)):
        owner, _, name = path.rpartition(".")
        if parameter not in frozen:
            frozen[parameter] = nn.Parameter(parameter.detach(), requires_grad=False)
        setattr(module.get_submodule(owner), name, frozen[parameter])
