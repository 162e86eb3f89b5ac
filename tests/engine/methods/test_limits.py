"""Limit cases in which a method equals another method or a closed formula."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine import oracle
from tests.engine.in_process import program_of, rank
from tests.engine.nets import every_place, net_of
from tests.engine.nets import program as program_of_net
from unitrank_engine.program import Program
from unitrank_engine.program.linearity.columns import affine_part

Arrays = dict[str, np.ndarray]
Summary = dict[str, Any]
DEEPLIFT = [{"name": "deeplift", "rules": rules, "id": f"deeplift-{rules}"} for rules in ("rescale", "reveal_cancel", "default")]
RULES = ["left", "right", "trapezoid"]
SPACINGS = ["uniform", "cubic"]
CLASS = 1


def doubled(*modules: nn.Module, seed: int = 0) -> nn.Sequential:
    """The modules one after the other, in float64, with random weights and running statistics."""
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(*modules).double().eval()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
                fan = max(1, tensor[0].numel()) if tensor.dim() > 1 else 4
                tensor.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn / fan**0.5)
    return net


def examples(count: int, *shape: int, seed: int = 1) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def job(
    program: Program, folder: Path, x: Tensor, layer: str, methods: list[Any], x0: Tensor | None = None, **request: Any
) -> tuple[Summary, Arrays]:
    """The summary, and the scores of each example by ranking.

    `x0` has a baseline for each example.
    """
    settings: dict[str, Any] = {"ablation": None, "fidelity": None, "target": {"class": CLASS}, "keep_examples": len(x)}
    fields = {"x": x.numpy()}
    if x0 is not None:
        fields["x0"] = x0.numpy()
        settings["baseline"] = {"kind": "field", "field": "x0"}
    summary, arrays = rank(program, folder, fields, layer, methods, **(settings | request))
    return summary, {name.split("/")[1]: values for name, values in arrays.items() if name.startswith("examples/")}


def path(name: str, **options: Any) -> list[dict[str, Any]]:
    """The method with every rule and every spacing."""
    return [
        {"name": name, "rule": rule, "spacing": spacing, "id": f"{name}-{rule}-{spacing}", **options}
        for rule in RULES
        for spacing in SPACINGS
    ]


def same(scores: np.ndarray, expected: Any, within: float = 1e-5) -> None:
    """Compare with a tolerance relative to the largest value."""
    expected = np.asarray(expected, dtype=np.float64).reshape(scores.shape)
    assert np.abs(scores - expected).max() <= within * np.abs(expected).max()


PATHS = ["conductance", "integrated_gradients"]


@cache
def before_linear(kind: str) -> tuple[nn.Sequential, tuple[int, ...], Program]:
    """A net with only linear operations after its second layer, and the shape of an example."""
    if kind == "dense":
        net, shape = doubled(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 5), nn.BatchNorm1d(5), nn.Dropout(), nn.Linear(5, 3)), (6,)
    else:
        convolutions = nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(6)
        pooled = nn.AvgPool2d(2, stride=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)
        net, shape = doubled(*convolutions, *pooled), (2, 8, 8)
    return net, shape, program_of(net, examples(2, *shape))


@pytest.mark.parametrize("score", ["logit", "centered", "margin"])
@pytest.mark.parametrize("units", ["neuron", "channel"])
@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_scores_when_the_tail_is_linear_then_every_delta_method_gives_the_weight_times_the_change(
    kind: str, units: str, score: str, tmp_path: Path
) -> None:
    net, shape, program = before_linear(kind)
    x, x0 = examples(3, *shape), examples(3, *shape, seed=2)
    methods = [
        *("gradient_x_delta", "exact_ablation", *DEEPLIFT),
        *({"name": name, "steps": 3, "rule": rule, "id": f"{name}-{rule}"} for name in PATHS for rule in RULES),
    ]

    target = {"class": CLASS, "score": score}
    summary, arrays = job(program, tmp_path, x, "1", methods, x0, units=units, target=target)

    tail = net[2:]
    h, start = net[:2](x).detach().requires_grad_(), net[:2](x0).detach()
    z = tail(h)
    rivals = [oracle.rival_of(row.detach(), CLASS) for row in z]
    f = torch.stack([oracle.score_of(score, row, CLASS, rival) for row, rival in zip(z, rivals, strict=True)])
    (weight,) = torch.autograd.grad(f.sum(), h)
    expected = (weight * (h - start)).detach()
    expected = expected.flatten(2).sum(2) if units == "channel" and expected.dim() > 2 else expected
    assert len(arrays) == len(methods)
    for scores in arrays.values():
        same(scores, expected)
    for ranking in summary["rankings"]:
        if ranking["id"] not in ("gradient_x_delta", "exact_ablation"):
            assert ranking["clusters"]["all"]["completeness"]["relative_gap"] < 1e-10


@pytest.mark.parametrize("name", ["in_place", "convolutional", "residual", "transformer"])
def test_conductance_when_the_place_is_the_input_then_is_integrated_gradients_by_every_rule_and_spacing(
    name: str, tmp_path: Path
) -> None:
    x = net_of(name).examples(3)
    methods = [method for each in PATHS for method in path(each, steps=5)]

    _, arrays = job(program_of_net(name), tmp_path, x, "input", methods, net_of(name).examples(3, seed=1) / 2)

    assert len({values.tobytes() for values in arrays.values()}) >= 6
    for rule in RULES:
        for spacing in SPACINGS:
            conductance, line = (arrays[f"{each}-{rule}-{spacing}"] for each in PATHS)
            same(conductance, line)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu in place": lambda: nn.ReLU(inplace=True),
    "gelu": nn.GELU,
}


@cache
def with_one_activation(kind: str, activation: str) -> tuple[nn.Sequential, tuple[int, ...], Program]:
    """A net with one linear layer after the last activation, and the shape of an example."""
    act = ACTIVATIONS[activation]
    if kind == "dense":
        net, shape = doubled(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 5), act(), nn.Linear(5, 3)), (6,)
    else:
        net, shape = doubled(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 4, 2), act(), nn.Flatten(), nn.Linear(36, 3)), (2, 6, 6)
    return net, shape, program_of(net, examples(2, *shape))


@pytest.mark.parametrize("at", ["input", "output"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_deeplift_when_one_activation_and_a_linear_layer_follow_then_is_exact_ablation_to_the_baseline(
    kind: str, activation: str, at: str, tmp_path: Path
) -> None:
    net, shape, program = with_one_activation(kind, activation)
    x, x0 = examples(4, *shape), examples(4, *shape, seed=2)

    _, arrays = job(program, tmp_path, x, "3", [*DEEPLIFT, "exact_ablation"], x0, at=at)

    with torch.no_grad():
        change = (net[:4](x) - net[:4](x0)).flatten(1)
    weight = net[-1].weight[CLASS].detach()
    for scores in arrays.values():
        same(scores, weight * change)


@cache
def bent(kind: str) -> Program:
    act = {"relu": nn.ReLU, "smooth": nn.Tanh}[kind]
    net = doubled(nn.Linear(6, 16), act(), nn.Linear(16, 12), act(), nn.Linear(12, 3), seed=3)
    return program_of(net, examples(2, 6))


@pytest.mark.parametrize(
    ("kind", "rule", "factor"),
    [("relu", "left", 8), ("relu", "right", 8), ("relu", "trapezoid", 8), ("smooth", "left", 12), ("smooth", "trapezoid", 200)],
)
@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_gap_when_there_are_sixteen_times_more_steps_then_falls_by_the_order_of_the_rule(
    spacing: str, name: str, kind: str, rule: str, factor: float, tmp_path: Path
) -> None:
    counts = (16, 256)
    methods = [{"name": name, "steps": steps, "rule": rule, "spacing": spacing, "id": str(steps)} for steps in counts]

    summary, _ = job(bent(kind), tmp_path, examples(40, 6), "1", methods)

    few, many = (ranking["clusters"]["all"]["completeness"]["relative_gap"] for ranking in summary["rankings"])
    assert few > 1e-5
    assert many <= few / factor


FOLLOWING: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "stride": (lambda: nn.Conv2d(4, 6, 3, stride=2), (2, 7, 7)),
    "padding": (lambda: nn.Conv2d(4, 6, 3, padding=2), (2, 6, 6)),
    "same padding": (lambda: nn.Conv2d(4, 6, 3, padding="same", dilation=2), (2, 6, 6)),
    "dilation": (lambda: nn.Conv2d(4, 6, 3, dilation=(2, 1), bias=False), (2, 7, 6)),
    "groups": (lambda: nn.Conv2d(4, 6, 2, groups=2), (2, 6, 6)),
    "depthwise": (lambda: nn.Conv2d(4, 8, 3, groups=4), (2, 6, 6)),
    "all of these": (lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(2, 0), dilation=(2, 3), groups=2), (2, 8, 7)),
    "circular": (lambda: nn.Conv2d(4, 5, 3, padding=1, padding_mode="circular"), (2, 6, 6)),
    "reflect": (lambda: nn.Conv2d(4, 5, 3, padding=1, padding_mode="reflect"), (2, 6, 6)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), (2, 5, 5)),
    "one axis": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), (2, 9)),
    "three axes": (lambda: nn.Conv3d(4, 4, 2, stride=2, padding=1, groups=4), (2, 4, 4, 4)),
    "average pool": (lambda: nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), (2, 7, 7)),
    "batch norm": (lambda: nn.BatchNorm2d(4), (2, 6, 6)),
    "dense": (lambda: nn.Linear(7, 6), (7,)),
}
HEADS: dict[int, Callable[[], nn.Module]] = {
    1: lambda: nn.Linear(7, 7),
    2: lambda: nn.Conv1d(2, 4, 2),
    3: lambda: nn.Conv2d(2, 4, 2),
    4: lambda: nn.Conv3d(2, 4, 2),
}


@pytest.mark.parametrize("kind", FOLLOWING)
def test_exact_ablation_when_its_columns_are_used_then_equals_the_eager_net_with_each_unit_replaced(
    kind: str, tmp_path: Path
) -> None:
    following, shape = FOLLOWING[kind]
    front = nn.Sequential(HEADS[len(shape)](), nn.Tanh(), following(), nn.Softplus(), nn.Flatten()).eval()
    net = doubled(*front, nn.Linear(front(torch.zeros(1, *shape)).numel(), 3))
    x, x0 = examples(4, *shape), examples(4, *shape, seed=2)
    program = program_of(net, x)
    with torch.no_grad():
        h, start = net[:2](x), net[:2](x0)
    fills = {"baseline": start, "zero": torch.zeros_like(h), "mean": h.mean(0, keepdim=True).expand_as(h)}
    methods = [{"name": "exact_ablation", "fill": fill, "id": fill} for fill in (*fills, "resample")]
    assert affine_part(program, program.place("1", "output"), "output") is not None

    for units in ("neuron", "channel"):
        _, arrays = job(program, tmp_path, x, "1", methods, x0, units=units)

        for name, fill in fills.items():
            same(arrays[name], _losses(net[2:], h, fill, units))
        _drawn_from_another(arrays["resample"], [_losses(net[2:], h, h.roll(turn, 0), units) for turn in (1, 2, 3)])


@torch.no_grad()
def _losses(tail: nn.Module, h: Tensor, fill: Tensor, units: str) -> Tensor:
    """F minus F with one unit replaced, by example and unit; all copies pass together."""
    shape = h.shape[1:]
    count = shape[0] if units == "channel" else shape.numel()
    masks = torch.eye(count, dtype=torch.bool).reshape(count, *(shape[:1] if units == "channel" else shape))
    masks = masks.reshape(*masks.shape, *[1] * (len(shape) + 1 - masks.dim()))
    masked = torch.where(masks[:, None], fill, h)
    return tail(h)[:, CLASS, None] - tail(masked.flatten(0, 1))[:, CLASS].reshape(count, len(h)).T


def _drawn_from_another(scores_of_rows: np.ndarray, candidates: list[Tensor]) -> None:
    """Check that all units of an example come from a single other example."""
    for row, scores in enumerate(scores_of_rows):
        choices = np.stack([candidate[row].numpy() for candidate in candidates])
        distances = np.abs(scores.ravel() - choices).max(1) / np.abs(choices).max()
        assert sorted(distances)[0] <= 1e-5
        assert sorted(distances)[1] > 1e-3


class Power(nn.Module):
    """F = Σ cⱼ hⱼⁿ of h = x · W."""

    def __init__(self, power: int) -> None:
        super().__init__()
        self.power = power
        self.fc = nn.Linear(3, 4)
        self.register_buffer("c", torch.tensor([1.0, -0.5, 2.0, 0.3], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (self.c * self.fc(x) ** self.power).sum(1)


@cache
def powered(power: int) -> tuple[Power, Program]:
    torch.manual_seed(power)
    net = Power(power).double()
    return net, program_of(net, examples(2, 3))


SAMPLES, LEVEL = 6000, 0.25
NOISY = {"samples": SAMPLES, "level": LEVEL}


def _spread(net: Power, x: Tensor) -> tuple[Tensor, Tensor]:
    """h, and the standard deviation of h under the noise of x."""
    sigma = LEVEL * (x.amax(1) - x.amin(1))
    return net.fc(x).detach(), sigma[:, None] * net.fc.weight.detach().square().sum(1).sqrt()


def _near(scores: np.ndarray, expected: Tensor, error: Tensor) -> None:
    """Check that a mean over the samples is within five standard errors, and not exact."""
    distance = np.abs(scores - expected.numpy())
    assert (distance <= 5 * error.numpy() / SAMPLES**0.5 + 1e-6).all()
    assert (distance > 0).all()


def test_noise_when_its_level_is_zero_then_changes_nothing(tmp_path: Path) -> None:
    names, quiet = ("gradient", "gradient_x_activation"), {"samples": 3, "level": 0.0}
    methods = [*names, *({"name": name, "noise": quiet, "id": f"{name}-quiet"} for name in names)]
    x = net_of("convolutional").examples(5)

    _, arrays = job(program_of_net("convolutional"), tmp_path, x, "features.3", methods)

    for name in names:
        same(arrays[f"{name}-quiet"], arrays[name], 1e-6)


def test_noise_when_samples_are_many_then_the_mean_gradient_of_a_cube_is_that_of_its_moments(tmp_path: Path) -> None:
    net, program = powered(3)
    x = examples(4, 3)
    methods = [{"name": name, "noise": NOISY} for name in ("gradient", "gradient_x_activation")]

    _, arrays = job(program, tmp_path, x, "fc", [*methods, {"name": "gradient", "id": "plain"}], target={"class": None})

    # h has normal noise of deviation s: E 3c h² = 3c (h² + s²), with the variance 9c² (4h²s² +
    # 2s⁴).
    h, s = _spread(net, x)
    mean, error = 3 * net.c * (h**2 + s**2), 3 * net.c.abs() * (4 * h**2 * s**2 + 2 * s**4).sqrt()
    _near(arrays["gradient"], mean, error)
    _near(arrays["gradient_x_activation"], h * mean, h.abs() * error)
    same(arrays["plain"], 3 * net.c * h**2)


def test_noise_when_the_statistic_is_rms_then_the_squares_of_single_samples_are_averaged(tmp_path: Path) -> None:
    net, program = powered(2)
    x = examples(4, 3)
    methods = [{"name": "gradient", "noise": NOISY, "statistic": statistic, "id": statistic} for statistic in ("mean", "rms")]
    settings = {"ablation": None, "fidelity": None, "keep_examples": len(x), "target": {"class": None}}

    _, arrays = rank(program, tmp_path, {"x": x.numpy()}, "fc", methods, **settings)

    # E (2c h)² = 4c² (h² + s²), with the variance 16c⁴ (4h²s² + 2s⁴). The root's standard error is
    # a share of that.
    h, s = _spread(net, x)
    squares, error = 4 * net.c**2 * (h**2 + s**2), 4 * net.c**2 * (4 * h**2 * s**2 + 2 * s**4).sqrt()
    rms = arrays["examples/rms/all"]
    _near(rms**2, squares, error)
    _near(arrays["examples/mean/all"], 2 * net.c * h, 2 * net.c.abs() * s)
    same(arrays["importance/rms"][0], np.sqrt((rms.astype(np.float64) ** 2).mean(0)), 1e-6)


@pytest.mark.parametrize(("name", "layer", "at"), every_place())
def test_integrated_gradients_when_computed_on_the_eager_net_then_is_the_same_by_every_rule_and_spacing(
    name: str, layer: str, at: str, tmp_path: Path
) -> None:
    net, steps = net_of(name), 4
    x, x0 = net.examples(2), net.examples(2).flip(0) / 3 + 0.3
    eager = oracle.Eager(net.module, net.taps[layer, at])

    _, arrays = job(program_of_net(name), tmp_path, x, layer, path("integrated_gradients", steps=steps), x0, at=at)

    for spacing in SPACINGS:
        lines = [
            _line(eager, row.double()[None], start.double()[None], oracle.nodes(steps, spacing))
            for row, start in zip(x, x0, strict=True)
        ]
        for rule in RULES:
            expected = np.stack([oracle.conductance(line, rule).flatten().numpy() for line in lines])
            same(arrays[f"integrated_gradients-{rule}-{spacing}"].reshape(2, -1), expected)


def _line(eager: oracle.Eager, x: Tensor, x0: Tensor, alphas: list[float]) -> list[oracle.Point]:
    """h and its gradient along the straight line h′ → h, all other values held at x."""
    with torch.no_grad():
        (h, _), (start, _) = eager.run(x), eager.run(x0)
    points = []
    for alpha in alphas:
        leaf = (start + alpha * (h - start)).requires_grad_()
        _, output = eager.run(x, instead=leaf)
        (gradient,) = torch.autograd.grad(output[0, CLASS], leaf)
        points.append((leaf.detach(), gradient))
    return points


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("net", ["convolutional", "in_place", "transformer"])
def test_gap_when_a_tolerance_is_given_then_is_no_larger_for_any_example(net: str, name: str, tmp_path: Path) -> None:
    tolerance, count = 2e-3, 6
    layer = {"convolutional": "features.2", "in_place": "relu1", "transformer": "embed"}[net]
    members = {"by": "members", "members": {str(row): [row] for row in range(count)}}
    methods = [{"name": name, "steps": 1, "id": "first"}, {"name": name, "steps": 1, "tolerance": tolerance, "id": "met"}]

    summary, _ = job(program_of_net(net), tmp_path, net_of(net).examples(count), layer, methods, clusters=members)

    first, met = (
        [cluster["completeness"]["relative_gap"] for cluster in ranking["clusters"].values()] for ranking in summary["rankings"]
    )
    assert max(first) > tolerance
    assert max(met) <= tolerance
    assert summary["rankings"][1]["options"]["steps"] > 1
    assert not [warning for warning in summary["warnings"] if warning["code"] == "tolerance_not_reached"]


@pytest.mark.parametrize("name", [*PATHS, "internal_influence"])
@pytest.mark.parametrize("net", ["functional", "convolutional", "residual", "transformer"])
def test_scores_when_passes_have_half_precision_then_are_close_and_other_methods_are_unchanged(
    net: str, name: str, tmp_path: Path
) -> None:
    layer = {"functional": "fc1", "convolutional": "features.2", "residual": "stem", "transformer": "embed"}[net]
    exact = [{"name": name, "id": "exact"}, "gradient", "deeplift", "exact_ablation"]
    x = net_of(net).examples(6)
    _, alone = job(program_of_net(net), tmp_path, x, layer, exact)

    _, arrays = job(program_of_net(net), tmp_path, x, layer, [{"name": name, "precision": "bf16", "id": "rounded"}, *exact])

    distance = np.linalg.norm(arrays["rounded"] - arrays["exact"]) / np.linalg.norm(arrays["exact"])
    assert 1e-5 < distance < 0.03
    for id, scores in alone.items():
        np.testing.assert_array_equal(arrays[id], scores)


def test_scores_when_there_is_one_step_to_the_right_then_conductance_is_gradient_times_delta(tmp_path: Path) -> None:
    x = examples(4, 6)
    one_step = [{"name": name, "steps": 1, "rule": "right"} for name in PATHS]

    _, arrays = job(bent("smooth"), tmp_path, x, "1", [*one_step, "gradient_x_delta"], examples(4, 6, seed=5))

    for name in PATHS:
        same(arrays[name], arrays["gradient_x_delta"])
