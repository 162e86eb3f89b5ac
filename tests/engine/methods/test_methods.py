"""Every method at every kind of place equals its plain re-implementation in float64."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.engine import oracle
from tests.engine.in_process import rank
from tests.engine.nets import every_place, net_of, program

ENDS = ["activation", "gradient", "gradient_x_activation", "gradient_x_delta"]
PATHS = [
    {"name": name, "id": f"{name}-{rule}-{spacing}", "steps": 4, "rule": rule, "spacing": spacing}
    for name in ("conductance", "internal_influence")
    for rule in ("left", "right", "trapezoid")
    for spacing in ("uniform", "cubic")
]
COUNT = 2
BASELINE = {"kind": "field", "field": "x0"}


@pytest.mark.parametrize(("name", "layer", "at"), every_place())
def test_scores_of_each_example_equal_the_plain_formulas(name: str, layer: str, at: str, tmp_path: Path) -> None:
    net = net_of(name)
    x = net.examples(COUNT)

    # Not the same number for all pixels: with equal pixels, rounding decides which one a max pool
    # takes.
    x0 = x.flip(0) / 3 + 0.3

    _, arrays = _job(name, tmp_path, x, layer, [*ENDS, "taylor", *PATHS], at=at, x0=x0, baseline=BASELINE)

    expected = [_plain(name, layer, at, row.double()[None], start.double()[None]) for row, start in zip(x, x0, strict=True)]
    for method in expected[0]:
        want = np.stack([of_example[method] for of_example in expected])
        got = arrays[f"examples/{method}/all"].reshape(COUNT, -1)
        assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max(), method


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("functional", "fc1"),
        ("shared", "act@1"),
        ("convolutional", "features.3"),
        ("transformer", "encoder.linear1"),
        ("attentive", "norm"),
    ],
)
def test_scores_do_not_depend_on_batch_mates(name: str, layer: str, tmp_path: Path, limit_rows: Any) -> None:
    x = net_of(name).examples(7)
    methods = [*ENDS, "taylor", "conductance", "internal_influence", "random"]
    _, together = _job(name, tmp_path, x, layer, methods)

    limit_rows(1)
    _, alone = _job(name, tmp_path, x, layer, methods)
    limit_rows(3)
    _, uneven = _job(name, tmp_path, x, layer, methods)

    for method in methods:
        want = together[f"examples/{method}/all"]
        for other in (alone, uneven):
            np.testing.assert_allclose(other[f"examples/{method}/all"], want, rtol=1e-5, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize("method", [*ENDS, *PATHS, "random"])
def test_scores_do_not_depend_on_the_other_methods_of_the_job(method: Any, tmp_path: Path) -> None:
    x = net_of("in_place").examples(4)
    key = f"examples/{method if isinstance(method, str) else method['id']}/all"
    _, crowd = _job("in_place", tmp_path, x, "relu1", [*ENDS, *PATHS, "random"])

    _, single = _job("in_place", tmp_path, x, "relu1", [method])

    np.testing.assert_allclose(single[key], crowd[key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "layer", "at", "axis"),
    [
        ("convolutional", "features.0", "output", 0),
        ("convolutional", "features.2", "input", 0),
        ("attentive", "attention", "output", 1),
        ("transformer", "encoder.linear1", "output", 1),
        ("functional", "fc1", "output", 0),
    ],
)
def test_scores_of_a_channel_are_the_signed_sum_of_its_elements(name: str, layer: str, at: str, axis: int, tmp_path: Path) -> None:
    x = net_of(name).examples(4)
    _, neurons = _job(name, tmp_path, x, layer, [*ENDS, "conductance"], at=at)

    summary, channels = _job(name, tmp_path, x, layer, [*ENDS, "conductance"], at=at, units="channel")

    for method in [*ENDS, "conductance"]:
        elements = neurons[f"examples/{method}/all"].astype(np.float64)
        rest = tuple(other for other in range(1, elements.ndim) if other != axis + 1)
        np.testing.assert_allclose(channels[f"examples/{method}/all"], elements.sum(rest), rtol=1e-4, atol=1e-6)
    assert summary["layer"]["shape"] == [elements.shape[axis + 1]]


def test_spacing_when_left_open_is_cubic_from_zeros_and_else_uniform(tmp_path: Path) -> None:
    x = net_of("functional").examples(4)
    methods = [
        "conductance",
        {"name": "conductance", "spacing": "cubic", "id": "c"},
        {"name": "conductance", "spacing": "uniform", "id": "u"},
    ]

    summary, zeros = _job("functional", tmp_path, x, "fc1", methods)
    _, mean = _job("functional", tmp_path, x, "fc1", methods, baseline={"kind": "mean"})

    assert summary["rankings"][0]["method"]["spacing"] == "cubic"
    np.testing.assert_array_equal(zeros["examples/conductance/all"], zeros["examples/c/all"])
    np.testing.assert_array_equal(mean["examples/conductance/all"], mean["examples/u/all"])
    assert not np.array_equal(zeros["examples/c/all"], zeros["examples/u/all"])


def test_random_is_standard_normal_and_repeats_with_the_seed(tmp_path: Path) -> None:
    x = net_of("convolutional").examples(50)
    seeds = [
        _job("convolutional", tmp_path, x, "features.0", ["random"], seed=seed)[1]["examples/random/all"] for seed in (1, 1, 2)
    ]

    assert abs(seeds[0].mean()) < 0.05
    assert abs(seeds[0].std() - 1) < 0.05
    np.testing.assert_array_equal(seeds[0], seeds[1])
    assert np.abs(np.corrcoef(seeds[0].ravel(), seeds[2].ravel())[0, 1]) < 0.05


def _job(
    name: str, folder: Path, x: Tensor, layer: str, methods: list[Any], x0: Tensor | None = None, **request: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A job that keeps every example's scores for the margin of the predicted class."""
    options = {"target": {"class": "predicted", "score": "margin"}, "ablation": None, "fidelity": None, "keep_examples": len(x)}
    fields = {"x": x.numpy()} | ({} if x0 is None else {"x0": x0.numpy()})
    return rank(program(name), folder, fields, layer, methods, **(options | request))


def _plain(name: str, layer: str, at: str, x: Tensor, baseline: Tensor) -> dict[str, np.ndarray]:
    """The scores of one example by method, flattened."""
    net = net_of(name)
    eager = oracle.Eager(net.module, net.taps[layer, at])
    with torch.no_grad():
        _, output = eager.run(x)
    chosen = int(output[0].argmax())
    rival = oracle.rival_of(output[0], chosen)

    def score(output: Tensor) -> Tensor:
        return oracle.score_of("margin", output[0], chosen, rival)

    h, gradient = eager.point(score, x)
    (h0, _) = eager.point(score, baseline)
    by_method = {
        "activation": h,
        "gradient": gradient,
        "gradient_x_activation": h * gradient,
        "gradient_x_delta": (h - h0) * gradient,
        "taylor": ((h - h0) * gradient) ** 2,
    }
    for spacing in ("uniform", "cubic"):
        alphas = oracle.nodes(4, spacing)
        path = oracle.walk(eager, score, x, baseline, alphas)
        for rule in ("left", "right", "trapezoid"):
            by_method[f"conductance-{rule}-{spacing}"] = oracle.conductance(path, rule)
            by_method[f"internal_influence-{rule}-{spacing}"] = oracle.internal_influence(path, rule, alphas)
    return {method: values.flatten().numpy() for method, values in by_method.items()}
