"""DeepLIFT is complete and independent of the batch where Captum 0.9 is not.

Captum has no rule there, a wrong one, or results that depend on the batch. Each case runs Captum
too, so that it shows the error, and fails once Captum is corrected.
"""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import DeepLift, LayerDeepLift
from torch import Tensor, nn

from tests.engine.captum.misleading import CASES, INCOMPLETE, MIXES, RAISES, examples, in_known_modules, module, program
from tests.engine.in_process import rank


def _ours(name: str, layer: str, x: Tensor, start: Tensor, folder: Path) -> np.ndarray:
    _, arrays = rank(
        program(name),
        folder,
        {"x": x.numpy(), "start": start.numpy()},
        layer,
        [{"name": "deeplift", "rules": "rescale"}],
        inputs=dict.fromkeys(program(name).inputs, "x"),
        target={"class": 0},
        baseline={"kind": "field", "field": "start"},
        ablation=None,
        fidelity=None,
        keep_examples=len(x),
    )
    return arrays["examples/deeplift/all"]


def _captums(net: nn.Module, layer: str, x: Tensor, start: Tensor) -> np.ndarray:
    method = DeepLift(net) if layer == "input" else LayerDeepLift(net, net.get_submodule(layer))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting forward, backward hooks", UserWarning)
        return method.attribute(x.clone().requires_grad_(), start, target=0).detach().numpy()


def _change(net: nn.Module, x: Tensor, start: Tensor) -> np.ndarray:
    with torch.no_grad():
        return (net(x) - net(start))[:, 0].numpy()


def _gap(scores: np.ndarray, change: np.ndarray) -> float:
    """The worst example's completeness gap, relative to its change where that is above 1."""
    gaps = np.abs(scores.reshape(len(scores), -1).sum(1) - change) / np.maximum(1, np.abs(change))
    return float(gaps.max())


@pytest.mark.parametrize(("name", "layer"), CASES)
def test_scores_sum_to_the_change_of_each_example(name: str, layer: str, tmp_path: Path) -> None:
    x, start = examples(name)
    change = _change(module(name), x, start)

    scores = _ours(name, layer, x, start, tmp_path)

    assert np.abs(change).max() >= 0.05
    assert _gap(scores, change) <= 1e-5


@pytest.mark.parametrize(("name", "layer"), CASES)
def test_scores_of_an_example_alone_equal_its_scores_in_a_batch(name: str, layer: str, tmp_path: Path) -> None:
    x, start = examples(name)

    together = _ours(name, layer, x, start, tmp_path)

    alone = np.concatenate([_ours(name, layer, *pair, tmp_path) for pair in zip(x.split(1), start.split(1), strict=True)])
    assert np.abs(together - alone).max() <= 1e-6 * np.abs(together).max()


@pytest.mark.parametrize(("name", "layer"), [("functional relu", "first"), ("subclass of relu", "first"), ("relu thrice", "fc1")])
def test_scores_equal_captums_on_the_same_net_of_modules_that_it_knows(name: str, layer: str, tmp_path: Path) -> None:
    x, start = examples(name)

    scores = _ours(name, layer, x, start, tmp_path)

    captums = _captums(in_known_modules(name), "0", x, start)
    assert np.abs(scores - captums).max() <= 1e-5 * np.abs(captums).max()


@pytest.mark.parametrize(("name", "layer"), RAISES)
def test_captum_raises(name: str, layer: str) -> None:
    with pytest.raises(RuntimeError, match="used more than once"):
        _captums(module(name), layer, *examples(name))


@pytest.mark.parametrize(("name", "layer"), INCOMPLETE)
def test_captums_scores_miss_the_change(name: str, layer: str) -> None:
    x, start = examples(name)

    assert _gap(_captums(module(name), layer, x, start), _change(module(name), x, start)) >= 0.01


@pytest.mark.parametrize(("name", "layer"), MIXES)
def test_captums_scores_depend_on_the_other_examples(name: str, layer: str) -> None:
    x, start = examples(name)

    together = _captums(module(name), layer, x, start)

    alone = np.concatenate([_captums(module(name), layer, *pair) for pair in zip(x.split(1), start.split(1), strict=True)])
    assert np.abs(together - alone).max() >= 0.01 * np.abs(together).max()
