"""A model that is ready to run: its graph, inputs, outputs and places.

`Program.from_exported` prepares the graph in seven steps, each a module of this folder:

1. `functional` removes in-place operations and freezes the parameters.
2. `contracts` checks the arguments of operators.
3. `batch_norm` replaces batch norms on a CPU, because torch's gradient for them can be wrong.
4. `proof` runs each operator and compares its result with the trace.
5. `layout` changes the memory layout of convolutions on a CPU.
6. `places` finds the values that a job can rank.
7. `lifting` takes look-ups of embeddings out of the graph.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from unitrank_engine.errors import EngineError
from unitrank_engine.program.batch_norm import FoldedNorm, replace_batch_norms
from unitrank_engine.program.contracts import check_positions, check_shapes
from unitrank_engine.program.contracts.invented import invented_values
from unitrank_engine.program.contracts.recurrent import LAYERS
from unitrank_engine.program.costs import count_costs
from unitrank_engine.program.functional import functionalise
from unitrank_engine.program.joint_split import JointSplit
from unitrank_engine.program.layout import lay_out_channels_last
from unitrank_engine.program.lifting import PathValue, lift, path_of
from unitrank_engine.program.places import Place, find_places
from unitrank_engine.program.proof.derivatives import prove_gradients
from unitrank_engine.program.proof.proving_run import prove
from unitrank_engine.program.shared_split import SharedSplit
from unitrank_engine.program.split import Split
from unitrank_engine.program.subgraphs import extract
from unitrank_engine.torch_private import expression_of, tree_leaves, tree_unflatten
from unitrank_schemas.checks import nearest


@dataclass(frozen=True)
class ProgramValue:
    """One input or output of the whole model."""

    name: str
    dtype: torch.dtype
    shape: tuple[int | None, ...]
    """The size of each axis; None is the batch."""
    node: fx.Node


@dataclass
class Program:
    """A functional model on one device.

    `module`: the graph. It takes the lifted inputs, see `lift`.
    `inputs`, `outputs`: the tensors that the model takes and returns, by name.
    `places`: the values that a job can rank, in order of execution.
    `symbols`: the symbols that torch.export uses for the size of the batch.
    """

    module: fx.GraphModule
    device: torch.device
    inputs: dict[str, ProgramValue]
    outputs: dict[str, ProgramValue]
    places: list[Place]
    symbols: frozenset[str]
    look_up: fx.GraphModule | None = None
    """The model's inputs → the vectors that its embeddings look up; None without embeddings."""
    path_values: list[PathValue] = field(default_factory=list)
    """The values that change between a baseline and an example."""
    looked_up: list[str] = field(default_factory=list)
    """Names of the inputs whose values are looked up in embeddings."""
    norms: list[FoldedNorm] = field(default_factory=list)
    """The batch norms that became a scale and a shift."""
    splits: dict[tuple[fx.Node, str], Split] = field(default_factory=dict)
    shared_splits: dict[tuple[tuple[fx.Node, ...], str], SharedSplit] = field(default_factory=dict)
    """Places of several layers, and the output → the split for passes through all of them."""
    joint_splits: dict[tuple[tuple[fx.Node, ...], str], JointSplit] = field(default_factory=dict)
    """The same → the split whose head and tail are at all of them."""
    affine_parts: dict[tuple[fx.Node, str], tuple[Split, Split] | None] = field(default_factory=dict)
    """Kept by `columns.affine_part`, because torch never frees the code of a graph."""
    linear_ends: dict[tuple[fx.Node, str], tuple[Split, Split] | None] = field(default_factory=dict)
    """Kept by `linear_end.linear_end`."""
    dense_parts: dict[tuple[fx.Node, fx.Node], object] = field(default_factory=dict)
    """Kept by `dense_part.dense_part`: affine parts that are one dense layer."""
    moves: dict[tuple[fx.Node, fx.Node], Split] = field(default_factory=dict)
    """Kept by `outgoing.reached_features`: the ways from places to linear operations."""
    constants: dict[fx.Node, fx.GraphModule] = field(default_factory=dict)
    """Kept by `outgoing.NextLinear`: the graphs that compute weights."""
    heads: dict[fx.Node, fx.GraphModule] = field(default_factory=dict)
    reductions: dict[str, "Program"] = field(default_factory=dict)
    """Kept by `reduction.reduced`: the programs with a reduced output."""
    own_tails: dict[tuple[fx.Node, str], object] = field(default_factory=dict)
    """Kept by `permuted_tail.own_tail`: the programs whose tail reads weights of its own."""

    @classmethod
    def from_exported(cls, exported: ExportedProgram, device: str = "cpu") -> "Program":
        """The program on a device, in evaluation mode, with frozen parameters.

        Raises EngineError `static_batch`, `dynamic_shape`, `training_mode` or `no_inputs`, and the
        errors of `functionalise`, `check_shapes`, `check_positions` and
        `prove`.
        """
        if device != "cpu":
            exported = move_to_device_pass(exported, device)
        names = list(exported.graph_signature.user_inputs)
        module = functionalise(exported)
        nodes = [node for node in module.graph.nodes if node.op == "placeholder"]
        inputs = {str(name): _value(str(name), node) for name, node in zip(names, nodes, strict=True)}
        symbols = _batch_symbols(inputs)
        inputs = {name: _checked(value, symbols) for name, value in inputs.items()}
        check_shapes(module.graph)
        check_positions(module)
        norms = replace_batch_norms(module) if device == "cpu" else []
        prove(module, shapes := [value.shape for value in inputs.values()], torch.device(device))
        prove_gradients(module, shapes, torch.device(device))
        if device == "cpu":
            lay_out_channels_last(module)
        by_name = {name: value.node for name, value in inputs.items()}
        places = find_places(module.graph, symbols, by_name)
        lifted = lift(module, symbols)
        places = [replace(place, node=lifted.moved.get(place.node, place.node)) for place in places]
        outputs = _outputs(lifted.module.graph, exported.call_spec.out_spec)
        looked_up = [name for name, node in by_name.items() if any(node in sources for sources in lifted.sources.values())]
        on = torch.device(device)
        return cls(lifted.module, on, inputs, outputs, places, symbols, lifted.look_up, path_of(by_name, lifted), looked_up, norms)

    @property
    def path(self) -> list[str]:
        """Names of the values that change between a baseline and an example."""
        return [value.name for value in self.path_values]

    @property
    def bytes(self) -> int:
        """Memory of parameters and buffers, in bytes."""
        return sum(tensor.nbytes for tensor in (*self.module.parameters(), *self.module.buffers()))

    def lift(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The model's inputs, followed by the vectors that its embeddings look up for them.

        The other methods take lifted inputs.
        """
        if self.look_up is None:
            return inputs
        with torch.no_grad():
            return (*inputs, *self.look_up(*inputs))

    def blank(self, rows: int) -> list[Tensor]:
        """Lifted inputs of zeros."""
        shapes = [[rows, *(int(size) for size in value.shape[1:] if size is not None)] for value in self.inputs.values()]
        zeros = [
            torch.zeros(shape, dtype=value.dtype, device=self.device)
            for shape, value in zip(shapes, self.inputs.values(), strict=True)
        ]
        with invented_values():
            return list(self.lift(tuple(zeros)))

    @cached_property
    def fills_memory(self) -> bool:
        """Whether a job makes torch fill new memory, see `filled_memory`.

        On a CPU, and not for a recurrent layer: its many small results cost 6.6 % more time.
        """
        recurrent = any(node.target in LAYERS for node in self.module.graph.nodes)
        return self.device.type == "cpu" and not recurrent

    @cached_property
    def costs(self) -> dict[fx.Node, int]:
        """Operations of each node in the forward pass of one example."""
        return count_costs(self.module, self.blank(1))

    def place(self, layer: str, at: str) -> Place:
        """The place at a layer; `at` is `output` or `input`.

        Raises EngineError `layer_not_found`.
        """
        for place in self.places:
            if place.layer == layer and place.at == at:
                return place
        layers = [place.layer for place in self.places if place.at == at]
        suggestion = nearest(layer, layers)
        raise EngineError("layer_not_found", f"layer '{layer}' has no {at} that can be ranked{suggestion}")

    def split(self, place: Place, output: str) -> Split:
        """The graph cut at a place, created once. Raises EngineError `layer_without_effect`."""
        key = (place.node, output)
        if key not in self.splits:
            self.splits[key] = Split(self.module, place, self.outputs[output].node, self.symbols, self.costs)
        return self.splits[key]

    def shared_split(self, splits: Sequence[Split], output: str) -> SharedSplit:
        """The graph for passes through the places of several splits, created once."""
        key = (tuple(split.place.node for split in splits), output)
        if key not in self.shared_splits:
            self.shared_splits[key] = SharedSplit(self.module, splits, self.outputs[output].node, self.symbols)
        return self.shared_splits[key]

    def joint_split(self, splits: Sequence[Split], output: str) -> JointSplit:
        """The graph cut at the places of several splits at once, created once."""
        key = (tuple(split.place.node for split in splits), output)
        if key not in self.joint_splits:
            self.joint_splits[key] = JointSplit(self.module, splits, self.outputs[output].node, self.symbols, self.costs)
        return self.joint_splits[key]

    def head(self, place: Place) -> fx.GraphModule:
        """The graph from the lifted inputs to the value of a place, created once."""
        if place.node not in self.heads:
            self.heads[place.node] = extract(self.module, [place.node])
        return self.heads[place.node]

    def forward(self, inputs: tuple[Tensor, ...], output: str) -> Tensor:
        """The named output of the model for lifted inputs, without gradients."""
        with torch.no_grad():
            results = [value for value in tree_leaves(self.module(*inputs)) if isinstance(value, Tensor)]
        return results[list(self.outputs).index(output)]


def _value(name: str, node: fx.Node) -> ProgramValue:
    tensor = node.meta.get("val")
    if not isinstance(tensor, torch.Tensor):
        kind = type(tensor).__name__
        raise EngineError(
            "input_not_a_tensor",
            f"input '{name}' is of type {kind}, not a tensor; export the model with tensor inputs only",
        )
    if tensor.is_complex():
        raise EngineError(
            "complex_value",
            f"'{name}' is complex; take real inputs and call torch.complex in forward, and return .real, .imag or .abs()",
        )
    shape = tuple(None if isinstance(size, torch.SymInt) else int(size) for size in tensor.shape)
    return ProgramValue(name, tensor.dtype, shape, node)


def _batch_symbols(inputs: Mapping[str, ProgramValue]) -> frozenset[str]:
    """The symbols for the size of the batch.

    Inputs that are never combined have different symbols.
    """
    if not inputs:
        raise EngineError("no_inputs", "the model has no tensor inputs; export a model that takes at least one tensor")
    for value in inputs.values():
        if not value.shape or value.shape[0] is not None:
            shape = [int(size) for size in value.node.meta["val"].shape]
            raise EngineError(
                "static_batch",
                f"input '{value.name}' has the fixed shape {shape}; the first axis must be the batch, and dynamic: "
                "export with an example batch of 2 or more (a batch of 1 becomes fixed) and "
                f"dynamic_shapes={{'{value.name}': {{0: torch.export.Dim('batch', min=1)}}}}",
            )
    return frozenset(str(expression_of(value.node.meta["val"].shape[0])) for value in inputs.values())


def _checked(value: ProgramValue, symbols: frozenset[str]) -> ProgramValue:
    if None in value.shape[1:]:
        shape = ["dynamic" if size is None else size for size in value.shape]
        raise EngineError(
            "dynamic_shape",
            f"input '{value.name}' has more than one dynamic axis: {shape}; "
            "only the batch may vary: export with the other sizes fixed",
        )
    return value


def _outputs(graph: fx.Graph, spec: Any) -> dict[str, ProgramValue]:
    """The tensors that the model returns, by name.

    A single tensor is called `output`, a tensor of a dict by its key, a tensor of a tuple
    `output.0`. Nested containers join these names: `states.0`.
    """
    results = tree_leaves(next(node for node in graph.nodes if node.op == "output").args[0])
    names = list(_names(tree_unflatten(list(range(len(results))), spec)))
    if len(set(names)) != len(results):
        names = [f"output.{index}" for index in range(len(results))]
    pairs = [(name, node) for name, node in zip(names, results, strict=True) if isinstance(node, fx.Node)]
    values = {name: _value(name, node) for name, node in pairs if isinstance(node.meta.get("val"), torch.Tensor)}
    if len(values) == 1 and next(iter(values)).startswith("output."):
        return {"output": _value("output", next(iter(values.values())).node)}
    return values


def _names(tree: Any, path: str = "") -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _names(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from _names(value, f"{path or 'output'}.{index}")
    else:
        yield path or "output"
