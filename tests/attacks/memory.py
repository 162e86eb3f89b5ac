"""Networks whose archives pass the vetting, and whose operators would leave their memory.

Each was accepted before, and returned unwritten memory, or wrote beyond a tensor.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

aten = torch.ops.aten


class Hostile(nn.Module):
    """Adds to its output what a function makes of the batch and of buffers."""

    def __init__(self, function: Callable[..., Tensor], *buffers: Tensor) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(4, 2), function
        self.names = [f"buffer_{number}" for number in range(len(buffers))]
        for name, tensor in zip(self.names, buffers, strict=True):
            self.register_buffer(name, tensor)

    def forward(self, x: Tensor) -> Tensor:
        value = self.function(x, *(getattr(self, name) for name in self.names))
        return self.linear(x) + 0 * value.sum()


def circular(*pads: int) -> Hostile:
    return Hostile(lambda x, kernel: aten.pad.default(kernel, list(pads), "circular"), torch.ones(1, 1, 1024))


def index_with_and_without_axes(x: Tensor, table: Tensor, rows: Tensor, column: Tensor, g: Tensor) -> Tensor:
    value = aten.index.Tensor(table, [rows, column])
    return aten._weight_norm.default(aten.unsqueeze.default(aten.unsqueeze.default(value, -1), -1), g, 0)


def lstm(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
    states = [aten.new_zeros.default(x, [1, x.shape[0], 64])] * 2
    weights = [w_ih, w_hh, b_ih, b_hh]
    return aten.lstm.input(x[:, None], states, weights, True, 1, 0.0, False, False, True)[0]


NETWORKS: dict[str, tuple[Hostile, str]] = {
    "circular_pad_of_all": (circular(1024, -1024), "program_refused"),
    "circular_pad_from_the_right": (circular(-1024, 1024), "program_refused"),
    "circular_pad_of_more_than_is_left": (circular(600, -600), "program_refused"),
    "index_that_is_traced_as_one_number": (
        Hostile(
            index_with_and_without_axes,
            torch.full((6, 3), 3.0),
            torch.zeros(64, dtype=torch.int64),
            torch.tensor(1),
            torch.ones(1, 1),
        ),
        "shape_not_as_traced",
    ),
    "weight_norm_with_one_length_for_many_rows": (
        Hostile(lambda x, v, g: aten._weight_norm.default(v, g, 0), torch.ones(64, 4), torch.ones(1, 1)),
        "weights_refused",
    ),
    "embedding_bag_with_offsets_that_go_back": (
        Hostile(
            lambda x, table, rows, offsets: aten.embedding_bag.default(table, rows, offsets)[0],
            torch.ones(4, 16),
            torch.zeros(8, dtype=torch.int64),
            torch.tensor([0, 5, *[2] * 510]),
        ),
        "weights_refused",
    ),
    "lstm_with_biases_of_one_number": (
        Hostile(lstm, torch.zeros(256, 4), torch.zeros(256, 64), torch.zeros(1), torch.zeros(1)),
        "weights_refused",
    ),
    "lstm_with_one_short_bias": (
        Hostile(lstm, torch.zeros(256, 4), torch.zeros(256, 64), torch.zeros(256), torch.zeros(1)),
        "weights_refused",
    ),
}
"""Network, and the code of its refusal, by name."""


def save(network: nn.Module, path: str) -> None:
    """Writes the network as a user would."""
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    torch.export.save(torch.export.export(network.eval(), (torch.randn(2, 4),), dynamic_shapes=shapes), path)
