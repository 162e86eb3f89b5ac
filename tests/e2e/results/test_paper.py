"""The paper's table over HTTP, where its net and images are at hand."""

import os
from pathlib import Path

import pytest
from benchmarks.paper import EXPECTED, TOLERANCE, measure


@pytest.mark.timeout(600)
def test_paper_when_the_net_and_images_are_at_hand_then_its_errors_are_reproduced(url: str) -> None:
    """arXiv:1807.09946, Fig. 1, to 0.01 %: conductance with ten steps and gradient × delta after both convolutions."""
    folder = os.environ.get("UNITRANK_MNIST")
    if not folder:
        pytest.skip("UNITRANK_MNIST names no folder with allconv.safetensors and t10k.npz")

    rows = measure(url, Path(folder), [10])

    assert len(rows) == 4
    for layer, ranking, error, _ in rows:
        assert error == pytest.approx(EXPECTED[layer, ranking], rel=TOLERANCE), (layer, ranking)
