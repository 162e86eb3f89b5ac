"""Finds the value y from which on a model's tail is linear.

A target that is linear in the output is then a product of y and one vector for each example. So a
pass ends at y, and computes one number instead of the outputs of all classes.
"""

from dataclasses import replace

from torch import fx

from unitrank_engine.program.gradients import passes_gradients
from unitrank_engine.program.linearity.columns import goes_around
from unitrank_engine.program.linearity.linear import is_linear
from unitrank_engine.program.places import Place, batch_axis
from unitrank_engine.program.program import Program
from unitrank_engine.program.split import Split, descendants, row_size


def linear_end(program: Program, place: Place, output: str) -> tuple[Split, Split] | None:
    """The tail of the place cut in two at a value y: the part up to y, and the linear part behind.

    The output is an affine function of y, whose matrix autograd gives, and each path from the place
    to the output passes y. Of
    several such values, the one with the fewest operations up to the product with the vector is
    taken. None where the output itself is this value.
    """
    key = (place.node, output)
    if key not in program.linear_ends:
        program.linear_ends[key] = _linear_end(program, place, output)
    return program.linear_ends[key]


def _linear_end(program: Program, place: Place, output: str) -> tuple[Split, Split] | None:
    goal = program.outputs[output].node
    node = min(_candidates(program, place, goal), key=lambda each: _operations(program, place.node, each), default=goal)
    axis = batch_axis(node, program.symbols)
    if node is goal or axis is None:
        return None
    shape = tuple(int(size) for index, size in enumerate(node.meta["val"].shape) if index != axis)
    end = replace(place, node=node, shape=shape, batch_axis=axis, channel_axis=0)
    arguments = program.symbols, program.costs
    return Split(program.module, place, node, *arguments), Split(program.module, end, goal, *arguments)


def _candidates(program: Program, place: Place, goal: fx.Node) -> list[fx.Node]:
    """Return the values that each path passes and from which on the tail is linear."""
    graph, candidates = program.module.graph, [goal]
    on_paths = descendants(graph, place.node, goal) | {place.node}
    for node in reversed(graph.nodes):
        if node not in on_paths or node is goal:
            continue
        if batch_axis(node, program.symbols) is None or goes_around(graph, place.node, node, goal):
            continue
        behind = descendants(graph, node, goal)
        # An earlier value has all these operations behind it, too.
        if not all(is_linear(each, behind | {node}) and passes_gradients(each) for each in behind):
            break
        candidates.append(node)
    return candidates


def _operations(program: Program, start: fx.Node, node: fx.Node) -> int:
    """Return the operations of one example up to the value, and of its product with a vector."""
    computed = set() if node is start else descendants(program.module.graph, start, node)
    return sum(program.costs.get(each, 0) for each in computed) + 2 * row_size(node.meta["val"])
