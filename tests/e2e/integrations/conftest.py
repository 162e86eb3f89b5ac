"""A network and a dataset as files, for programs that upload them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.e2e.conftest import save


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The paths of a network with the layer `relu1` and of a dataset with labels."""
    folder = tmp_path_factory.mktemp("integrations")
    torch.manual_seed(0)
    net = nn.Sequential()
    net.add_module("fc1", nn.Linear(4, 16))
    net.add_module("relu1", nn.ReLU())
    net.add_module("fc2", nn.Linear(16, 3))
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(60, 4)).astype(np.float32), generator.integers(0, 3, 60)
    np.savez(folder / "data.npz", x=x, y=y)
    return save(net, folder / "net.pt2", torch.zeros(2, 4)), folder / "data.npz"
