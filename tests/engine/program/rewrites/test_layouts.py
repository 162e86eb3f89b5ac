"""Permuted values are let in where torch traces another memory layout than its kernels give."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unitrank_engine.models.exporting import export


class Permuted(nn.Module):
    """Calls a layer on values whose channels were the last axis."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.movedim(-1, 1)).movedim(1, -1).flatten(1)[:, :4]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.BatchNorm1d(4), (6, 4)),
        (nn.MaxPool1d(2), (6, 4)),
        (nn.Conv3d(4, 5, 2), (3, 3, 3, 4)),
        (nn.ConvTranspose3d(4, 5, 2), (3, 3, 3, 4)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_export_when_channels_were_the_last_axis_then_values_and_gradients_agree(
    layer: nn.Module, shape: tuple[int, ...], tmp_path: Path
) -> None:
    manifest = export(Permuted(layer), torch.randn(2, *shape), tmp_path / "net.pt2")

    assert manifest.gradients == "checked"
