"""`rrelu` in evaluation mode: a leaky ReLU with the mean of its two slopes."""

import torch
from torch import Tensor

Number = int | float


def rrelu(x: Tensor, lower: Number = 1 / 8, upper: Number = 1 / 3, training: bool = False, generator: None = None) -> Tensor:
    """The leaky ReLU. A graph in training mode is refused before."""
    assert not training
    return torch.nn.functional.leaky_relu(x, (lower + upper) / 2)
