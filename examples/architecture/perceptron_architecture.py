"""An architecture by name: clients send its sizes and weights, but no code."""

import torch
from torch import nn


def perceptron(inputs: int = 4, hidden: int = 8, classes: int = 3) -> tuple[nn.Module, torch.Tensor]:
    """The network, and an example of its inputs [batch, inputs].

    Raises ValueError for a size outside 1 to 4096: clients choose the arguments.
    """
    if not 0 < min(inputs, hidden, classes) <= max(inputs, hidden, classes) <= 4096:
        raise ValueError(f"inputs={inputs}, hidden={hidden}, classes={classes} is invalid: each must be from 1 to 4096")
    network = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))
    return network, torch.zeros(1, inputs)
