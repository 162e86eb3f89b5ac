"""Random small networks: one call of an operator, often with further calls behind it."""

import ast
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from tests.mutants.operators.table import CALLS

_OPERAND = re.compile(r"([cfim])(\d*)\[(.*)\]")


@dataclass(frozen=True)
class Operand:
    """A tensor argument.

    `kind`: f for floating-point numbers, c for complex numbers,
    i for whole numbers below `limit`, m for a mask.
    `shape`: None is the batch.
    """

    kind: str
    limit: int
    shape: tuple[int | None, ...]

    def example(self, random: Random, rows: int = 2) -> Tensor:
        shape = [rows if size is None else size for size in self.shape]
        generator = torch.Generator().manual_seed(random.randrange(1 << 30))
        if self.kind == "f":
            return torch.randn(shape, generator=generator)
        if self.kind == "c":
            return torch.randn(shape, generator=generator, dtype=torch.complex64)
        values = torch.randint(0, self.limit, shape, generator=generator)
        return values > 0 if self.kind == "m" else values


# Any: an argument is an operand, a literal of Python, or a list of those.
@dataclass(frozen=True)
class Call:
    """A call of an operator."""

    operator: Any
    args: list[Any]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, name: str, text: str) -> "Call":
        packet, _, overload = name.partition(".")
        pairs = [re.fullmatch(r"(?:([a-z_]+)=)?(.+)", word) for word in text.split()]
        named = [(match[1], _argument(match[2])) for match in pairs if match]
        operator = getattr(getattr(torch.ops.aten, packet), overload)
        return cls(operator, [value for key, value in named if not key], {key: value for key, value in named if key})


def _argument(text: str) -> Any:
    if text.startswith("<"):
        return [_argument(part) for part in text[1:-1].split("|")]
    operand = _OPERAND.fullmatch(text)
    if operand:
        shape = tuple(None if size == "n" else int(size) for size in operand[3].split(",") if size)
        return Operand(operand[1], int(operand[2] or 2), shape)
    return getattr(torch, text[6:]) if text.startswith("torch.") else ast.literal_eval(text)


class Place(nn.Module):
    """A layer that a job ranks."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 1


class Network(nn.Module):
    """Calls one operator after another, each on the result of the last one, and returns all values.

    `lively`: whether the weights depend on the input, so that gradients of them are computed too.
    """

    def __init__(self, random: Random, first: Call) -> None:
        super().__init__()
        self.act, self.calls, self.lively = Place(), [first], random.random() < 0.5
        self.inputs: list[tuple[Operand, Tensor]] = []
        self.leaves: list[Callable[[list[Tensor], Tensor], Tensor]] = []
        self.random = random
        self._add(Operand("f", 0, (None, 3)))
        self.bound = [self._bound(first)]

    def append(self, call: Call) -> None:
        """Adds a call whose first operand is the result before it."""
        self.calls.append(call)
        bound = self._bound(Call(call.operator, call.args[1:], call.kwargs))
        self.bound.append(([None, *bound[0]], bound[1]))

    def _add(self, operand: Operand) -> int:
        axis = operand.shape.index(None)
        shape = (None, *operand.shape[:axis], *operand.shape[axis + 1 :])
        self.inputs.append((operand, Operand(operand.kind, operand.limit, shape).example(self.random)))
        if operand.kind == "c":
            # A model takes real inputs only.
            self.inputs[-1] = operand, torch.view_as_real(self.inputs[-1][1])
        return len(self.inputs) - 1

    def _bound(self, call: Call) -> tuple[list[Any], dict[str, Any]]:
        return [self._bind(value) for value in call.args], {key: self._bind(value) for key, value in call.kwargs.items()}

    def _bind(self, value: Any) -> Any:
        """The argument, with the number of an input or the name of a weight for each operand."""
        if isinstance(value, list) and any(isinstance(part, Operand) for part in value):
            return [self._bind(part) for part in value]
        if not isinstance(value, Operand):
            return value
        if None in value.shape:
            return _Source(self._add(value))
        name = f"weight_{len(self._buffers) + len(self._parameters)}"
        example = value.example(self.random)
        if value.kind == "f" and self.random.random() < 0.5:
            self.register_parameter(name, nn.Parameter(example, requires_grad=False))
        else:
            self.register_buffer(name, example)
        return _Source(name)

    def forward(self, *inputs: Tensor) -> Tensor:
        h = self.act(inputs[0])
        still = 0 * h.sum() if self.lively else h

        def tensor(source: Any) -> Any:
            if isinstance(source, list):
                return [tensor(part) for part in source]
            if not isinstance(source, _Source):
                return source
            if isinstance(source.key, str):
                weight = getattr(self, source.key)
                return weight + still if self.lively and (weight.is_floating_point() or weight.is_complex()) else weight
            operand = self.inputs[source.key][0]
            axis = operand.shape.index(None)
            given = inputs[source.key]
            if operand.kind == "c":
                given = torch.complex(given.select(-1, 0), given.select(-1, 1))
            return given.movedim(0, axis) if axis else given

        results: list[Tensor] = []
        for call, (args, kwargs) in zip(self.calls, self.bound, strict=True):
            real = [result for result in results if result.is_floating_point()]
            given = [real[-1] if arg is None and index == 0 and real else tensor(arg) for index, arg in enumerate(args)]
            value = call.operator(*given, **{key: tensor(part) for key, part in kwargs.items()})
            results += [part for part in (value if isinstance(value, list | tuple) else [value]) if isinstance(part, Tensor)]
        return torch.cat([h, *(_rows(result, h) for result in results)], 1)


@dataclass(frozen=True)
class _Source:
    """The number of an input or the name of a weight."""

    key: int | str


def _rows(result: Tensor, h: Tensor) -> Tensor:
    """All values of a result, as one row for each example."""
    if result.is_complex():
        result = torch.view_as_real(result.resolve_conj()).sum(-1)
    if result.dtype != torch.float32:
        result = result.to(torch.float32)
    # As text, because comparing a symbolic batch size would turn the symbol into a number.
    axes = [axis for axis, size in enumerate(result.shape) if str(size) == str(h.shape[0])]
    if axes:
        return result.movedim(axes[0], 0).flatten(1) if result.dim() > 1 else result[:, None]
    if any(isinstance(size, torch.SymInt) for size in result.shape):
        result = result.sum()
    return result.reshape(1, -1).expand(h.shape[0], -1)


def network(random: Random, name: str, length: int = 1) -> Network:
    """A network of `length` calls, the first of the operator `name`. Some cannot be exported."""
    net = Network(random, Call.of(name, random.choice(CALLS[name])))
    for follower in random.choices(_FOLLOWERS, k=length - 1):
        net.append(Call.of(follower, random.choice(CALLS[follower])))
    return net


_FOLLOWERS = [name for name, calls in CALLS.items() if all(call.startswith("f[") for call in calls)]


def archive(net: Network) -> bytes:
    """The archive of the network, with a batch of any size."""
    examples = tuple(example for _, example in net.inputs)
    shapes = (tuple({0: torch.export.Dim("batch", min=1)} for _ in examples),)
    sink = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(net.eval(), examples, dynamic_shapes=shapes), sink)
    return sink.getvalue()
