"""Finds the last value z up to which a model is affine after a place.

Changing one unit of the place adds a fixed vector to z. The vector is a column of the matrix
between the place and z. Exact ablation adds columns instead of running these layers again.
"""

import re
from dataclasses import replace

from torch import fx

from unitrank_engine.program.linearity.affine import MOVING, is_affine
from unitrank_engine.program.nodes import operator_name
from unitrank_engine.program.places import Place, batch_axis
from unitrank_engine.program.program import Program
from unitrank_engine.program.split import Split, descendants

SCALING = re.compile(r"aten::(mul|div|add|sub|rsub|neg|batch_norm|_native_batch_norm_legit_no_training)$")
"""Operators that change each value separately.

A column saves no work here. Its rounding may also miss the exact value at which a later comparison
changes.
"""


def affine_part(program: Program, place: Place, output: str) -> tuple[Split, Split] | None:
    """The tail of the place cut in two at a value z: the affine part up to z, and the rest.

    z is affine in the place's value, with the same slope for all examples, and each path from the
    place to the output passes z. Of several such values, the last one is taken. The tail of the
    first split computes z; the second split is cut at z. None when no such value saves work.
    """
    key = (place.node, output)
    if key not in program.affine_parts:
        program.affine_parts[key] = _affine_part(program, place, output)
    return program.affine_parts[key]


def _affine_part(program: Program, place: Place, output: str) -> tuple[Split, Split] | None:
    graph, goal = program.module.graph, program.outputs[output].node
    after = descendants(graph, place.node, goal)
    affine = {place.node}
    for node in graph.nodes:
        if node in after and is_affine(node, affine, after | {place.node}):
            affine.add(node)
    order = [node for node in graph.nodes if node in affine and node is not place.node]
    if all(MOVING.match(operator_name(node)) or SCALING.match(operator_name(node)) for node in order):
        return None
    for node in reversed(order):
        axis = batch_axis(node, program.symbols)
        if axis is not None and not goes_around(graph, place.node, node, goal):
            sizes = node.meta["val"].shape
            shape = tuple(int(size) for index, size in enumerate(sizes) if index != axis)
            end = replace(place, node=node, shape=shape, batch_axis=axis, channel_axis=0)
            arguments = program.symbols, program.costs
            return Split(program.module, place, node, *arguments), Split(program.module, end, goal, *arguments)
    return None


def goes_around(graph: fx.Graph, start: fx.Node, blocked: fx.Node, goal: fx.Node) -> bool:
    """Whether a path from `start` to `goal` does not pass `blocked`."""
    reached = {start}
    for node in graph.nodes:
        if node is not blocked and any(source in reached for source in node.all_input_nodes):
            reached.add(node)
    return goal in reached
