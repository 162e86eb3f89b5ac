"""Inspects an uploaded archive and writes its manifest.

The inspection vets the archive and runs the model at several batch sizes. The manifest lists the
inputs, outputs and layers of a model. Requests are checked against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import fx

from unitrank_engine.archive import ArchiveError, clean, has_mark, heads_in, load
from unitrank_engine.errors import EngineError, is_out_of_memory
from unitrank_engine.models.heads import MOST, heads_of
from unitrank_engine.models.row_independence import check_rows
from unitrank_engine.program import Place, Program, ProgramValue
from unitrank_engine.program.contracts.invented import invented_values
from unitrank_engine.program.gradients import reached_by_gradients
from unitrank_engine.program.linearity.outgoing import next_linear
from unitrank_engine.program.outputs.class_axis import class_axis
from unitrank_engine.program.places import cuts
from unitrank_engine.program.proof.proving_run import does_not_run
from unitrank_engine.program.subgraphs import sources_of
from unitrank_schemas.base import Json
from unitrank_schemas.models import Layer, Manifest, OutputPort, Port, Seen

ROWS = 3
NO_HEADS: Mapping[str, int] = MappingProxyType({})


def inspect(source: Path, target: Path) -> Json:
    """The manifest of the archive at `source`. Its clean copy is written to `target`.

    Raises EngineError when the archive or the model is refused.
    """
    try:
        digest = clean(source, target)
        exported = load(target)
    except ArchiveError as error:
        raise EngineError(error.code, error.detail) from error
    description = manifest(Program.from_exported(exported), heads_in(source))
    if has_mark(source, digest):
        description = description.model_copy(update={"gradients": "checked"})
    return description.model_dump(mode="json")


def manifest(program: Program, heads: Mapping[str, int] = NO_HEADS) -> Manifest:
    """The manifest of a program.

    `heads`: path of a module → the number of attention heads that its attributes name.

    Raises EngineError when the model fails at another batch size, or mixes the examples of a batch.
    """
    with invented_values() as faults:
        costs = _run(program)
    total = sum(costs.values())
    layers = _layers(program, costs, total, heads)
    return Manifest(
        inputs=[_port(value) for value in program.inputs.values()],
        outputs=[OutputPort(**_port(value).model_dump(), class_axis=class_axis(value.node)) for value in program.outputs.values()],
        parameters=sum(parameter.numel() for parameter in program.module.parameters()),
        layers=layers,
        flops=total,
        differentiable=any(layer.differentiable for layer in layers),
        path=program.path,
        path_inputs=_path_inputs(program),
        looked_up=program.looked_up,
        notes=[_note(fault) for fault in {fault.partition(" ")[0]: fault for fault in reversed(faults)}.values()],
    )


def _note(fault: str) -> str:
    return (
        f"The inspection has no examples, and ran the model on invented values: {fault}. "
        "Legal values took their place. A job refuses examples with such values."
    )


def _path_inputs(program: Program) -> dict[str, list[str]]:
    """Value of the path → its inputs; for an embedding, the inputs of all its calls."""
    inputs: dict[str, list[str]] = {}
    for value in program.path_values:
        inputs[value.name] = list(dict.fromkeys([*inputs.get(value.name, []), *value.inputs]))
    return inputs


def _port(value: ProgramValue) -> Port:
    return Port(name=value.name, dtype=str(value.dtype).removeprefix("torch."), shape=list(value.shape))


def _layers(program: Program, costs: dict[fx.Node, int], total: int, heads: Mapping[str, int]) -> list[Layer]:
    before = _costs_until(program.module.graph, costs)
    inputs = {place.layer: place for place in program.places if place.at == "input"}
    goal = next(iter(program.outputs.values())).node
    graph = program.module.graph
    reached = reached_by_gradients(graph, [output.node for output in program.outputs.values()])
    cut = cuts(graph, goal)
    views, after = _views(program), _after(program)
    layers = []
    for place in program.places:
        if place.at != "output":
            continue
        layers.append(
            Layer(
                name=place.layer,
                kind=place.kind,
                shape=list(place.shape),
                units=place.units,
                channels=None if place.channel_axis is None else place.shape[place.channel_axis],
                channel_axis=place.channel_axis,
                cut=place.node in cut,
                forward_cost=before[place.node] / total if total else 0.0,
                seen_by=_seen_by(place, inputs.get(place.layer), views),
                after=after[place.layer],
                differentiable=place.node in reached,
                linear_next=bool(next_linear(program, place)),
                **_entering(program, inputs.get(place.layer), cut, reached),
                **_heads(place, inputs.get(place.layer), heads.get(place.layer.partition("@")[0])),
            )
        )
    return layers


def _heads(place: Place, entering: Place | None, named: int | None) -> dict[str, Any]:
    """The number of heads of a layer, and the sides whose channels are the heads.

    `named`: the number that the module names, which counts if it divides the channels.
    """
    sides = {"output": heads_of(place), "input": heads_of(entering) if entering else None}
    if named is not None and not (
        place.channel_axis is not None and 1 < named <= MOST and place.shape[place.channel_axis] % named == 0
    ):
        named = None
    heads = sides["output"] or sides["input"] or named
    return {"heads": heads, "heads_at": [side for side, count in sides.items() if heads is not None and count == heads]}


def _after(program: Program) -> dict[str, list[str]]:
    """Layer → the layers whose values reach its output without passing another layer.

    Of layers with the same value, such as a block and its last layer, each follows the one before.
    """
    layers: dict[fx.Node, list[str]] = {}
    for place in program.places:
        if place.at == "output":
            layers.setdefault(place.node, []).append(place.layer)
    nearest: dict[fx.Node, dict[str, None]] = {}
    after: dict[str, list[str]] = {}
    for node in program.module.graph.nodes:
        # A shape that is read from a value, such as the size of the batch, carries nothing of it.
        is_size = isinstance(node.meta.get("val"), int | torch.SymInt)
        nearest[node] = {} if is_size else {name: None for source in node.all_input_nodes for name in nearest[source]}
        for name in layers.get(node, []):
            after[name] = list(nearest[node])
            nearest[node] = {name: None}
    return after


def _costs_until(graph: fx.Graph, costs: dict[fx.Node, int]) -> dict[fx.Node, int]:
    """The cost of each node and all nodes before it."""
    return dict(zip(graph.nodes, accumulate(costs.get(node, 0) for node in graph.nodes), strict=True))


@dataclass(frozen=True)
class _View:
    """The graph as seen from one of several outputs.

    `sources`: the nodes that the output is computed from.
    `cut`: the nodes that every path from a real-valued input to the output passes.
    `reached`: the nodes that the output's gradient reaches.
    """

    sources: set[fx.Node]
    cut: set[fx.Node]
    reached: set[fx.Node]


def _views(program: Program) -> dict[str, _View]:
    """The view from each output, by name; empty for a model with one output."""
    if len(program.outputs) < 2:
        return {}
    graph = program.module.graph
    return {
        name: _View(sources_of(value.node), cuts(graph, value.node), reached_by_gradients(graph, [value.node]))
        for name, value in program.outputs.items()
    }


def _seen_by(place: Place, entering: Place | None, views: dict[str, _View]) -> dict[str, Seen] | None:
    return {
        name: Seen(
            reached=place.node in view.sources,
            cut=place.node in view.cut,
            differentiable=place.node in view.reached,
            input_cut=None if entering is None else entering.node in view.cut,
            input_differentiable=None if entering is None else entering.node in view.reached,
        )
        for name, view in views.items()
    } or None


def _entering(program: Program, place: Place | None, cut: set[fx.Node], reached: set[fx.Node]) -> dict[str, Any]:
    if place is None:
        return {}
    return {
        "input_shape": list(place.shape),
        "input_cut": place.node in cut,
        "input_channel_axis": place.channel_axis,
        "input_differentiable": place.node in reached,
        "input_linear_next": bool(next_linear(program, place)),
    }


def _run(program: Program) -> dict[fx.Node, int]:
    """Floating-point operations of each node in the forward pass of one example.

    The model runs at other batch sizes than at export, which proves that it accepts them.
    """
    try:
        with torch.no_grad():
            program.module(*program.blank(ROWS))
        _check_rows(program)
        return program.costs
    except EngineError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise does_not_run(error, ROWS, lambda rows: program.module(*program.blank(rows))) from error


def _check_rows(program: Program) -> None:
    """Raises EngineError `rows_depend` when an output mixes examples of a batch."""
    generator = torch.Generator().manual_seed(0)
    inputs = tuple(_random_input(value, generator).to(program.device) for value in program.inputs.values())
    check_rows(program, inputs)


def _random_input(value: ProgramValue, generator: torch.Generator) -> torch.Tensor:
    """`ROWS` different examples.

    Ids are 0 and 1, which each embedding with two rows or more has. A table with one row has
    id 0 only, which takes the place of 1.
    """
    shape = [ROWS, *(int(size) for size in value.shape[1:] if size is not None)]
    if value.dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(value.dtype)
    return torch.randint(0, 2, shape, generator=generator).to(value.dtype)
