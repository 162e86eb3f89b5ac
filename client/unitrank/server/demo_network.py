"""The demo's network: a small CNN that is trained on scans of handwritten digits."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn

EPOCHS = 15
BATCH = 64
# The largest value of a pixel in scikit-learn's scans.
WHITE = 16.0


@dataclass(frozen=True)
class Digits:
    """Scans of 8 × 8 pixels with their labels: one half for training, one half for testing."""

    train: tuple[NDArray[np.float32], NDArray[np.int64]]
    test: tuple[NDArray[np.float32], NDArray[np.int64]]


class DigitsNet(nn.Module):
    """A network of two convolutions and two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.fc1 = nn.Linear(24 * 4 * 4, 48)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu2(self.conv2(self.pool(self.relu1(self.conv1(x)))))
        scores: Tensor = self.fc2(self.relu3(self.fc1(h.flatten(1))))
        return scores


def digits(seed: int) -> Digits:
    """The scans in an order drawn with `seed`, with pixels from 0 to 1."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    x = (images[order] / WHITE).astype(np.float32).reshape(-1, 1, 8, 8)
    y = labels[order].astype(np.int64)
    half = len(y) // 2
    return Digits((x[:half], y[:half]), (x[half:], y[half:]))


def train(data: Digits, seed: int) -> tuple[DigitsNet, float]:
    """The trained network, and its accuracy on the test half."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DigitsNet()
    # With more threads than idle cores a network of this size is several times slower.
    torch.set_num_threads(1)
    x, y = (torch.from_numpy(part) for part in data.train)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        order = torch.randperm(len(y), generator=generator)
        for start in range(0, len(y), BATCH):
            rows = order[start : start + BATCH]
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
    network.eval()
    with torch.no_grad():
        predictions = network(torch.from_numpy(data.test[0])).argmax(1).numpy()
    return network, float((predictions == data.test[1]).mean())
