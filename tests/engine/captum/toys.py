"""Captum's own toy models, exported, and the scores that the engine gives their units."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.testing.helpers import basic_models as models
from captum.testing.helpers.classification_models import SigmoidDeepLiftModel, SoftmaxDeepLiftModel
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.program import Program

Values = list[Any] | np.ndarray

HUNDRED = ([[0, 100, 0]],)
SMALL = ([[3, 4, 0]],)
SUM_OF_25 = ([[0, 10, 0]], [[0, 10, 0]], [[0, 5, 0]])
SUM_OF_20 = ([[0, 10, 1]], [[0, 4, 5]], [[0, 0, 0]])
COUNTING = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
ONES = np.ones((1, 1, 4, 4), np.float32)


class Scaled(nn.Module):
    """Three inputs that are added and scaled.

    Integer inputs keep their value along a path, as Captum's additional arguments do.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.net, self.scale = models.BasicModel_MultiLayer_MultiInput(), scale

    def forward(self, x1: Tensor, x2: Tensor, x3: Tensor) -> Tensor:
        return self.net(x1, x2, x3, self.scale)


class Tripled(nn.Module):
    """The second branch three times."""

    def __init__(self) -> None:
        super().__init__()
        self.net = models.ReLULinearModel()

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return self.net(x1, x2, 3)


class Embedded(nn.Module):
    """Embeds three rows of ids; two rows are equal for all examples."""

    def __init__(self) -> None:
        super().__init__()
        self.net = models.BasicEmbeddingModel(nested_second_embedding=True)
        self.register_buffer("second", torch.tensor([[0, 2, 4, 1]]))
        self.register_buffer("third", torch.tensor([[2, 3, 0, 1]]))

    def forward(self, ids: Tensor) -> Tensor:
        return self.net(ids, self.second, self.third)


def _redrawn(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Dense layers with drawn weights.

    With Captum's weights, all ones, the classes change together and their softmax is constant.
    """

    def drawn() -> nn.Module:
        net = make()
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        return net

    return drawn


@dataclass(frozen=True)
class Toy:
    """A model, and the shape of one example of each input; the last `fixed` inputs are integers."""

    make: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]
    fixed: int = 0

    def examples(self) -> tuple[Tensor, ...]:
        real = len(self.shapes) - self.fixed
        return tuple(
            torch.zeros(2, *shape, dtype=torch.float32 if index < real else torch.int64) for index, shape in enumerate(self.shapes)
        )


THREE, IMAGE = (3,), (1, 4, 4)
TOYS = {
    "layers": Toy(models.BasicModel_MultiLayer, (THREE,)),
    "layers in place": Toy(lambda: models.BasicModel_MultiLayer(inplace=True), (THREE,)),
    "two branches": Toy(lambda: models.BasicModel_MultiLayer(multi_input_module=True), (THREE,)),
    "sum of three, times 4": Toy(lambda: Scaled(4), (THREE,) * 3),
    "sum of two and a fixed one, times 5": Toy(lambda: Scaled(5), (THREE,) * 3, fixed=1),
    "sum of one and two fixed ones": Toy(lambda: Scaled(1), (THREE,) * 3, fixed=2),
    "relu and linear": Toy(models.ReLULinearModel, (THREE,) * 2),
    "relu in place and linear": Toy(lambda: models.ReLULinearModel(inplace=True), (THREE,) * 2),
    "relu and linear, tripled": Toy(Tripled, (THREE,) * 2),
    "two ReLUs": Toy(models.ReLUDeepLiftModel, ((1,),) * 2),
    "two hyperbolic tangents": Toy(models.TanhDeepLiftModel, ((1,),) * 2),
    "sigmoid": Toy(lambda: SigmoidDeepLiftModel(20, 5, 1), ((20,),)),
    "softmax": Toy(_redrawn(lambda: SoftmaxDeepLiftModel(40, 20, 10)), ((40,),)),
    "embedded": Toy(Embedded, ((4,),), fixed=1),
    "linear around max pool": Toy(models.LinearMaxPoolLinearModel, ((4,),)),
    "max pool and relu in place": Toy(lambda: models.BasicModel_MaxPool_ReLU(inplace=True), ((2, 3),)),
    "one convolution": Toy(models.BasicModel_ConvNet_One_Conv, (IMAGE,)),
    "one convolution in place, of two images": Toy(lambda: models.BasicModel_ConvNet_One_Conv(inplace=True), (IMAGE,) * 2),
    "convolutional": Toy(_redrawn(models.BasicModel_ConvNet), ((1, 10, 10),)),
    "convolutional in one dimension": Toy(_redrawn(models.BasicModel_ConvNet_MaxPool1d), ((1, 10),)),
    "convolutional in three dimensions": Toy(_redrawn(models.BasicModel_ConvNet_MaxPool3d), ((1, 10, 10, 10),)),
}


@cache
def module(name: str) -> nn.Module:
    """The module of this name in evaluation mode, with the same weights in every run."""
    torch.manual_seed(0)
    return TOYS[name].make().eval()


@cache
def program(name: str) -> Program:
    return program_of(module(name), *TOYS[name].examples())


def scores(
    name: str,
    folder: Path,
    inputs: tuple[Values, ...],
    layer: str,
    method: dict[str, Any],
    at: str = "output",
    baseline: Values | None = None,
    target: int | None = 0,
    units: str = "neuron",
) -> np.ndarray:
    """The scores of every example. The baseline is zeros, or has a value for each example."""
    toy_program, examples = program(name), TOYS[name].examples()
    fields = {key: np.asarray(x, like.numpy().dtype) for key, x, like in zip(toy_program.inputs, inputs, examples, strict=True)}
    count = len(next(iter(fields.values())))
    request: dict[str, Any] = {"baseline": {"kind": "zeros"}}
    if baseline is not None:
        first = next(iter(fields.values()))
        fields["start"] = np.broadcast_to(np.asarray(baseline, first.dtype), first.shape)
        request["baseline"] = {"kind": "field", "field": "start"}
    _, arrays = rank(
        toy_program,
        folder,
        fields,
        layer,
        [{"id": "scores", **method}],
        at=at,
        units=units,
        target={"class": target},
        ablation=None,
        fidelity=None,
        keep_examples=count,
        **request,
    )
    return arrays["examples/scores/all"]
