"""A program whose tail reads weights of its own.

A network can use one weight before and behind a place, such as a module that is called twice, or an
embedding that is also the output layer. Only the tail's copy of the weight is permuted, so that the
value of the place stays the same.
"""

from collections import ChainMap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, fx, nn

from unitrank_engine.program.batch_norm import FoldedNorm
from unitrank_engine.program.nodes import operator_name
from unitrank_engine.program.permuted_tail.weights import TailWeight
from unitrank_engine.program.places import SHAPE_ONLY, Place
from unitrank_engine.program.program import Program
from unitrank_engine.program.proof.checked_graph import CheckedGraph
from unitrank_engine.program.split import descendants

MOST_KEPT = 8
"""The most programs that a program keeps; a warm model serves many jobs."""


@dataclass(frozen=True)
class OwnTail:
    """A program that computes the same as another one, with separate weights in its tail."""

    program: Program
    place: Place
    weights: list[TailWeight]

    @property
    def varies(self) -> bool:
        """Whether a permutation of the weights can change the tail."""
        return any(weight.varies for weight in self.weights)


def own_tail(program: Program, place: Place, output: str) -> OwnTail:
    """The program whose tail behind `place` reads weights of its own.

    `program` keeps it for later jobs, because torch never frees the code of a graph. The weights
    share the memory of the parameters until they are permuted.
    """
    key = (place.node, output)
    if key not in program.own_tails:
        if len(program.own_tails) >= MOST_KEPT:
            program.own_tails.clear()
        program.own_tails[key] = _own_tail(program, place, output)
    tail = program.own_tails[key]
    assert isinstance(tail, OwnTail)
    return tail


def _own_tail(program: Program, place: Place, output: str) -> OwnTail:
    old, new = program.module.graph, fx.Graph()
    tail = descendants(old, place.node, program.outputs[output].node)
    computed = _computed_from_parameters(program, tail)
    root = fx.GraphModule(program.module, old)
    names = _register_weights(program, root, [node for node in old.nodes if node in computed and node.op == "get_attr"])
    copies, own = dict[fx.Node, fx.Node](), dict[fx.Node, fx.Node]()
    in_tail = ChainMap(own, copies)
    for node in old.nodes:
        if node.op != "output":
            copies[node] = new.node_copy(node, (in_tail if node in tail else copies).__getitem__)
        if node in names:
            own[node] = new.get_attr(names[node])
            own[node].meta = dict(node.meta)
        elif node in computed:
            own[node] = new.node_copy(node, in_tail.__getitem__)
    outputs = {name: replace(value, node=copies[value.node]) for name, value in program.outputs.items()}
    new.output(tuple(value.node for value in outputs.values()))
    new.eliminate_dead_code()
    separate = replace(
        program,
        module=CheckedGraph(root, new),
        inputs={name: replace(value, node=copies.get(value.node, value.node)) for name, value in program.inputs.items()},
        outputs=outputs,
        places=[replace(each, node=copies[each.node]) for each in program.places],
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
    read = {str(node.target): _attribute(root, name) for node, name in names.items()}
    return OwnTail(separate, replace(place, node=copies[place.node]), list(_weights(program, read)))


def _computed_from_parameters(program: Program, tail: set[fx.Node]) -> set[fx.Node]:
    """The nodes that the tail reads and that depend on parameters, but on no input.

    An example is a weight that the model standardises before its use.
    """
    graph, normed = program.module.graph, {name for norm in program.norms for name in (norm.scale, norm.shift)}
    valued, computed = set[fx.Node](), set[fx.Node]()
    for node in graph.nodes:
        reads_values = not SHAPE_ONLY.match(operator_name(node)) and any(source in valued for source in node.all_input_nodes)
        if node.op == "placeholder" or reads_values:
            valued.add(node)
        elif node.op == "get_attr":
            target = str(node.target)
            if target in normed or isinstance(_attribute(program.module, target), nn.Parameter):
                computed.add(node)
        elif any(source in computed for source in node.all_input_nodes):
            computed.add(node)
    read: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        if node in computed and node not in tail and any(user in tail or user in read for user in node.users):
            read.add(node)
    return read


def _register_weights(program: Program, root: fx.GraphModule, nodes: list[fx.Node]) -> dict[fx.Node, str]:
    """Add a copy of each weight to `root`, which shares its memory. The names of the copies."""
    names: dict[fx.Node, str] = {}
    by_weight: dict[Tensor, str] = {}
    for node in nodes:
        weight = _attribute(program.module, str(node.target))
        name = by_weight.setdefault(weight, f"tail_weight_{len(by_weight)}")
        if not hasattr(root, name):
            root.register_parameter(name, nn.Parameter(weight.detach(), requires_grad=False))
        names[node] = name
    return names


def _weights(program: Program, read: dict[str, Tensor]) -> Iterator[TailWeight]:
    """The weights of the tail with the parameters that they are made of.

    `read`: path of a weight in the model → the tail's copy of the weight.
    """
    for norm in program.norms:
        parameters = [each for each in (norm.weight, norm.bias) if isinstance(each, nn.Parameter)]
        copies = [read.pop(name) for name in (norm.scale, norm.shift) if name in read]
        if copies and parameters:
            yield TailWeight(copies, parameters, partial(_constants, norm))
    for path, weight in read.items():
        yield TailWeight([weight], [_attribute(program.module, path)], lambda parameters: parameters)


def _constants(norm: FoldedNorm, permuted: list[Tensor]) -> list[Tensor]:
    """The scale and the shift of a batch norm for its permuted parameters."""
    values = iter(permuted)
    weight, bias = (next(values) if isinstance(each, nn.Parameter) else each for each in (norm.weight, norm.bias))
    return list(norm.constants(weight, bias))


def _attribute(module: nn.Module, path: str) -> Tensor:
    owner, _, name = path.rpartition(".")
    value: Tensor = getattr(module.get_submodule(owner), name)
    return value
