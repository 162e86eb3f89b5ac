"""The axis of the channels is followed through the graph."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of

Change = Callable[[Tensor], Tensor]


class Norm(nn.LayerNorm):
    """A layer norm over the channels of [rows, channels, time]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Folded(nn.Module):
    """A dense layer that sees the time steps of all rows on one axis."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dense(x.transpose(1, 2).reshape(-1, 8)).reshape(x.shape[0], -1, 8)
        return out


class Net(nn.Module):
    """A first layer with 8 channels, changes, an activation, and a sum for each channel or step."""

    def __init__(self, first: nn.Module, *changes: nn.Module | Change) -> None:
        super().__init__()
        self.first, self.act, self.head = first, nn.GELU(), nn.LazyLinear(3)
        self.changes = nn.ModuleList(change for change in changes if isinstance(change, nn.Module))
        self.functions = [change for change in changes if not isinstance(change, nn.Module)]

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for change in (*self.changes, *self.functions):
            h = change(h)
        out: Tensor = self.head(self.act(h).flatten(1))
        return out


SOUND, IMAGE, STEPS = (2, 1, 12), (2, 3, 6, 6), (2, 5, 4)
CASES: dict[str, tuple[tuple[int, ...], nn.Module, list[nn.Module | Change], int | None]] = {
    "convolution": (SOUND, nn.Conv1d(1, 8, 3), [], 0),
    "layer norm over channels": (SOUND, nn.Conv1d(1, 8, 3), [Norm(8)], 0),
    "time first": (SOUND, nn.Conv1d(1, 8, 3), [lambda h: h.transpose(1, 2)], 1),
    "channels last": (IMAGE, nn.Conv2d(3, 8, 3), [lambda h: h.permute(0, 2, 3, 1)], 2),
    "channels in the middle": (IMAGE, nn.Conv2d(3, 8, 3), [lambda h: h.movedim(1, 2)], 1),
    "pixels as one axis": (IMAGE, nn.Conv2d(3, 8, 3), [lambda h: h.flatten(2)], 0),
    "tokens of an image": (IMAGE, nn.Conv2d(3, 8, 2, 2), [lambda h: h.flatten(2).transpose(1, 2)], 1),
    "pad, slice and cat": (SOUND, nn.Conv1d(1, 8, 3), [lambda h: torch.cat([nn.functional.pad(h, (1, 0))[:, :, 2:], h], 2)], 0),
    "mean of a row of pixels": (IMAGE, nn.Conv2d(3, 8, 3), [lambda h: h.mean(2)], 0),
    "channels added up": (IMAGE, nn.Conv2d(3, 8, 3), [lambda h: h.mean(1)], None),
    "norm and scale": (IMAGE, nn.Conv2d(3, 8, 3), [lambda h: h / h.norm(dim=1, keepdim=True) * h.mean((2, 3), keepdim=True)], 0),
    "folded rows": (SOUND, nn.Conv1d(1, 8, 3), [Folded()], 1),
    "folded rows of a dense layer": (STEPS, nn.Linear(4, 8), [lambda h: (h.reshape(-1, 8) * 2).reshape(-1, 5, 8)], 1),
    "dense": (STEPS, nn.Linear(4, 8), [], 1),
    "dense, channels first": (STEPS, nn.Linear(4, 8), [lambda h: h.transpose(1, 2)], 0),
    "heads": (STEPS, nn.Linear(4, 8), [lambda h: h.unflatten(2, (2, 4)).transpose(1, 2)], None),
    "heads joined again": (
        STEPS,
        nn.Linear(4, 8),
        [lambda h: h.unflatten(2, (2, 4)).transpose(1, 2).transpose(1, 2).flatten(2)],
        1,
    ),
    "shuffled channels": (IMAGE, nn.Conv2d(3, 8, 3), [lambda h: h.unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2)], 0),
    "channels joined with pixels": (IMAGE, nn.Conv2d(3, 8, 3), [lambda h: h.flatten(1, 2)], None),
    "stacked": (STEPS, nn.Linear(4, 8), [lambda h: torch.stack([h, h], 1)], 2),
}


@pytest.mark.parametrize("case", CASES)
def test_the_channel_axis_is_that_of_the_first_layer(case: str) -> None:
    shape, first, changes, axis = CASES[case]
    net = Net(first, *changes).eval()
    net(torch.randn(shape))

    place = program_of(net, torch.randn(shape)).place("act", "output")

    assert place.channel_axis == axis
    assert axis is None or place.shape[axis] == 8


class Scaled(nn.Module):
    """Reshapes a parameter without axes."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.Tanh()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        scaled: Tensor = self.act(x) * self.scale.reshape(1)
        return scaled


def test_a_value_without_axes_has_no_channels() -> None:
    assert program_of(Scaled(), torch.randn(2, 3, 8, 8)).place("act", "output").channel_axis == 0
