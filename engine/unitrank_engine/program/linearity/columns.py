"""How far behind a place a model stays affine: up to there a changed unit changes a value by a fixed column."""

import re
from dataclasses import replace

from torch import fx

from unitrank_engine.program.linearity.affine import MOVING, is_affine
from unitrank_engine.program.nodes import operator_name
from unitrank_engine.program.places import Place, batch_axis
from unitrank_engine.program.program import Program
from unitrank_engine.program.split import Split, descendants

SCALING = re.compile(r"aten::(mul|div|add|sub|rsub|neg|batch_norm|_native_batch_norm_legit_no_training)$")
"""Change each value by itself: a column saves nothing, and its rounding may miss the very value that a comparison waits for."""


def affine_part(program: Program, place: Place, output: str) -> tuple[Split, Split] | None:
    """The tail cut in two: from the place to z, affine with one slope for all examples, and from z to the output.

    z is the farthest value that every way out passes; None where the place is followed at once by something else. The first
    split's tail gives z.
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
        if axis is not None and not _goes_around(graph, place.node, node, goal):
            sizes = node.meta["val"].shape
            shape = tuple(int(size) for index, size in enumerate(sizes) if index != axis)
            end = replace(place, node=node, shape=shape, batch_axis=axis, channel_axis=0)
            arguments = program.symbols, program.costs
            return Split(program.module, place, node, *arguments), Split(program.module, end, goal, *arguments)
    return None


def _goes_around(graph: fx.Graph, start: fx.Node, blocked: fx.Node, goal: fx.Node) -> bool:
    """Whether a way from `start` to `goal` does not pass `blocked`."""
    reached = {start}
    for node in graph.nodes:
        if node is not blocked and any(source in reached for source in node.all_input_nodes):
            reached.add(node)
    return goal in reached
