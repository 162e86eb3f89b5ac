"""Reduces an output with further axes to one row of logits for each example, inside the graph.

The result is the program of a model that ends in the reduction. So methods, splits and ablation
need no case of their own: DeepLIFT, for example, has its rule for maxima.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import fx

from unitrank_engine.errors import EngineError
from unitrank_engine.program.outputs.class_axis import class_axis
from unitrank_engine.program.program import Program
from unitrank_engine.program.proof.checked_graph import CheckedGraph
from unitrank_engine.torch_private import OpOverload, tracing_mode
from unitrank_schemas.jobs.targets import Reduce, Target

aten = torch.ops.aten

MOST_KEPT = 8
"""The most reduced programs that a program keeps; a warm model serves many jobs."""


def reduced(program: Program, output: str, target: Target) -> Program:
    """The program whose output has the shape `[N, classes]`, as `target.reduce` says.

    It shares the parameters of `program`, which keeps it for later jobs. Without `reduce` it is
    `program` itself.

    Raises EngineError `output_not_supported` if the axis of the classes is not known.
    """
    if target.reduce is None:
        return program
    key = f"{output} {target.model_dump_json(include={'reduce'})}"
    if key not in program.reductions:
        if len(program.reductions) >= MOST_KEPT:
            program.reductions.clear()
        program.reductions[key] = _reduced(program, output, target.reduce)
    return program.reductions[key]


def _reduced(program: Program, output: str, reduce: Reduce) -> Program:
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    graph.graph_copy(program.module.graph, copies)
    outputs = {name: replace(value, node=copies[value.node]) for name, value in program.outputs.items()}
    node = _with_reduction(graph, outputs[output].node, reduce)
    shape = (None, *(int(size) for size in node.meta["val"].shape[1:]))
    outputs[output] = replace(outputs[output], node=node, shape=shape, dtype=node.meta["val"].dtype)
    graph.output(tuple(value.node for value in outputs.values()))
    return replace(
        program,
        module=CheckedGraph(program.module, graph),
        inputs={name: replace(value, node=copies.get(value.node, value.node)) for name, value in program.inputs.items()},
        outputs=outputs,
        places=[replace(place, node=copies[place.node]) for place in program.places],
        splits={},
        shared_splits={},
        joint_splits={},
        affine_parts={},
        linear_ends={},
        dense_parts={},
        moves={},
        constants={},
        heads={},
        reductions={},
        own_tails={},
    )


def _with_reduction(graph: fx.Graph, output: fx.Node, reduce: Reduce) -> fx.Node:
    axis, rank = class_axis(output), output.meta["val"].dim()
    if axis is None or rank < 3:
        raise EngineError(
            "output_not_supported",
            f"the output of shape {list(output.meta['val'].shape)} has no known axis of classes beside other axes; "
            "return one row of logits for each example, and leave `target.reduce` out",
        )
    node = output
    if node.meta["val"].dtype in (torch.float16, torch.bfloat16):
        node = _call(graph, aten._to_copy.default, (node,), dtype=torch.float32)
    axes = [index for index in range(1, rank) if index != axis]
    if reduce == "mean":
        return _call(graph, aten.mean.dim, (node, axes))
    if reduce == "max":
        return _call(graph, aten.amax.default, (node, axes))
    for index, position in reversed(list(zip(axes, reduce.at, strict=True))):
        node = _call(graph, aten.select.int, (node, index, position))
    return node


def _call(graph: fx.Graph, operator: OpOverload, args: tuple[Any, ...], **kwargs: Any) -> fx.Node:
    node = graph.call_function(operator, args, kwargs)
    value = args[0].meta["val"]
    with tracing_mode([value]):
        node.meta["val"] = operator(value, *args[1:], **kwargs)
    return node
