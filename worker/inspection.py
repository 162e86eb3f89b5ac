"""Inspection: vets an uploaded archive, proves that the model runs at any batch size, and writes its manifest."""

from pathlib import Path
from typing import Any

import torch
from torch import fx

from api_schemas.models import Layer, Manifest, Port
from store.record import Json
from worker.archive import ArchiveError, clean, load
from worker.errors import EngineError
from worker.program import Place, Program, Value
from worker.program.gradients import reached_by_gradients
from worker.program.places import reaches


def inspect(source: Path, target: Path) -> Json:
    """The manifest of the archive at `source`, whose clean copy is written to `target`.

    Raises EngineError with the code of what is wrong with the archive or the model.
    """
    try:
        clean(source, target)
        exported = load(target)
    except ArchiveError as error:
        raise EngineError(error.code, error.detail) from error
    return manifest(Program.from_exported(exported)).model_dump(mode="json")


def manifest(program: Program) -> Manifest:
    """What requests are checked against. Raises EngineError where the model does not run at some batch size."""
    _check_bounds(program)
    costs = _proved(program)
    total = sum(costs.values())
    layers = _layers(program, costs, total)
    return Manifest(
        inputs=[_port(value) for value in program.inputs.values()],
        outputs=[_port(value) for value in program.outputs.values()],
        parameters=sum(parameter.numel() for parameter in program.module.parameters()),
        layers=layers,
        flops=total,
        differentiable=any(layer.differentiable for layer in layers),
        path=program.path,
        looked_up=program.looked_up,
    )


def _port(value: Value) -> Port:
    return Port(name=value.name, dtype=str(value.dtype).removeprefix("torch."), shape=list(value.shape))


def _layers(program: Program, costs: dict[fx.Node, int], total: int) -> list[Layer]:
    order = {node: index for index, node in enumerate(program.module.graph.nodes)}
    inputs = {place.layer: place for place in program.places if place.at == "input"}
    goal = next(iter(program.outputs.values())).node
    graph = program.module.graph
    reached = reached_by_gradients(graph, [output.node for output in program.outputs.values()])
    layers = []
    for place in program.places:
        if place.at != "output":
            continue
        before = sum(cost for node, cost in costs.items() if order[node] <= order[place.node])
        layers.append(
            Layer(
                name=place.layer,
                kind=place.kind,
                shape=list(place.shape),
                units=place.units,
                channels=place.shape[place.channel_axis],
                channel_axis=place.channel_axis,
                cut=not reaches(graph, place.node, goal),
                forward_cost=before / total if total else 0.0,
                differentiable=place.node in reached,
                **_entering(graph, inputs.get(place.layer), goal, reached),
            )
        )
    return layers


def _entering(graph: fx.Graph, place: Place | None, goal: fx.Node, reached: set[fx.Node]) -> dict[str, Any]:
    if place is None:
        return {}
    return {
        "input_shape": list(place.shape),
        "input_cut": not reaches(graph, place.node, goal),
        "input_channel_axis": place.channel_axis,
        "input_differentiable": place.node in reached,
    }


def _check_bounds(program: Program) -> None:
    # torch's kernel takes a number for every channel without counting them, and would go on reading in the memory of others.
    for node in program.module.graph.nodes:
        if node.target is torch.ops.aten._native_batch_norm_legit_no_training.default:
            # As text: to compare a batch symbol itself would make it a number.
            wanted = [str(size) for size in node.args[0].meta["val"].shape[1:2]]
            found = [[str(size) for size in given.meta["val"].shape] for given in node.args[1:5] if given is not None]
            if any(sizes != wanted for sizes in found):
                detail = f"{node.name} has numbers of the shapes {found} for {wanted} channels; expected one for each channel"
                raise EngineError("weights_refused", detail)


def _proved(program: Program) -> dict[fx.Node, int]:
    """Operations of one example's forward pass by node; the model is run at batch sizes that no export has seen."""
    try:
        with torch.no_grad():
            program.module(*program.blank(3))
        return program.costs
    except Exception as error:
        raise EngineError(
            "model_does_not_run",
            f"the model fails at another batch size than it was exported with: {str(error).splitlines()[0][:300]}; "
            "look for sizes that are fixed in its code",
        ) from error
