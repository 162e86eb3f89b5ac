"""The ranking of all layers' units together equals hooks in eager PyTorch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.layers.nets import NETS, job, network

FRACTIONS = [0.2, 0.5, 0.8]
CHANNEL_AXIS = {"act": 1, "inner": 1, "first": 2, "turned": 2}


@contextmanager
def zeroed(net: nn.Module, channels: Mapping[str, list[int]]) -> Iterator[None]:
    """Set channels of the outputs of some layers to zero."""

    def hook(layer: str) -> Any:
        def change(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            changed = output.clone()
            changed.index_fill_(CHANNEL_AXIS[layer], torch.tensor(channels[layer], dtype=torch.long), 0.0)
            return changed

        return change

    handles = [net.get_submodule(layer).register_forward_hook(hook(layer)) for layer in channels]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("order", ["most", "least", "keep"])
def test_joint_curves_when_units_of_several_layers_are_replaced_then_equal_to_hooks(name: str, order: str, tmp_path: Path) -> None:
    layers, (net, _, x, y) = NETS[name][1], network(name)
    ablation = {"fractions": FRACTIONS, "random": 19, "fill": "zero", "split": "none", "examples": 100}

    summary, arrays = job(name, tmp_path, layers, ["exact_ablation"], ablation=ablation, joint=True)

    joint = summary["joint"]
    firsts = {part["layer"]: part["first"] for part in joint["layer"]["parts"]}
    sizes = {part["layer"]: int(np.prod(part["shape"])) for part in joint["layer"]["parts"]}
    assert joint["layer"]["count"] == sum(sizes.values())
    counts = joint["rankings"][0]["clusters"]["0"]["ablation"]["counts"]
    for cluster in range(3):
        importance = arrays["joint/importance/exact_ablation"][cluster]
        by_size = np.argsort(np.abs(importance) if order == "least" else -importance)
        replaced = [by_size[count:] if order == "keep" else by_size[:count] for count in counts]
        expected = [_mean_score(net, x, y, cluster, layers, firsts, sizes, units) for units in replaced]
        curve = arrays[f"joint/ablation/exact_ablation/{order}"][cluster]
        np.testing.assert_allclose(curve[1:], expected, rtol=1e-5, atol=1e-6)


def _mean_score(
    net: nn.Module, x: np.ndarray, y: np.ndarray, cluster: int, layers: list[str], firsts: Any, sizes: Any, units: np.ndarray
) -> float:
    of_layers = {
        layer: [int(unit - firsts[layer]) for unit in units if 0 <= unit - firsts[layer] < sizes[layer]] for layer in layers
    }
    with torch.no_grad(), zeroed(net, of_layers):
        return float(net(torch.from_numpy(x[y == cluster]))[:, cluster].double().mean())


def test_joint_importance_when_computed_then_it_has_the_layers_side_by_side(tmp_path: Path) -> None:
    layers = NETS["residual"][1]

    _, arrays = job("residual", tmp_path, layers, [{"name": "gradient", "statistic": "rms"}], joint=True)

    parts = [arrays[f"{layer}/importance/gradient.rms"] for layer in layers]
    np.testing.assert_array_equal(arrays["joint/importance/gradient.rms"], np.concatenate(parts, axis=1))
    spreads = [arrays[f"{layer}/spread/gradient.rms"] for layer in layers]
    np.testing.assert_array_equal(arrays["joint/spread/gradient.rms"], np.concatenate(spreads, axis=1))


@pytest.mark.parametrize("fill", ["baseline", "mean", "resample"])
def test_joint_fill_when_all_units_are_replaced_then_it_is_the_fill_of_the_last_cut(fill: str, tmp_path: Path) -> None:
    """All units of the last layer together decide the output, so earlier layers change nothing."""
    ablation = {"fractions": [0.5], "random": 19, "fill": fill, "check_fill": None}

    _, arrays = job("sequence", tmp_path, NETS["sequence"][1], ["gradient"], ablation=ablation, joint=True)
    _, alone = job("sequence", tmp_path, NETS["sequence"][1], ["gradient"], ablation=ablation, joint=False)

    kept, last = arrays["joint/ablation/gradient/keep"][:, 0], alone["turned/ablation/gradient/keep"][:, 0]
    np.testing.assert_allclose(kept, last, rtol=1e-5, atol=1e-6) if fill != "resample" else None
    assert kept.shape == last.shape


def test_joint_when_scores_are_no_changes_of_the_target_then_there_is_a_warning(tmp_path: Path) -> None:
    layers = NETS["residual"][1]

    summary, _ = job("residual", tmp_path, layers, ["gradient", "exact_ablation", "random"], joint=True)

    (warning,) = [each for each in summary["joint"]["warnings"] if each["code"] == "layers_not_comparable"]
    assert warning["detail"].startswith("gradient: ")


def test_joint_when_two_layers_have_one_value_then_both_replace_it(tmp_path: Path) -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Sequential(nn.Linear(7, 4), nn.Tanh())
            self.end = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.end(self.block(x))

    from tests.engine.in_process import program_of, rank

    torch.manual_seed(0)
    net, x = Nested().eval(), torch.randn(20, 7)
    ablation = {"fractions": [0.5], "random": 19, "fill": "zero", "split": "none"}
    layers, target = ["block", "block.1"], {"class": 1}

    summary, arrays = rank(
        program_of(net, x[:2]), tmp_path, {"x": x.numpy()}, layers, ["exact_ablation"],
        ablation=ablation, joint=True, target=target, fidelity=None,
    )  # fmt: skip

    assert summary["joint"]["layer"]["count"] == 8
    importance = arrays["joint/importance/exact_ablation"][0]
    np.testing.assert_array_equal(importance[:4], importance[4:])
