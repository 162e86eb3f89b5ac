"""Weight norm equals the plain formula on the eager module's weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank
from tests.engine.nets import every_place, net_of, program
from unitrank_engine.errors import EngineError
from unitrank_engine.program.linearity.outgoing import next_linear


class Net(nn.Module):
    """Convolutions, one of them in groups, pooling, and dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm, self.relu = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
        self.pool, self.conv2 = nn.MaxPool2d(2), nn.Conv2d(4, 6, 2, groups=2, padding=1)
        self.average, self.fc1, self.fc2 = nn.AvgPool2d(2), nn.Linear(24, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.average(self.conv2(self.pool(self.relu(self.norm(self.conv1(x))))))
        return self.fc2(torch.tanh(self.fc1(h.flatten(1))))


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(5, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def job(net: nn.Module, x: Tensor, layer: str, folder: Path, **request: Any) -> dict[str, np.ndarray]:
    settings: dict[str, Any] = {"ablation": None, "fidelity": None, "target": {"class": 1}} | request
    return rank(program_of(net, x), folder, {"x": x.numpy()}, layer, ["weight_norm"], **settings)[1]


def grouped(weight: Tensor) -> Tensor:
    """The norm of the weights of each of the four channels that conv2 reads in two groups."""
    return torch.cat([weight[:3].pow(2).sum((0, 2, 3)), weight[3:].pow(2).sum((0, 2, 3))]).sqrt()


@pytest.mark.parametrize("layer", ["conv1", "norm", "relu", "pool"])
def test_norm_of_channels_before_a_convolution_equals_the_plain_formula(layer: str, net: Net, x: Tensor, tmp_path: Path) -> None:
    values: dict[str, Tensor] = {}
    hook = net.get_submodule(layer).register_forward_hook(lambda module, inputs, output: values.update(h=output.clone()))
    with torch.no_grad():
        net(x)
    hook.remove()
    norms = grouped(net.conv2.weight.detach())

    channels = job(net, x, layer, tmp_path, units="channel")["importance/weight_norm"][0]
    neurons = job(net, x, layer, tmp_path)["importance/weight_norm"][0]

    h = values["h"].abs()
    np.testing.assert_allclose(channels, norms * h.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(neurons, (norms[:, None, None] * h.mean(0)).flatten(), rtol=1e-5)


def test_norm_before_a_dense_layer_behind_a_pool_counts_each_weight_once(net: Net, x: Tensor, tmp_path: Path) -> None:
    with torch.no_grad():
        h = net.conv2(net.pool(net.relu(net.norm(net.conv1(x))))).abs()
    squares = net.fc1.weight.detach().pow(2).sum(0).reshape(6, 2, 2)

    channels = job(net, x, "conv2", tmp_path, units="channel")["importance/weight_norm"][0]
    neurons = job(net, x, "conv2", tmp_path)["importance/weight_norm"][0]

    np.testing.assert_allclose(channels, squares.sum((1, 2)).sqrt() * h.mean((0, 2, 3)), rtol=1e-5)
    of_elements = squares.sqrt().repeat_interleave(2, 1).repeat_interleave(2, 2)
    np.testing.assert_allclose(neurons, (of_elements * h.mean(0)).flatten(), rtol=1e-5)


def test_norm_of_features_before_a_dense_layer_equals_the_plain_formula(net: Net, x: Tensor, tmp_path: Path) -> None:
    with torch.no_grad():
        h = net.fc1(net.average(net.conv2(net.pool(net.relu(net.norm(net.conv1(x)))))).flatten(1)).abs()

    neurons = job(net, x, "fc1", tmp_path)["importance/weight_norm"][0]

    np.testing.assert_allclose(neurons, net.fc2.weight.detach().norm(dim=0) * h.mean(0), rtol=1e-5)


def test_job_when_no_linear_operation_follows_then_is_refused(net: Net, x: Tensor, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="needs a linear operation with weights after the layer") as error:
        job(net, x, "fc2", tmp_path)

    assert error.value.code == "method_not_applicable"


@pytest.mark.check
@pytest.mark.parametrize(("name", "layer", "at"), every_place())
def test_job_at_each_place_ranks_or_says_that_no_weights_follow(name: str, layer: str, at: str, tmp_path: Path) -> None:
    """Shapley values are tried at the same places: they sum to the drop of all units."""
    fields = {"x": net_of(name).examples(2).numpy()}
    options: dict[str, Any] = {"ablation": None, "fidelity": None, "target": {"class": 1}, "at": at, "keep_examples": 2}
    shapley = {"name": "shapley", "permutations": 2}
    methods = ["weight_norm", shapley] if next_linear(program(name), program(name).place(layer, at)) else [shapley]

    summary, arrays = rank(program(name), tmp_path, fields, layer, methods, **options)

    assert all(np.isfinite(array).all() for name, array in arrays.items() if name.startswith("importance/"))
    assert np.abs(arrays["importance/shapley"]).max() > 0
    if "importance/weight_norm" in arrays:
        assert arrays["importance/weight_norm"].max() > 0
    completeness = summary["rankings"][-1]["clusters"]["all"]["completeness"]
    if summary["layer"]["cut"]:
        assert completeness["sum"] == pytest.approx(completeness["expected"], abs=1e-6)


class Residual(nn.Module):
    """Three dense layers read a value, and the last one reads it behind a pass around them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.end = nn.Linear(3, 6), nn.LayerNorm(6), nn.Linear(6, 2)
        self.query, self.key, self.value = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        read = self.norm(h)
        attention = (self.query(read) @ self.key(read).transpose(1, 2)).softmax(-1) @ self.value(read)
        return self.end(h + attention).mean(1)


@pytest.mark.parametrize(
    ("layer", "following"),
    [("embed", ["query", "key", "value", "end"]), ("norm", ["query", "key", "value"])],
)
def test_norm_when_several_operations_read_the_layer_then_has_the_weights_of_all(
    layer: str, following: list[str], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net, x = Residual().eval(), torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        h = net.embed(x) if layer == "embed" else net.norm(net.embed(x))
    squares = [net.get_submodule(name).weight.detach().double().pow(2).sum(0) for name in following]

    scores = job(net, x, layer, tmp_path, units="channel")["importance/weight_norm"][0]

    norms = torch.stack(squares).sum(0).sqrt()
    np.testing.assert_allclose(scores, norms * h.double().abs().mean((0, 1)), rtol=1e-5)


class Tokens(nn.Module):
    """Attention between layers whose weights are shared by all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.query, self.out = nn.Linear(3, 6), nn.LayerNorm(6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.embed(x))
        return self.out((self.query(h) @ h.transpose(1, 2)).softmax(-1) @ h).mean(1)


@pytest.mark.parametrize(("layer", "follows"), [("embed", "query"), ("norm", "query"), ("query", None), ("out", None)])
def test_next_linear_when_tokens_are_mixed_then_ends_at_the_product(layer: str, follows: str | None) -> None:
    net, x = Tokens().eval(), torch.randn(2, 4, 3)
    program = program_of(net, x)

    linear = next_linear(program, program.place(layer, "output"))

    assert len(linear) == (follows is not None)
    for operation in linear:
        norms = operation.squares(program).sqrt()
        np.testing.assert_allclose(norms, net.query.weight.detach().double().norm(dim=0), rtol=1e-6)
