"""Over HTTP: the paper's table, if its network and images are available."""

import os
from pathlib import Path

import pytest
from benchmarks.paper import EXPECTED, TOLERANCE, measure


@pytest.mark.timeout(600)
def test_paper_when_its_network_and_images_are_available_then_its_errors_are_reproduced(url: str) -> None:
    """arXiv:1807.09946, Fig. 1, to 0.01 %.

    The methods are conductance with ten steps, gradient × delta, and DeepLIFT with two kinds of
    rules, after both convolutions.
    """
    folder = os.environ.get("UNITRANK_MNIST")
    if not folder:
        pytest.skip("set UNITRANK_MNIST to a folder with allconv.safetensors and t10k.npz")

    rows = measure(url, Path(folder), [10])

    assert len(rows) == 8
    for layer, ranking, error, _ in rows:
        assert error == pytest.approx(EXPECTED[layer, ranking], rel=TOLERANCE), (layer, ranking)
