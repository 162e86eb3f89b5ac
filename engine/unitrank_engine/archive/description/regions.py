"""Replaces each region without gradients by its nodes, and detaches the results of the region.

torch.export writes the lines under `torch.no_grad()` as one node; the graph of these lines is an
argument of that node. `run_decompositions` puts the lines back into the program, and their
gradients with them. This module puts the lines back too, and then passes each result of the region
through `aten.detach`, which stops gradients as the region does.

All further checks see a program without regions, and torch loads no region.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, TypeVar

from unitrank_engine.archive.description.graph import Argument, Graph, NamedArgument, Node, TensorName, names_of
from unitrank_engine.archive.description.names import ArchiveSchema
from unitrank_engine.archive.description.operators import IN_PLACE, REGION, may_return_argument
from unitrank_engine.archive.errors import ArchiveError, escaped

# A program that was exported under no_grad can have a region with gradients. Its results keep
# their gradients, and aten.alias gives them the names that the program uses.
_END = {False: "torch.ops.aten.detach.default", True: "torch.ops.aten.alias.default"}
_VALUES = ("tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values")
_LONGEST_NAME = 400

Schema = TypeVar("Schema", bound=ArchiveSchema)


def without_regions(graph: Graph) -> Graph:
    """The graph with the nodes of each region in place of the region.

    Raises ArchiveError `program_refused` for a region, or for a graph as an argument, that
    torch.export does not write.
    """
    _check_graph_arguments(graph.nodes, inside=False)
    regions = [node for node in graph.nodes if node.target == REGION]
    if not regions:
        return graph
    fresh = _FreshNames(graph)
    nodes: list[Node] = []
    # Any: the fields hold values of different types.
    values: dict[str, dict[str, Any]] = {field: dict(getattr(graph, field)) for field in _VALUES}
    for node in graph.nodes:
        inlined = _inlined(node, fresh) if node.target == REGION else None
        nodes += inlined.nodes if inlined else [node]
        for field in _VALUES if inlined else ():
            values[field].update(getattr(inlined, field))
    return graph.model_copy(update={"nodes": nodes} | values)


class _FreshNames:
    """Gives each value of a region a name that no other value of the program has."""

    def __init__(self, graph: Graph) -> None:
        self._used = {name for field in _VALUES for name in getattr(graph, field)}
        self._used.update(name for node in graph.nodes for output in node.outputs for name in names_of(output))
        self._used.update(node.name for node in graph.nodes if node.name)
        self._numbers = count(1)

    def __call__(self, name: str) -> str:
        fresh = name = name[:_LONGEST_NAME]
        while fresh in self._used:
            fresh = f"{name}_{next(self._numbers)}"
        self._used.add(fresh)
        return fresh


def _inlined(region: Node, fresh: _FreshNames) -> Graph:
    """The region's nodes and values under fresh names; its results keep their names outside."""
    enabled, graph, given = _parts(region)
    names = dict(_pairs(graph.inputs, given))
    results = dict(_pairs(region.outputs, graph.outputs))
    numbers = {inner: outer for outer, inner in results.items() if inner in graph.sym_int_values}
    inputs, own = set(names), set(graph.sym_int_values)
    nodes = []
    for node in graph.nodes:
        _check_in_place(node, own)
        outputs_of_node = [name for output in node.outputs for name in names_of(output)]
        read = {name for argument in node.inputs for name in names_of(argument.arg)}
        if read <= own or not may_return_argument(node.target):
            own.update(outputs_of_node)
        arguments = [_renamed(argument, names) for argument in node.inputs]
        names |= {name: numbers.get(name) or fresh(name) for name in outputs_of_node}
        outputs = [_renamed(output, names) for output in node.outputs]
        label = None if node.name is None else names.get(node.name) or fresh(node.name)
        nodes.append(node.model_copy(update={"inputs": arguments, "outputs": outputs, "name": label}))
    nodes += [
        _end(region, enabled, _renamed(TensorName(name=inner), names), TensorName(name=outer))
        for outer, inner in results.items()
        if inner not in graph.sym_int_values
    ]
    values = {
        field: {names[name]: value for name, value in getattr(graph, field).items() if name in names and name not in inputs}
        for field in _VALUES
    }
    return graph.model_copy(update={"nodes": nodes} | values)


def _end(region: Node, enabled: bool, inner: TensorName, outer: TensorName) -> Node:
    """The node that gives a result of the region its name outside."""
    argument = NamedArgument(name="self", arg=Argument(as_tensor=inner), kind=1)
    return Node(
        target=_END[enabled],
        inputs=[argument],
        outputs=[Argument(as_tensor=outer)],
        metadata=region.metadata,
        name=outer.name,
    )


def _check_graph_arguments(nodes: Sequence[Node], inside: bool) -> None:
    for node in nodes:
        values = [*(argument.arg for argument in node.inputs), *node.outputs]
        graphs = [value.as_graph for value in values if value.as_graph is not None]
        if node.target == REGION and not inside and len(graphs) == 1:
            _check_graph_arguments(graphs[0].graph.nodes, inside=True)
        elif node.target == REGION and inside:
            raise _refusal("a region without gradients contains another region; export them one after the other")
        elif node.target == REGION or graphs:
            raise _refusal(
                f"{escaped(node.target)} has {len(graphs)} graphs as arguments; only a region has a graph, and it has one"
            )


def _parts(region: Node) -> tuple[bool, Graph, list[Argument]]:
    """Whether gradients are enabled in the region, its graph, and the values that it takes."""
    first, second, *given = [argument.arg for argument in region.inputs] + [Argument(as_none=True)] * 2
    if first.as_bool is None or second.as_graph is None:
        raise _refusal("the arguments of a region without gradients must be a truth value, a graph, and the values that it takes")
    return first.as_bool, second.as_graph.graph, given[:-2] if len(region.inputs) >= 2 else []


def _pairs(first: Sequence[ArchiveSchema], second: Sequence[ArchiveSchema]) -> Iterator[tuple[str, str]]:
    """The names of the values of two lists, in pairs. Both values of a pair are of one kind."""
    for one, other in zip(first, second, strict=False):
        names, kinds = [*names_of(one), *names_of(other)], {*one.model_fields_set, *other.model_fields_set}
        if len(names) != 2 or kinds not in ({"as_tensor"}, {"as_sym_int"}):
            raise _refusal("a region without gradients takes or returns a value that is neither a tensor nor a size")
        yield names[0], names[1]
    if len(first) != len(second):
        raise _refusal(f"a region without gradients has {len(first)} values at one side and {len(second)} at the other")


def _check_in_place(node: Node, own: set[str]) -> None:
    changed = {name for argument in node.inputs if argument.name == "self" for name in names_of(argument.arg)}
    if IN_PLACE.fullmatch(node.target) and not changed <= own:
        raise _refusal(
            f"{escaped(node.target)} changes a value in place that comes from outside its region without gradients, "
            "which has no gradient that can be computed; assign the result to a new name, and export the model again"
        )


def _renamed(value: Schema, names: dict[str, str]) -> Schema:
    """The argument or result with other names. Raises ArchiveError for a name that is not given."""
    changes: dict[str, object] = {}
    for field in value.model_fields_set:
        content = getattr(value, field)
        if field == "as_name" or (field == "name" and isinstance(value, TensorName)):
            changes[field] = _new_name(content, names)
        elif isinstance(content, ArchiveSchema):
            changes[field] = _renamed(content, names)
        elif isinstance(content, list):
            changes[field] = [_renamed(part, names) if isinstance(part, ArchiveSchema) else part for part in content]
    return value.model_copy(update=changes)


def _new_name(name: str, names: dict[str, str]) -> str:
    if name not in names:
        raise _refusal(f"value {escaped(name)} is used in a region without gradients before it is computed")
    return names[name]


def _refusal(fault: str) -> ArchiveError:
    return ArchiveError("program_refused", fault)
