"""Rewritten operators have the values and gradients of torch's own operators."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.engine.in_process import export
from unitrank_engine.archive.description.operators import OPERATORS
from unitrank_engine.errors import EngineError
from unitrank_engine.program.functional import functionalise
from unitrank_engine.program.rewrites.complex_numbers import view_as_complex
from unitrank_engine.program.rewrites.composites import COMPOSITES
from unitrank_engine.program.rewrites.repeats import repeat_interleave
from unitrank_engine.program.rewrites.scatters import histc, scatter_reduced, scatter_value_reduced
from unitrank_engine.program.rewrites.short_time_fourier import istft, stft, stft_centred
from unitrank_engine.program.rewrites.unpooling import max_unpool2d, max_unpool3d

aten = torch.ops.aten
SIGNAL, WINDOW = torch.randn(2, 40, dtype=torch.float64), torch.hann_window(6, dtype=torch.float64) + 0.1


def compare(ours: Callable[..., Tensor], theirs: Callable[..., Tensor], x: Tensor) -> None:
    results = []
    for function in (ours, theirs):
        leaf = x.clone().requires_grad_()
        value = function(leaf)
        results.append((value.detach(), *torch.autograd.grad(value.abs().square().sum(), leaf)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_each_composite_operator_is_on_the_list() -> None:
    assert {f"torch.ops.{operator}" for operator in COMPOSITES} <= OPERATORS


@pytest.mark.parametrize(
    "arguments",
    [(8, 4, 6, WINDOW, False, True, True), (8, 3, None, None, True, False, True), (6, None, None, WINDOW, False, None, False)],
    ids=str,
)
def test_a_rewritten_stft_is_torchs_own(arguments: tuple[Any, ...]) -> None:
    compare(lambda x: stft(x, *arguments), lambda x: aten.stft.default(x, *arguments), SIGNAL)


def test_a_rewritten_stft_with_padding_is_torchs_own() -> None:
    arguments = (8, 4, 6, WINDOW, True, "reflect", False, True, True)

    compare(lambda x: stft_centred(x, *arguments), lambda x: aten.stft.center(x, *arguments), SIGNAL)


@pytest.mark.parametrize("length", [None, 30])
@pytest.mark.parametrize(("center", "normalized", "one_sided"), [(True, False, True), (True, True, True), (False, False, False)])
def test_a_rewritten_istft_is_torchs_own(length: int | None, center: bool, normalized: bool, one_sided: bool) -> None:
    # The kernel of torch needs frames that cover each value.
    window = torch.ones(8, dtype=torch.float64)
    spectrum = aten.stft.default(SIGNAL, 8, 4, 8, window, normalized, one_sided, True)
    arguments = (8, 4, 8, window, center, normalized, one_sided, length)

    compare(lambda z: istft(z, *arguments), lambda z: aten.istft.default(z, *arguments), spectrum)


@pytest.mark.parametrize("arguments", [(8, 0, None), (8, 4, 9), (0, None, None), (8, -1, None)], ids=str)
def test_an_stft_whose_sizes_do_not_fit_is_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(EngineError, match="short-time Fourier"):
        stft(SIGNAL, *arguments, WINDOW)


def test_a_rewritten_max_unpool_is_torchs_own() -> None:
    x, positions = functional.max_pool2d(torch.randn(2, 3, 6, 8, dtype=torch.float64), 2, return_indices=True)
    volume, places = functional.max_pool3d(torch.randn(2, 3, 4, 6, 8, dtype=torch.float64), 2, return_indices=True)

    compare(lambda x: max_unpool2d(x, positions, [6, 8]), lambda x: aten.max_unpool2d.default(x, positions, [6, 8]), x)
    rest = (places, [4, 6, 8], [2, 2, 2], [0, 0, 0])
    compare(lambda x: max_unpool3d(x, *rest), lambda x: aten.max_unpool3d.default(x, *rest), volume)


@pytest.mark.parametrize("axis", [0, 1, None])
def test_a_rewritten_repeat_is_torchs_own(axis: int | None) -> None:
    x = torch.randn(3, 4, dtype=torch.float64)
    repeats = torch.tensor({0: [2, 0, 1], 1: [1, 3, 0, 2], None: [1] * 6 + [2] * 6}[axis])
    size = int(repeats.sum())

    compare(
        lambda x: repeat_interleave(x, repeats, axis, size),
        lambda x: torch.repeat_interleave(x, repeats, axis, output_size=size),
        x,
    )


@pytest.mark.filterwarnings("ignore:The reduce argument of torch.scatter")
@pytest.mark.parametrize("reduction", ["add", "multiply"])
def test_a_rewritten_scatter_with_a_reduction_is_torchs_own(reduction: str) -> None:
    """torch has no derivative of its own operator."""
    x, source = torch.randn(3, 5), torch.randn(3, 4)
    index = torch.randint(0, 5, (3, 4))

    torch.testing.assert_close(
        scatter_reduced(x, 1, index, source, reduce=reduction), x.scatter(1, index, source, reduce=reduction)
    )
    torch.testing.assert_close(
        scatter_value_reduced(x, 1, index, 2.0, reduce=reduction), x.scatter(1, index, 2.0, reduce=reduction)
    )


@pytest.mark.parametrize("arguments", [(10,), (4, -1, 1), (3, 0, 2), (5, 1, 1)], ids=str)
@pytest.mark.parametrize("x", [torch.randn(50), torch.arange(5.0), torch.ones(4)], ids=["random", "whole", "equal"])
def test_a_rewritten_histogram_is_torchs_own(x: Tensor, arguments: tuple[Any, ...]) -> None:
    torch.testing.assert_close(histc(x, *arguments), torch.histc(x, *arguments))


def test_a_histogram_of_values_that_are_not_numbers_counts_the_others() -> None:
    assert histc(torch.tensor([torch.nan, torch.inf, 0.5, -torch.inf]), 2, 0, 1).tolist() == [0, 1]


@pytest.mark.parametrize("arguments", [(0,), (3, 2, 1), (-4, 0, 1)], ids=str)
def test_a_histogram_without_bins_is_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(EngineError, match="expected 1 bin"):
        histc(torch.ones(3), *arguments)


def test_complex_numbers_in_any_memory_layout_are_torchs_own() -> None:
    x = torch.randn(2, 4, 3, dtype=torch.float64).transpose(1, 2)[..., :2]

    compare(view_as_complex, lambda x: torch.view_as_complex(x.contiguous()), x)


class Writes(torch.nn.Module):
    """Writes into parts of complex tensors."""

    def forward(self, x: Tensor) -> Tensor:
        z = torch.fft.rfft(x)
        kept = torch.zeros_like(z)
        kept[:, :2] = z[:, :2] * 2j
        kept[:, -1] = z[:, 0].conj()
        return torch.fft.irfft(kept, n=x.shape[1])


def test_a_write_into_a_complex_tensor_has_torchs_gradient() -> None:
    module = functionalise(export(Writes(), torch.randn(3, 8, dtype=torch.float64)))

    compare(lambda x: module(x)[0], Writes(), torch.randn(2, 8, dtype=torch.float64))
