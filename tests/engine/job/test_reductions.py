"""Outputs with further axes are reduced to one row of logits for each example.

The oracle is a wrapper module that reduces inside, and eager float64.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.models.inspection import manifest
from unitrank_engine.program import Program
from unitrank_engine.program.outputs.class_axis import class_axis

X = np.random.default_rng(0).normal(size=(9, 2, 4, 5)).astype(np.float32)
Y = np.arange(9) % 3
METHODS = [
    "gradient",
    "gradient_x_delta",
    {"name": "conductance", "steps": 12},
    {"name": "integrated_gradients", "steps": 12},
    "deeplift",
    "exact_ablation",
]
NO_TESTS: dict[str, Any] = {"ablation": None, "fidelity": None}


def segmenter() -> nn.Sequential:
    """A row of logits for each pixel: `[N, 3, 4, 5]`."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))


class Tagger(nn.Module):
    """A row of logits for each token: `[N, 10, 3]`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.mix, self.act, self.head = nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.act(self.mix(x.flatten(1, 2).transpose(1, 2).flatten(1).reshape(-1, 10, 4))))
        return out


REDUCTIONS: dict[str, Any] = {
    "mean": lambda logits: logits.flatten(2).mean(2),
    "max": lambda logits: logits.flatten(2).amax(2),
}


class Reduced(nn.Module):
    """The wrapper that a user would write."""

    def __init__(self, net: nn.Module, axis: int, reduce: Any) -> None:
        super().__init__()
        self.net, self.axis, self.reduce = net, axis, reduce

    def forward(self, x: Tensor) -> Tensor:
        logits = self.net(x).movedim(self.axis, 1)
        if isinstance(self.reduce, str):
            out: Tensor = REDUCTIONS[self.reduce](logits)
            return out
        for index in self.reduce["at"]:
            logits = logits[:, :, index]
        return logits


CASES = [(segmenter, 1, "1"), (Tagger, 2, "act")]


@pytest.mark.check
@pytest.mark.parametrize("reduce", ["mean", "max", "at"])
@pytest.mark.parametrize(("net", "axis", "layer"), CASES, ids=["pixels", "tokens"])
def test_reduced_output_has_the_scores_of_a_wrapper_that_reduces(
    net: Any, axis: int, layer: str, reduce: Any, tmp_path: Path
) -> None:
    choice = {"at": [1, 3] if axis == 1 else [7]} if reduce == "at" else reduce
    example = torch.randn(2, *X.shape[1:])
    module = net()

    summary, arrays = rank(
        program_of(module, example), tmp_path, {"x": X, "y": Y}, layer, METHODS,
        target={"class": "label", "reduce": choice}, clusters={"by": "label"}, keep_examples=9, **NO_TESTS,
    )  # fmt: skip
    wrapper = Reduced(deepcopy(module), axis, choice).double()
    other, expected = rank(
        program_of(wrapper, example.double()), tmp_path, {"x": X, "y": Y}, f"net.{layer}", METHODS,
        target={"class": "label"}, clusters={"by": "label"}, keep_examples=9, **NO_TESTS,
    )  # fmt: skip

    for name, values in expected.items():
        if name.startswith(("importance/", "examples/")):
            np.testing.assert_allclose(arrays[name], values, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        predicted = Reduced(module, axis, choice)(torch.from_numpy(X)).argmax(1).numpy()
    for index, cluster in enumerate(summary["clusters"]):
        assert cluster["accuracy"] == pytest.approx((predicted[index == Y] == index).mean())
        assert cluster["score"] == pytest.approx(other["clusters"][index]["score"], rel=1e-5)
    (deeplift,) = [ranking for ranking in summary["rankings"] if ranking["id"] == "deeplift"]
    assert all(each["completeness"]["relative_gap"] < 1e-5 for each in deeplift["clusters"].values())


@pytest.fixture(scope="module")
def pixels() -> Program:
    return program_of(segmenter(), torch.randn(2, *X.shape[1:]))


def test_reduced_output_when_the_highest_pixel_is_taken_then_gradients_equal_eager_float64(pixels: Program, tmp_path: Path) -> None:
    target = {"class": "label", "score": "log_probability", "reduce": "max"}

    _, arrays = rank(pixels, tmp_path, {"x": X, "y": Y}, "1", ["gradient"], target=target, keep_examples=9, **NO_TESTS)

    net = segmenter().double()
    h = net[1](net[0](torch.from_numpy(X).double())).detach().requires_grad_()
    f = net[2](h).flatten(2).amax(2).log_softmax(1)[range(9), Y].sum()
    np.testing.assert_allclose(arrays["examples/gradient/all"], torch.autograd.grad(f, h)[0], rtol=1e-4, atol=1e-6)


def test_clusters_by_prediction_are_those_of_the_reduced_logits(pixels: Program, tmp_path: Path) -> None:
    _, arrays = rank(
        pixels, tmp_path, {"x": X}, "1", ["activation"], clusters={"by": "prediction"},
        target={"class": "predicted", "reduce": "mean"}, **NO_TESTS,
    )  # fmt: skip

    with torch.no_grad():
        predicted = segmenter()(torch.from_numpy(X)).mean((2, 3)).argmax(1)
    for name in {name for name in arrays if name.startswith("rows/")}:
        assert arrays[name].tolist() == (predicted == int(name[5:])).nonzero()[:, 0].tolist()


def test_program_when_an_output_is_reduced_then_the_program_itself_keeps_its_output(pixels: Program, tmp_path: Path) -> None:
    rank(pixels, tmp_path, {"x": X}, "1", ["gradient"], target={"class": 0, "reduce": "max"}, **NO_TESTS)

    assert pixels.outputs["output"].shape == (None, 3, 4, 5)
    assert pixels.forward((torch.from_numpy(X),), "output").shape == (9, 3, 4, 5)


def test_many_positions_do_not_collect_programs(pixels: Program, tmp_path: Path) -> None:
    for index in range(9):
        position = [index // 5, index % 5]
        rank(pixels, tmp_path, {"x": X}, "1", ["activation"], target={"class": 0, "reduce": {"at": position}}, **NO_TESTS)

    assert len(pixels.reductions) < 9


class Permuted(nn.Module):
    """Channels last: the classes of a convolution move to axis 3."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x).permute(0, 2, 3, 1).softmax(-1)
        return out


class Tokens(nn.Module):
    """A convolution whose pixels become tokens, `[N, 20, 3]`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x).flatten(2).transpose(1, 2)
        return out


class Similarity(nn.Module):
    """Products of tokens: no axis counts classes."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0] @ x[:, 1].transpose(1, 2)


class Upsampled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = segmenter()

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(self.net(x), scale_factor=2, mode="bilinear")


@pytest.mark.parametrize(
    ("module", "axis"), [(segmenter, 1), (Tagger, 2), (Permuted, 3), (Tokens, 2), (Upsampled, 1), (Similarity, None)]
)
def test_manifest_names_the_axis_of_the_classes(module: Any, axis: int | None) -> None:
    program = program_of(module(), torch.randn(2, *X.shape[1:]))

    assert class_axis(program.outputs["output"].node) == axis
    assert manifest(program).outputs[0].class_axis == axis


class Filtered(nn.Module):
    """Adds a constant image, which a convolution of a parameter makes."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.image = nn.Conv2d(2, 3, 1), nn.Parameter(torch.ones(1, 2, 4, 5))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(x) + self.head(self.image).squeeze()
        return out


def test_class_axis_when_a_constant_is_squeezed_then_is_that_of_the_other_value() -> None:
    program = program_of(Filtered(), torch.from_numpy(X[:2]))

    assert class_axis(next(iter(program.outputs.values())).node) == 1
