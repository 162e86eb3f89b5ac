"""On a CPU, the weights of convolutions get a new layout, and the outputs stay equal."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from tests.engine.in_process import export, program_of
from tests.engine.nets import net_of
from unitrank_engine.program.functional import functionalise
from unitrank_engine.program.layout import alike_in_gradient, lay_out_channels_last, lay_out_gradients


class Strided(nn.Module):
    """Reads the memory of a convolution's result with given strides."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x).contiguous()
        return torch.as_strided(h, (h.shape[0], 4), (27, 1))


class Tied(nn.Module):
    """Uses one kernel in two convolutions and in a matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = conv2d(self.conv(x).relu(), self.conv.weight, padding=1)
        return y.flatten(1) @ self.conv.weight.reshape(-1, 3)


def conv_weights(module: nn.Module) -> list[Tensor]:
    return [parameter for parameter in module.parameters() if parameter.dim() == 4]


@pytest.mark.parametrize(
    ("module", "example"),
    [
        (net_of("convolutional").module, net_of("convolutional").examples(3)),
        (Tied(), torch.randn(3, 3, 3, 3)),
        (nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2)), torch.randn(3, 1, 3, 3)),
        (nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(36, 2)), torch.randn(3, 4, 5, 5)),
    ],
    ids=["small", "tied", "one-channel", "depthwise"],
)
def test_the_program_computes_what_the_module_does(module: nn.Module, example: Tensor) -> None:
    program = program_of(module, example)

    assert all(weight.stride(1) == 1 for weight in conv_weights(program.module))
    torch.testing.assert_close(program.module(example)[0], module(example), rtol=1e-5, atol=1e-6)


def test_the_module_that_was_exported_keeps_its_own_layout() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(12, 2))

    program_of(module, torch.randn(2, 2, 3, 3))

    assert all(weight.is_contiguous() for weight in conv_weights(module))


def test_the_layout_is_unchanged_if_an_operator_reads_memory_by_strides() -> None:
    module: Any = functionalise(export(Strided(), torch.randn(2, 2, 4, 4)))

    lay_out_channels_last(module)

    assert [weight.is_contiguous() for weight in conv_weights(module)] == [True]


def test_a_tail_lays_out_the_gradients_of_its_reshaped_images() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 2), nn.ReLU(), nn.Conv2d(4, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    x = torch.randn(3, 1, 4, 4)
    program = program_of(module, x)
    split = program.split(next(place for place in program.places if place.layer == "1"), "output")
    h, live = split.head((x,))
    h.requires_grad_()

    (gradient,) = torch.autograd.grad(split.tail(h, live).square().sum(), h)

    assert alike_in_gradient in [node.target for node in lay_out_gradients(split.behind).graph.nodes]
    eager = h.detach().requires_grad_()
    (expected,) = torch.autograd.grad(module[2:](eager).square().sum(), eager)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_a_reshaped_image_has_the_layout_of_the_image() -> None:
    image = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last).requires_grad_()
    seen: list[tuple[int, ...]] = []
    value = image * 2
    value.register_hook(lambda gradient: seen.append(gradient.stride()))

    (alike_in_gradient(value).flatten(1) ** 2).sum().backward()

    assert seen == [value.stride()] == [(48, 1, 12, 3)]
    torch.testing.assert_close(image.grad, 8 * image.detach())


@pytest.mark.parametrize(
    "view",
    [lambda x: x.unfold(2, 3, 1), lambda x: x[:, :, None].expand(-1, -1, 4, -1), lambda x: x[:, :, :, None]],
    ids=["overlapping windows", "expanded", "one column"],
)
def test_the_gradient_of_a_view_is_the_sum_over_its_elements(view: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(2, 3, 6, requires_grad=True)
    weight = torch.randn_like(view(x).flatten(1))

    (gradient,) = torch.autograd.grad((alike_in_gradient(view(x)).flatten(1) * weight).sum(), x)

    (expected,) = torch.autograd.grad((view(x).flatten(1) * weight).sum(), x)
    torch.testing.assert_close(gradient, expected)
