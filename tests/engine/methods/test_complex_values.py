"""Methods on models with complex values and resampled images: numbers of float64, or a warning."""

from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.architectures import transforms
from tests.engine.in_process import program_of, rank
from unitrank_engine.errors import EngineError
from unitrank_engine.models.inspection import manifest

NETS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "fourier_operator": (transforms.FourierOperator, (12,)),
    "state_space": (transforms.StateSpace, (8, 2)),
    "spectrogram": (transforms.Spectrogram, (24,)),
    "complex": (transforms.ComplexPerceptron, (6,)),
    "spatial_transformer": (transforms.SpatialTransformer, (1, 8, 8)),
    "parametrised": (transforms.Parametrised, (3, 8, 8)),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    make, shape = NETS[name]
    torch.manual_seed(3)
    return make().eval(), torch.randn(3, *shape)


def precise(net: nn.Module) -> nn.Module:
    """The eager module in float64 and complex128. `Module.double` leaves out complex numbers."""
    copy = deepcopy(net)
    for part in copy.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is not None and (tensor.is_floating_point() or tensor.is_complex()):
                    wide = tensor.detach().to(torch.complex128 if tensor.is_complex() else torch.float64)
                    held[name] = nn.Parameter(wide) if held is part._parameters else wide
    return copy


def job(net: nn.Module, x: Tensor, folder: Path, methods: list[Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    program = program_of(net, x)
    options: dict[str, Any] = {"target": {"class": "predicted"}, "ablation": {"fractions": [0.5], "random": 3, "split": "none"}}
    return rank(program, folder, {"x": x.numpy()}, "input", methods, keep_examples=3, **options)


@pytest.mark.check
@pytest.mark.parametrize("name", NETS)
def test_gradients_and_paths_are_those_of_the_eager_net_in_float64(name: str, tmp_path: Path) -> None:
    net, x = made(name)
    eager, steps = precise(net), 16
    classes = net(x).argmax(1)

    def gradient(point: Tensor) -> Tensor:
        leaf = point.detach().requires_grad_()
        return torch.autograd.grad(eager(leaf).gather(1, classes[:, None]).sum(), leaf)[0]

    wide = x.double()
    nodes = [((t / steps) ** 3, gradient((t / steps) ** 3 * wide)) for t in range(steps + 1)]
    integrated = wide * sum((b - a) * (one + other) / 2 for (a, one), (b, other) in pairwise(nodes))
    _, arrays = job(net, x, tmp_path, ["gradient", {"name": "integrated_gradients", "steps": steps, "spacing": "cubic"}])

    for method, expected in (("gradient", nodes[-1][1]), ("integrated_gradients", integrated)):
        scores, scale = arrays[f"examples/{method}/all"].reshape(x.shape), float(expected.abs().max())
        assert np.abs(scores - expected.numpy()).max() <= 1e-5 * scale, method


@pytest.mark.check
@pytest.mark.parametrize("name", ["complex", "spectrogram"])
def test_deeplift_through_complex_values_is_complete(name: str, tmp_path: Path) -> None:
    summary, _ = job(*made(name), tmp_path, ["deeplift"])

    (ranking,) = summary["rankings"]
    assert ranking["clusters"]["all"]["completeness"]["relative_gap"] < 1e-5


@pytest.mark.check
def test_deeplift_with_a_slope_that_does_not_converge_warns(tmp_path: Path) -> None:
    """The image moves over the edges of many pixels between the baseline and x."""
    summary, _ = job(*made("spatial_transformer"), tmp_path, ["deeplift"])

    assert "degenerate_reference" in {warning["code"] for warning in summary["warnings"]}


class Turning(nn.Module):
    """Has layers with complex outputs, and one whose operator has no derivative for them."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.dense, self.spectrum, self.activation, self.head = nn.Linear(6, 6), Spectrum(), activation, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.activation(self.spectrum(self.dense(x))).abs())


class Spectrum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x)


def test_complex_values_are_not_layers_that_a_job_can_rank() -> None:
    program = program_of(Turning(nn.Identity()), torch.randn(2, 6))

    assert [layer.name for layer in manifest(program).layers] == ["input", "dense", "head"]


def test_an_operator_without_a_derivative_for_complex_numbers_is_refused() -> None:
    with pytest.raises(EngineError, match="no derivative of silu for complex numbers; compute it from the real") as caught:
        program_of(Turning(nn.SiLU()).requires_grad_(False), torch.randn(2, 6))

    assert caught.value.code == "no_derivative"


@pytest.mark.parametrize("net", [Spectrum(), nn.Identity()], ids=["output", "input"])
def test_a_complex_input_or_output_is_refused(net: nn.Module) -> None:
    example = torch.randn(2, 6, dtype=torch.float32 if isinstance(net, Spectrum) else torch.complex64)

    with pytest.raises(EngineError, match="is complex; take real inputs") as caught:
        program_of(net, example)

    assert caught.value.code == "complex_value"


@pytest.mark.check
def test_passes_of_lower_precision_keep_complex_numbers_in_float32(tmp_path: Path) -> None:
    """torch has no complex numbers of 16 bits."""
    method = {"name": "conductance", "steps": 4, "precision": "bf16"}
    results = [job(*made("complex"), tmp_path, [entry])[1] for entry in (method, method | {"precision": "float32"})]

    ours, exact = (next(values for key, values in arrays.items() if key.startswith("examples/conductance")) for arrays in results)
    np.testing.assert_allclose(ours, exact, rtol=1e-5)
