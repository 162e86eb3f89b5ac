"""Fixtures: one small exported program, saved once, and its entries."""

from pathlib import Path

import pytest
import torch

from tests.engine.archive.forging import Entries, entries_of
from tests.engine.archive.networks import networks


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the smallest network, with a symbolic batch."""
    network, inputs = networks()["convolution"]
    path = tmp_path_factory.mktemp("saved") / "model.pt2"
    shapes = ({0: torch.export.Dim("batch", min=1, max=64)},)
    torch.export.save(torch.export.export(network, inputs, dynamic_shapes=shapes), path)
    return path


@pytest.fixture
def entries(saved: Path) -> Entries:
    """The entries of `saved`; a test may change them."""
    return entries_of(saved)
