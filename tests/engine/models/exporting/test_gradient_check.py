"""The comparison of gradients accepts networks whose program computes constants from parameters."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unitrank_engine.errors import EngineError
from unitrank_engine.models.exporting import export, gradients

IMAGES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class Doubled(torch.autograd.Function):
    """The value stays, and its gradient is doubled."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, g: Tensor) -> Tensor:
        return 2 * g


class Normed(nn.Module):
    """A convolution and a batch norm, as residual networks have them."""

    def __init__(self, doubled: bool = False) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Linear(4, 2)
        self.doubled = doubled

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)).relu().mean((2, 3))
        return self.head(Doubled.apply(x) if self.doubled else x)


class Uncopied(nn.Sequential):
    """Cannot be copied, as a module that keeps a computed tensor."""

    def __deepcopy__(self, memo: object) -> "Uncopied":
        raise RuntimeError("only leaves can be copied")


def test_export_when_a_batch_norm_becomes_a_scale_and_a_shift_then_the_gradients_agree(tmp_path: Path) -> None:
    torch.manual_seed(0)

    manifest = export(Normed(), IMAGES, tmp_path / "net.pt2")

    assert manifest.gradients == "checked"
    with pytest.raises(EngineError, match=r"gradients in eager PyTorch differ .* by \d+%"):
        export(Normed(doubled=True), IMAGES, tmp_path / "refused.pt2")


def test_export_when_the_module_cannot_be_copied_then_rounding_is_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gradients.CLOSE, torch.float32, 0.0)

    module = Uncopied(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(64, 2))

    manifest = export(module, IMAGES, tmp_path / "net.pt2")

    assert manifest.gradients == "checked"


class Windowed(torch.autograd.Function):
    """The value stays, and its gradient is 0 at large values."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * 1

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g * (ctx.saved_tensors[0].abs() < 3)


class Window(nn.Module):
    """A layer with the gradients of `Windowed`."""

    def forward(self, x: Tensor) -> Tensor:
        return Windowed.apply(x)


@pytest.mark.parametrize("example", [0.0, float("nan")])
def test_export_when_a_backward_differs_at_other_values_than_the_examples_then_it_is_refused(
    example: float, tmp_path: Path
) -> None:
    module = nn.Sequential(Window(), nn.Linear(6, 2))

    with pytest.raises(EngineError, match="the backward of class Windowed"):
        export(module, torch.full((2, 6), example), tmp_path / "net.pt2")
