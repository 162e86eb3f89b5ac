"""The layers of a manifest beside the module calls of the eager module, and a choice of them."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from tests.engine.architectures.zoo import Architecture
from tests.engine.nets import Tap
from torch import Tensor, fx, nn

from benchmarks.parity.reference import INSIDE, Spot
from unitrank_engine.program import Place, Program
from unitrank_schemas.models import Layer, Manifest

CLOSE = 1e-3
"""The accepted difference between the values of layer and module, relative to the largest."""
MOST_UNITS = 800
PASSED_ON = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)
"""Modules whose output is their input: a tap on them changes less than the whole value."""
CHANNELS_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.MaxPool2d,
    nn.AvgPool2d,
)
CHANNELS_LAST = (nn.Linear, nn.Embedding, nn.LSTM, nn.GRU)


@dataclass(frozen=True)
class Call:
    """A call of a module: the module, the number of the call, and its first output.

    `several`: the module returns a tuple. The value of its layer may be another one of the tuple.
    """

    module: nn.Module
    path: str
    number: int
    output: Tensor | None
    several: bool


@dataclass(frozen=True)
class Values:
    """The layers of a manifest, compared with the eager module.

    `compared`: number of layers whose value was compared.
    `differing`: layers whose value or shape is not that of the module's output.
    `channels`: layers whose channel axis is not that of their module's class.
    `spots`: layer → the tap on an equal value.
    """

    compared: int
    differing: list[str]
    channels: list[str]
    spots: dict[str, Spot]


def compare_values(net: Architecture, program: Program, manifest: Manifest) -> Values:
    """The value of each layer beside the output of its module."""
    calls, values = _calls(net), _values(net, program)
    compared, differing, channels, spots = 0, [], [], {}
    for layer in manifest.layers:
        if layer.kind == "Input":
            first = layer.name.partition(":")[2] or None
            spots[layer.name] = Spot(Tap("", "input"), first)
            continue
        call = calls.get(layer.name)
        if call is None or call.output is None or not call.output.is_floating_point():
            continue
        place = program.place(layer.name, "output")
        equal = _equal(values[place.node].movedim(place.batch_axis, 0), call.output, place)
        if call.several and not equal:
            continue
        compared += 1
        if not equal:
            differing.append(layer.name)
        elif not isinstance(call.module, PASSED_ON):
            spots[layer.name] = Spot(Tap(f"{INSIDE}.{call.path}", call=call.number))
            if _axis(call.module, layer) not in (None, layer.channel_axis):
                channels.append(layer.name)
    return Values(compared, differing, channels, spots)


def chosen(manifest: Manifest, program: Program, values: Values) -> list[Layer]:
    """The first cut, a cut in the middle, and a layer that is bypassed or another cut."""
    layers: dict[fx.Node, Layer] = {}
    for layer in manifest.layers:
        if layer.name in values.spots and layer.differentiable and layer.units <= MOST_UNITS:
            layers.setdefault(program.place(layer.name, "output").node, layer)
    usable = list(layers.values())
    inner = [layer for layer in usable if layer.kind != "Input"]
    cuts = [layer for layer in inner if layer.cut]
    bypassed = [layer for layer in inner if not layer.cut]
    places = [*usable[:1], *_middle(cuts), *(_middle(bypassed) or cuts[:1])]
    return list({layer.name: layer for layer in places}.values())


def _middle(layers: list[Layer]) -> list[Layer]:
    return layers[len(layers) // 2 : len(layers) // 2 + 1]


def _calls(net: Architecture) -> dict[str, Call]:
    """The calls of the eager module by the names that the manifest gives them."""
    calls: dict[str, Call] = {}
    with _watched(net.module, lambda name, call: calls.setdefault(name, call)), torch.no_grad():
        net.module(**net.inputs)
    return calls


@contextmanager
def _watched(module: nn.Module, see: Callable[[str, Call], Any]) -> Iterator[None]:
    numbers: dict[str, int] = defaultdict(int)

    def hook_of(path: str) -> Callable[..., None]:
        def hook(part: nn.Module, inputs: object, output: object) -> None:
            number = numbers[path]
            numbers[path] += 1
            several = isinstance(output, tuple)
            first = output[0] if isinstance(output, tuple) and output else output
            tensor = first.detach().clone() if isinstance(first, Tensor) else None
            see(f"{path}@{number}" if number else path, Call(part, path, number, tensor, several))

        return hook

    hooks = [part.register_forward_hook(hook_of(path)) for path, part in module.named_modules() if path]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Kept(fx.Interpreter):
    """Runs a graph and keeps the values of some nodes."""

    def __init__(self, module: fx.GraphModule, nodes: set[fx.Node]) -> None:
        super().__init__(module)
        self._nodes, self.values = nodes, {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self._nodes:
            # Cloned, because an operation in place would overwrite it.
            self.values[n] = value.clone()
        return value


def _values(net: Architecture, program: Program) -> dict[fx.Node, Tensor]:
    kept = _Kept(program.module, {place.node for place in program.places})
    with torch.no_grad():
        kept.run(*program.lift(tuple(net.inputs[name] for name in program.inputs)))
    return kept.values


def _equal(value: Tensor, output: Tensor, place: Place) -> bool:
    if place.batch_axis >= output.dim():
        return False
    output = output.movedim(place.batch_axis, 0)
    if value.shape != output.shape:
        return False
    scale = float(output.abs().amax()) if output.numel() else 0.0
    return bool((value - output).abs().amax() <= CLOSE * scale + 1e-7)


def _axis(module: nn.Module, layer: Layer) -> int | None:
    """The axis of the channels in the output of a module of a known class."""
    if isinstance(module, CHANNELS_FIRST):
        return 0
    return len(layer.shape) - 1 if isinstance(module, CHANNELS_LAST) else None
