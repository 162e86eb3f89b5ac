"""Heatmaps: the mean over colours, Grad-CAM's sum over channels, and the size estimate."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.models.inspection import manifest
from unitrank_engine.program import Program
from unitrank_schemas.checks import Facts
from unitrank_schemas.checks.size import array_bytes
from unitrank_schemas.datasets import FieldInfo
from unitrank_schemas.jobs import JobRequest

Arrays = dict[str, np.ndarray]
COUNT = 7
NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "image": (lambda: nn.Sequential(nn.Conv2d(3, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 3 * 4, 2)), (3, 4, 5)),
    "volume": (lambda: nn.Sequential(nn.Conv3d(2, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 6, 2)), (2, 3, 4, 2)),
    "grey": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 2)), (3, 4)),
    "flat": (lambda: nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)), (6,)),
}


@cache
def net(name: str) -> Program:
    torch.manual_seed(0)
    make, shape = NETS[name]
    return program_of(make(), torch.zeros(2, *shape))


def ranked(folder: Path, name: str, layer: str, methods: list[Any], **request: Any) -> Arrays:
    x = np.random.default_rng(0).normal(size=(COUNT, *NETS[name][1])).astype(np.float32)
    fields = {"x": x, "y": np.arange(COUNT) % 2}
    settings = {"ablation": None, "fidelity": None, "clusters": {"by": "label"}, "keep_examples": 3, **request}
    return rank(net(name), folder, fields, layer, methods, **settings)[1]


def maps_in(arrays: Arrays) -> set[str]:
    return {name for name in arrays if name.startswith("heatmap")}


@pytest.mark.parametrize("name", ["image", "volume"])
@pytest.mark.parametrize("statistic", ["mean", "mean_abs", "rms"])
def test_heatmap_when_inputs_have_colours_then_it_is_their_average(name: str, statistic: str, tmp_path: Path) -> None:
    shape, method = NETS[name][1], {"name": "integrated_gradients", "statistic": statistic, "id": "a"}
    arrays = ranked(tmp_path, name, "input", [method, "random"])

    assert maps_in(arrays) == {f"heatmap/{id}" for id in ("a", "random")} | {
        f"heatmap_examples/{id}/{cluster}" for id in ("a", "random") for cluster in "01"
    }
    assert arrays["heatmap/a"].dtype == np.float32
    np.testing.assert_allclose(arrays["heatmap/a"], arrays["importance/a"].reshape(2, *shape).mean(1), rtol=1e-5, atol=1e-7)
    for cluster in "01":
        heatmap = arrays[f"heatmap_examples/a/{cluster}"]
        np.testing.assert_allclose(heatmap, arrays[f"examples/a/{cluster}"].mean(1), rtol=1e-5, atol=1e-7)
        assert heatmap.shape == (3, *shape[1:])


def test_heatmap_when_inputs_have_two_axes_then_equals_the_importance(tmp_path: Path) -> None:
    arrays = ranked(tmp_path, "grey", "input", ["gradient"])

    assert np.array_equal(arrays["heatmap/gradient"], arrays["importance/gradient"].reshape(2, 3, 4))
    assert np.array_equal(arrays["heatmap_examples/gradient/1"], arrays["examples/gradient/1"])


@pytest.mark.parametrize("layer", ["input", "0"])
def test_heatmap_when_the_method_is_grad_cam_then_it_is_the_relu_of_the_sum_over_channels(layer: str, tmp_path: Path) -> None:
    arrays = ranked(tmp_path, "image", layer, ["grad_cam"])
    shape = (3, 4, 5) if layer == "input" else (4, 3, 4)
    heatmap = arrays["heatmap/grad_cam"]

    np.testing.assert_allclose(
        heatmap, np.maximum(arrays["importance/grad_cam"].reshape(2, *shape).sum(1), 0), rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(
        arrays["heatmap_examples/grad_cam/0"], np.maximum(arrays["examples/grad_cam/0"].sum(1), 0), rtol=1e-5, atol=1e-7
    )
    assert (heatmap == 0).any()
    assert (heatmap > 0).any()


@pytest.mark.parametrize(
    ("name", "layer", "request_"),
    [
        ("image", "0", {}),
        ("image", "input", {"units": "channel"}),
        ("flat", "input", {}),
        ("image", "0", {"methods": ["grad_cam"], "units": "channel"}),
    ],
)
def test_heatmap_when_the_place_has_no_space_then_there_is_no_heatmap(
    name: str, layer: str, request_: dict[str, Any], tmp_path: Path
) -> None:
    assert maps_in(ranked(tmp_path, name, layer, **{"methods": ["gradient"], **request_})) == set()


@pytest.mark.parametrize(("name", "layer"), [("image", "input"), ("image", "0"), ("grey", "input"), ("volume", "input")])
@pytest.mark.parametrize("units", ["neuron", "channel"])
def test_estimate_when_a_result_has_heatmaps_then_equals_the_size_of_the_heatmaps(
    name: str, layer: str, units: str, tmp_path: Path
) -> None:
    methods = ["gradient", "grad_cam"]
    arrays = ranked(tmp_path, name, layer, methods, units=units)
    shape = [None, *NETS[name][1]]
    facts = Facts(
        manifest=manifest(net(name)),
        fields={"x": FieldInfo(dtype="float32", shape=shape), "y": FieldInfo(dtype="int64", shape=[None])},
        examples=COUNT,
        distinct=lambda field: [0, 1],
        max_result_bytes=10**9,
    )
    request = JobRequest.model_validate(
        {"model": "m", "dataset": "d", "layer": layer, "methods": methods, "units": units, "ablation": None, "labels": "y"}
        | {"clusters": {"by": "label"}, "keep_examples": 3}
    )

    assert array_bytes(request, facts)["heatmaps"] == sum(arrays[name].nbytes for name in maps_in(arrays))
    assert sum(array_bytes(request, facts).values()) == sum(array.nbytes for array in arrays.values())


@pytest.mark.parametrize(("layer", "units", "axis"), [("first", "neuron", 0), ("last", "neuron", 2), ("last", "channel", 0)])
def test_result_when_channels_come_last_then_says_which_axis_counts_them(layer: str, units: str, axis: int, tmp_path: Path) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last, self.out = nn.Conv2d(3, 4, 2), nn.Linear(4, 5), nn.Linear(60, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.last(self.first(x).permute(0, 2, 3, 1)).flatten(1))

    x = np.random.default_rng(0).normal(size=(4, 3, 4, 5)).astype(np.float32)
    settings = {"ablation": None, "fidelity": None, "units": units}
    summary, _ = rank(program_of(Last(), torch.zeros(2, 3, 4, 5)), tmp_path, {"x": x}, layer, ["activation"], **settings)

    assert summary["layer"]["channel_axis"] == axis
