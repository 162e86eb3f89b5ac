"""The manifest of a model: its inputs, outputs and layers, and the models that are refused."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.engine.in_process import program_of
from tests.engine.nets import MAKERS, net_of, program
from unitrank_engine.errors import EngineError
from unitrank_engine.models.inspection import manifest
from unitrank_schemas.checks import Facts, RequestRejected, checked
from unitrank_schemas.datasets import FieldInfo
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.models import Layer, Manifest


@pytest.fixture(scope="module")
def convolutional() -> Manifest:
    return manifest(program("convolutional"))


def layer(manifest: Manifest, name: str) -> Layer:
    (chosen,) = [each for each in manifest.layers if each.name == name]
    return chosen


def test_inputs_outputs_and_parameters_are_told(convolutional: Manifest) -> None:
    assert [(port.name, port.dtype, port.shape) for port in convolutional.inputs] == [("x", "float32", [None, 2, 8, 8])]
    assert [(port.name, port.dtype, port.shape) for port in convolutional.outputs] == [("output", "float32", [None, 3])]
    assert convolutional.parameters == sum(parameter.numel() for parameter in net_of("convolutional").module.parameters())


def test_a_layer_has_both_of_its_sides(convolutional: Manifest) -> None:
    pool = layer(convolutional, "features.3")

    assert (pool.kind, pool.shape, pool.units, pool.channels, pool.channel_axis, pool.cut) == (
        "MaxPool2d",
        [4, 3, 3],
        36,
        4,
        0,
        True,
    )
    assert (pool.input_shape, pool.input_cut) == ([4, 6, 6], True)
    assert layer(convolutional, "head").input_shape == [20]
    assert layer(convolutional, "input").input_shape is None


def test_what_enters_a_residual_block_is_a_cut_and_what_is_inside_is_none() -> None:
    model = manifest(program("residual"))

    assert (layer(model, "blocks.1").cut, layer(model, "blocks.1").input_cut) == (True, True)
    assert (layer(model, "blocks.1.fc2").cut, layer(model, "blocks.1.fc2").input_cut) == (False, False)


@pytest.mark.parametrize("name", MAKERS)
def test_every_place_of_the_program_is_listed_in_order_with_the_cost_up_to_it(name: str) -> None:
    model = manifest(program(name))

    assert [each.name for each in model.layers] == [place.layer for place in program(name).places if place.at == "output"]
    costs = [each.forward_cost for each in model.layers]
    assert costs == sorted(costs)
    assert all(0 <= cost <= 1 for cost in costs)
    assert model.differentiable


class Overreaching(nn.Module):
    """Batch norm with one mean for many channels, by an operator that does not check its shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 400)
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("variance", torch.ones(400))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        statistics = (None, None, self.mean, self.variance)
        output: torch.Tensor = torch.ops.aten._native_batch_norm_legit_no_training(self.linear(x), *statistics, 0.1, 1e-5)[0]
        return output


def test_a_model_that_would_read_beyond_its_weights_is_refused() -> None:
    with pytest.raises(EngineError, match="expected one number for each channel") as caught:
        manifest(program_of(Overreaching(), torch.randn(2, 4)))

    assert caught.value.code == "weights_refused"


def test_a_model_that_fails_at_another_batch_size_is_refused() -> None:
    model = program_of(nn.Linear(3, 2), torch.randn(2, 3))
    graph = model.module.graph
    linear = next(node for node in graph.nodes if node.op == "call_function")
    with graph.inserting_before(linear):
        fixed = graph.call_function(torch.ops.aten.reshape.default, (linear.args[0], [2, 3]))
    linear.args = (fixed, *linear.args[1:])
    model.module.recompile()

    with pytest.raises(EngineError, match="fails at another batch size than at export, with 3 rows and not with 2") as caught:
        manifest(model)

    assert caught.value.code == "model_does_not_run"


def test_a_model_that_fails_without_a_message_is_refused_by_the_errors_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(rows: int) -> list[torch.Tensor]:
        raise AssertionError

    model = program_of(nn.Linear(3, 2), torch.randn(2, 3))
    monkeypatch.setattr(model, "blank", fail)

    with pytest.raises(EngineError, match=r"fails on the values of the inspection, .*: AssertionError") as caught:
        manifest(model)

    assert caught.value.code == "model_does_not_run"


class Centred(nn.Module):
    """Subtracts the mean over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.a(x)
        return self.b(torch.tanh(h - h.mean(0, keepdim=True)))


def test_a_model_whose_examples_depend_on_each_other_is_refused() -> None:
    with pytest.raises(EngineError, match="each row must be computed separately") as caught:
        manifest(program_of(Centred(), torch.randn(2, 3)))

    assert caught.value.code == "rows_depend"


class Heads(nn.Module):
    """Has four outputs: one bypasses the layer, one does not, one rounds, one ignores the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(3, 4), nn.Linear(4, 3), nn.Linear(4, 2), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        h = torch.relu(self.a(x))
        return {"main": self.b(h) + x, "aux": self.c(h), "rounded": self.c(h).round(), "other": self.d(x)}


@pytest.mark.parametrize(
    ("output", "method", "code"),
    [
        ("aux", {"name": "conductance", "tolerance": 0.05}, None),
        ("main", {"name": "conductance", "tolerance": 0.05}, "method_not_applicable"),
        (None, {"name": "conductance", "tolerance": 0.05}, "method_not_applicable"),
        ("rounded", {"name": "activation"}, None),
        ("rounded", {"name": "gradient"}, "not_differentiable"),
        ("other", {"name": "activation"}, "layer_without_effect"),
    ],
)
def test_what_a_request_may_ask_goes_by_the_output_that_it_names(output: str | None, method: Any, code: str | None) -> None:
    model = manifest(program_of(Heads(), torch.randn(2, 3)))
    facts = Facts(model, {"x": FieldInfo(dtype="float32", shape=[None, 3])}, 10, lambda field: None, 10**9)
    request = {"model": "m", "dataset": "d", "layer": "a", "output": output, "methods": [method], "target": {"class": 1}}

    try:
        checked(JobRequest.model_validate(request), facts)
        refused = None
    except RequestRejected as refusal:
        refused = refusal.flaws[0].code

    assert refused == code


@pytest.mark.parametrize("layer", ["input", "ids"])
def test_a_layer_that_is_an_input_of_whole_numbers_is_told_what_can_be_ranked_instead(layer: str) -> None:
    model = manifest(
        program_of(nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2)), torch.zeros(2, 2, dtype=torch.long))
    )
    model = model.model_copy(update={"inputs": [model.inputs[0].model_copy(update={"name": "ids"})]})
    facts = Facts(model, {"x": FieldInfo(dtype="int64", shape=[None, 2])}, 10, lambda field: None, 10**9)
    request = {
        "model": "m",
        "dataset": "d",
        "layer": layer,
        "methods": ["gradient"],
        "inputs": {"ids": "x"},
        "target": {"class": 1},
    }

    with pytest.raises(RequestRejected, match="inputs of integers cannot be ranked; use the embedding '0'"):
        checked(JobRequest.model_validate(request), facts)


def test_a_layer_whose_name_is_misspelt_is_told_its_neighbour_however_it_begins() -> None:
    model = manifest(program("convolutional"))
    facts = Facts(model, {"x": FieldInfo(dtype="float32", shape=[None, 2, 8, 8])}, 10, lambda field: None, 10**9)
    request = {"model": "m", "dataset": "d", "layer": "inputs", "methods": ["gradient"]}

    with pytest.raises(RequestRejected, match="nearest: 'input'"):
        checked(JobRequest.model_validate(request), facts)


class Choosing(nn.Module):
    """Uses an input that can only be 0 as an index, in an embedding and in a computed tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.fc = nn.Embedding(1, 3), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        h = self.fc(x + self.table(which))
        return h.unsqueeze(1)[torch.arange(x.shape[0]), which]


def test_a_model_whose_whole_numbers_can_only_be_zero_is_let_in() -> None:
    model = manifest(program_of(Choosing(), torch.randn(2, 3), torch.zeros(2, dtype=torch.long)))

    assert [port.name for port in model.inputs] == ["x", "which"]


def test_layers_when_a_block_is_skipped_then_name_the_layers_before_them() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.block, self.last = nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.first(x)
            return self.last((h + self.block(h)).reshape(x.shape[0], 3))

    skipping = manifest(program_of(Skip(), torch.zeros(2, 3)))
    after = {each.name: each.after or [] for each in skipping.layers}

    assert after["input"] == []
    assert after["first"] == ["input"]
    assert after["block.0"] == ["first"]
    assert after["block.1"] in (["block.0"], ["block"])
    assert set(after["last"]) == {"first", max({"block", "block.1"}, key=list(after).index)}
