"""Scores of an example alone equal its scores in company, for each memory layout in a model."""

from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank

LIMIT = 4
"""Rows in one pass."""
SIZES = (1, 2, 3, LIMIT, LIMIT + 1)
"""Numbers of examples of a job. A job of LIMIT + 1 examples has a last pass of one row."""
FEW_SIZES = (1, LIMIT + 1)
"""The sizes of `make check`; `make slow` has all."""
METHODS: list[dict[str, Any]] = [
    *({"name": name} for name in ("activation", "gradient", "gradient_x_activation", "gradient_x_delta", "grad_cam")),
    *({"name": "deeplift", "rules": rules, "id": rules} for rules in ("rescale", "reveal_cancel", "default")),
    {"name": "exact_ablation"},
    *({"name": name, "steps": 6, "spacing": "cubic"} for name in ("conductance", "integrated_gradients", "internal_influence")),
]


class Layout(nn.Module):
    """Copies its argument into a memory layout; the numbers stay the same."""

    def __init__(self, copy: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.copy = copy

    def forward(self, x: Tensor) -> Tensor:
        return self.copy(x)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels-last": lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "columns first": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "every other row": lambda x: torch.stack([x, 2 * x], 1)[:, 0],
    "rows last": lambda x: x.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1),
}


class Excite(nn.Module):
    """Squeeze and excite: values of one pixel scale the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(6), nn.GELU(), nn.Conv2d(6, 6, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class Dense(nn.Module):
    """Batch norm first; the result has the channels of the argument and new ones."""

    def __init__(self, inside: int) -> None:
        super().__init__()
        self.new = nn.Sequential(nn.BatchNorm2d(inside), nn.GELU(), nn.Conv2d(inside, 2, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.new(x)], 1)


NETS: dict[str, Callable[[Callable[[], nn.Module]], list[nn.Module]]] = {
    "gelu and batch norm": lambda layout: [
        nn.Conv2d(3, 6, 3),
        nn.GELU(),
        layout(),
        nn.BatchNorm2d(6),
        nn.Conv2d(6, 6, 1),
        nn.GELU(),
        nn.BatchNorm2d(6),
    ],
    "batch norm first": lambda layout: [nn.BatchNorm2d(3), nn.Tanh(), layout(), nn.Conv2d(3, 6, 3), nn.SiLU(), nn.BatchNorm2d(6)],
    "max pool": lambda layout: [
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        layout(),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(6),
        nn.Softplus(),
    ],
    "transposed": lambda layout: [
        nn.Conv2d(3, 6, 3, 2),
        nn.GELU(),
        layout(),
        nn.ConvTranspose2d(6, 6, 2, 2),
        nn.BatchNorm2d(6),
        nn.ELU(),
    ],
    "depthwise": lambda layout: [
        nn.Conv2d(3, 6, 1),
        layout(),
        nn.BatchNorm2d(6),
        nn.Hardswish(),
        nn.Conv2d(6, 6, 3, groups=6),
        nn.BatchNorm2d(6),
        nn.GELU(),
    ],
    "instance norm": lambda layout: [
        nn.Conv2d(3, 6, 3),
        nn.GELU(),
        nn.Conv2d(6, 6, 3, padding=1),
        layout(),
        nn.InstanceNorm2d(6, affine=True),
        nn.GELU(),
        nn.Conv2d(6, 6, 1),
    ],
    "group norm": lambda layout: [nn.Conv2d(3, 6, 3), nn.GELU(), layout(), nn.GroupNorm(2, 6), nn.SiLU(), nn.BatchNorm2d(6)],
    "excite": lambda layout: [nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.GELU(), layout(), Excite(), nn.BatchNorm2d(6)],
    "dense": lambda layout: [nn.Conv2d(3, 2, 1), layout(), Dense(2), Dense(4), nn.BatchNorm2d(6), nn.GELU()],
    "upsample": lambda layout: [
        nn.Conv2d(3, 6, 3),
        nn.GELU(),
        layout(),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.BatchNorm2d(6),
        nn.Tanh(),
    ],
    "shuffle": lambda layout: [nn.Conv2d(3, 24, 3), nn.GELU(), layout(), nn.PixelShuffle(2), nn.BatchNorm2d(6), nn.GELU()],
    "narrow": lambda layout: [
        nn.Conv2d(3, 6, (8, 3)),
        nn.GELU(),
        layout(),
        nn.BatchNorm2d(6),
        nn.Conv2d(6, 6, 1),
        nn.GELU(),
        nn.BatchNorm2d(6),
    ],
}
QUICK = ("gelu and batch norm", "rows last")
CHECKED = list(zip(NETS, cycle(LAYOUTS), strict=False))
"""`make check` has each net and each layout; `make slow` has each net in each layout."""
CASES = [
    pytest.param(*QUICK, FEW_SIZES, id="quick"),
    *(pytest.param(*case, FEW_SIZES, marks=pytest.mark.check, id=f"{'-'.join(case)}-few") for case in CHECKED),
    *(pytest.param(net, layout, SIZES, marks=pytest.mark.slow) for net in NETS for layout in LAYOUTS),
]


def _net(name: str, layout: str) -> nn.Module:
    torch.manual_seed(3)
    net = nn.Sequential(*NETS[name](lambda: Layout(LAYOUTS[layout])), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
    return net.eval()


@pytest.mark.parametrize(("name", "layout", "sizes"), CASES)
def test_scores_of_an_example_are_the_same_at_each_number_of_examples(
    name: str, layout: str, sizes: tuple[int, ...], tmp_path: Path, limit_rows: Callable[[int], None]
) -> None:
    net = _net(name, layout)
    x = torch.randn(LIMIT + 1, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    program = program_of(net, x)

    def scores(layer: str, rows: slice) -> dict[str, np.ndarray]:
        options = {"ablation": None, "fidelity": None, "keep_examples": LIMIT + 1, "baseline": {"kind": "zeros"}}
        _, arrays = rank(program, tmp_path, {"x": x[rows].numpy()}, layer, METHODS, **options)
        return {key: values for key, values in arrays.items() if key.startswith("examples/") and not key.endswith("/rows")}

    # A layout that is the present one makes no copy and has no place.
    layers = [place.layer for place in program.places if place.at == "output" and place.layer in ("0", "1")]
    for layer in layers[: 1 if (name, layout) == QUICK else 2]:
        limit_rows(64)
        together = scores(layer, slice(None))
        limit_rows(LIMIT)
        parts = [(rows, scores(layer, rows)) for rows in (*map(slice, sizes), slice(LIMIT, LIMIT + 1))]

        for rows, got in parts:
            for key, expected in together.items():
                # A score of exact ablation has the rounding of two outputs, which are below 2.
                rounding = 2**-21 if "exact_ablation" in key else 0
                assert np.abs(got[key] - expected[rows]).max() <= 2e-5 * np.abs(expected).max() + rounding, (layer, rows, key)


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name == QUICK[0] else pytest.mark.check) for name in NETS])
def test_the_gradient_of_one_example_equals_the_eager_nets_in_float64(name: str, tmp_path: Path) -> None:
    net = _net(name, "channels-last")
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    options = {"ablation": None, "fidelity": None, "keep_examples": 1, "target": {"class": 2, "score": "centered"}}

    _, arrays = rank(program_of(net, x.repeat(2, 1, 1, 1)), tmp_path, {"x": x.numpy()}, "input", ["gradient"], **options)

    leaf = x.double().requires_grad_()
    logits = net.double()(leaf)[0]
    (expected,) = torch.autograd.grad(logits[2] - logits.mean(), leaf)
    error = np.abs(arrays["examples/gradient/all"] - expected.numpy()).max()
    assert error <= 1e-5 * expected.abs().max().item()
