"""A perceptron by name: clients choose its sizes and send its weights, the code is the operator's."""

import torch
from torch import nn


def perceptron(inputs: int = 4, hidden: int = 8, classes: int = 3) -> tuple[nn.Module, torch.Tensor]:
    """The network, and an example of its inputs with the batch first."""
    if not 0 < min(inputs, hidden, classes) <= max(inputs, hidden, classes) <= 4096:
        raise ValueError("inputs, hidden and classes must be from 1 to 4096")
    network = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))
    return network, torch.zeros(1, inputs)
