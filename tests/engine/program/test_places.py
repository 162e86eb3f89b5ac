"""Names, nodes and order of places, and the places that each path to the output passes."""

from random import Random

import pytest
import torch
from torch import Tensor, fx, nn

from tests.engine.in_process import program_of
from tests.engine.nets import MAKERS, Key, net_of, program
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Place, Program
from unitrank_engine.program.places import cuts, reaches

aten = torch.ops.aten


class Twice(nn.Module):
    """Calls a nested module twice, which calls an activation twice."""

    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.act = nn.Linear(4, 4), nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.fc(self.act(x)))

    def __init__(self) -> None:
        super().__init__()
        self.p, self.unused, self.same, self.head = self.Inner(), nn.Linear(4, 9), nn.Identity(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.unused(x)
        return self.head(self.p(self.same(self.p(x))))


class Mixed(nn.Module):
    """Takes ids and numbers, returns a dict; one head reads the ids alone."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.fc, self.left, self.right = nn.Embedding(9, 4), nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 5)

    def forward(self, ids: Tensor, x: Tensor) -> dict[str, Tensor]:
        words = self.words(ids)
        return {"left": self.left(words.mean(1) + self.fc(x)), "right": self.right(words.mean(1))}


@pytest.fixture(scope="module")
def twice() -> Program:
    return program_of(Twice(), torch.randn(2, 4))


@pytest.fixture(scope="module")
def mixed() -> Program:
    return program_of(Mixed(), torch.randint(0, 9, (2, 3)), torch.randn(2, 3))


def test_every_call_of_a_module_is_named_by_its_path_and_number(twice: Program) -> None:
    names = [place.layer for place in twice.places if place.at == "output"]

    assert names == ["input", "p.act", "p.fc", "p.act@1", "p", "p.act@2", "p.fc@1", "p.act@3", "p@1", "head"]


def test_a_container_and_its_last_layer_are_one_value(twice: Program) -> None:
    assert twice.place("p", "output").node is twice.place("p.act@1", "output").node
    assert twice.place("p@1", "input").node is twice.place("p", "output").node


def test_modules_without_a_value_or_an_effect_are_not_places(twice: Program) -> None:
    for layer in ("unused", "same", "nowhere", "p.act@4", "p.fc.weight", ""):
        with pytest.raises(EngineError) as caught:
            twice.place(layer, "output")

        assert caught.value.code == "layer_not_found"


def test_several_real_inputs_are_places_by_name_and_ids_are_not_places(mixed: Program) -> None:
    inputs = [place.layer for place in mixed.places if place.layer.startswith("input")]

    assert list(mixed.inputs) == ["ids", "x"]
    assert inputs == ["input:x"]


def test_outputs_of_a_dict_are_called_by_its_keys(mixed: Program) -> None:
    assert {name: value.shape for name, value in mixed.outputs.items()} == {"left": (None, 2), "right": (None, 5)}


def test_a_place_without_a_path_to_the_chosen_output_is_rejected(mixed: Program) -> None:
    with pytest.raises(EngineError, match=r"layer 'fc'.*another output") as caught:
        mixed.split(mixed.place("fc", "output"), "right")

    assert caught.value.code == "layer_without_effect"
    assert not mixed.split(mixed.place("fc", "output"), "left").cut


@pytest.mark.filterwarnings("ignore:The tensor attributes self.gru:UserWarning")
def test_outputs_of_a_tuple_are_numbered_and_a_layer_that_returns_a_tuple_has_its_first_value() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.head = nn.GRU(3, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            sequence, _ = self.gru(x)
            return self.head(sequence[:, -1]), sequence

    model = program_of(Recurrent(), torch.randn(2, 4, 3))

    assert list(model.outputs) == ["output.0", "output.1"]
    assert model.place("gru", "output").shape == (4, 5)
    assert model.split(model.place("gru", "output"), "output.0").cut


@pytest.mark.check
@pytest.mark.parametrize(("name", "key"), [(name, key) for name in MAKERS for key in net_of(name).taps])
def test_a_place_is_a_cut_unless_a_path_leads_around_the_place(name: str, key: Key) -> None:
    split = program(name).split(program(name).place(*key), "output")

    assert split.cut == (key not in net_of(name).bypassed)


@pytest.mark.parametrize(
    ("name", "key", "shape", "axis"),
    [
        ("functional", ("fc1", "output"), (8,), 0),
        ("convolutional", ("input", "output"), (2, 8, 8), 0),
        ("convolutional", ("features.0", "output"), (4, 6, 6), 0),
        ("convolutional", ("features.3", "output"), (4, 3, 3), 0),
        ("convolutional", ("features.2", "input"), (4, 6, 6), 0),
        ("convolutional", ("features", "output"), (5, 2, 2), 0),
        ("convolutional", ("head", "input"), (20,), 0),
        ("attentive", ("input", "output"), (4, 3), 1),
        ("attentive", ("attention.query", "output"), (4, 6), 1),
        ("attentive", ("norm", "output"), (4, 6), 1),
        ("attentive", ("attention", "output"), (4, 6), 1),
        ("transformer", ("encoder.linear1", "output"), (4, 16), 1),
        ("transformer", ("encoder.norm2", "output"), (4, 8), 1),
        ("transformer", ("head", "input"), (8,), 0),
    ],
)
def test_shape_and_channel_axis_are_counted_without_the_batch(name: str, key: Key, shape: tuple[int, ...], axis: int) -> None:
    place = program(name).place(*key)

    assert (place.shape, place.channel_axis) == (shape, axis)


def test_places_come_in_order_of_execution() -> None:
    outputs: list[Place] = [place for place in program("convolutional").places if place.at == "output"]

    assert [place.layer for place in outputs] == ["input", *(f"features.{i}" for i in range(6)), "features", "head"]
    assert [place.kind for place in outputs[:5]] == ["Input", "Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]


def random_graph(random: Random) -> fx.Graph:
    """Up to 30 operators on three inputs; one input holds integers, and some operators read only
    shapes.
    """
    graph = fx.Graph()
    nodes = [graph.placeholder(name) for name in "abc"]
    for node in nodes:
        node.meta["val"] = torch.zeros(2, 3, dtype=torch.long if node.name == "b" else torch.float32)
    for _ in range(random.randrange(30)):
        sources = tuple(random.choices(nodes[-5:] if random.random() < 0.8 else nodes, k=2))
        shapes_only = random.random() < 0.15
        node = (
            graph.call_function(aten.zeros_like.default, sources[:1])
            if shapes_only
            else graph.call_function(aten.add.Tensor, sources)
        )
        node.meta["val"] = torch.zeros(2, 3)
        nodes.append(node)
    graph.output(tuple(nodes[-2:]))
    return graph


@pytest.mark.parametrize("seed", range(30))
def test_cuts_when_compared_with_paths_around_each_node_then_are_the_nodes_without_such_a_path(seed: int) -> None:
    graph = random_graph(Random(seed))
    goals = [node for node in graph.nodes if node.op != "output"]
    blocked = {goal: {node for node in goals if not reaches(graph, node, goal)} for goal in goals}

    assert {goal: cuts(graph, goal) & set(goals) for goal in goals} == blocked


class Layers(nn.Module):
    """Returns the sum of its layers' states, and the states."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        states = [self.a(x)]
        states.append(self.b(torch.tanh(states[0])))
        return self.norm(states[-1]), states


class WeightedSum(nn.Module):
    """A weighted sum of the states of all layers. It does not use the first value of `layers`."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.weights, self.head = Layers(), nn.Parameter(torch.zeros(2)), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, states = self.layers(x)
        out: torch.Tensor = self.head((torch.stack(states, 1) * self.weights.softmax(0)[:, None]).sum(1))
        return out


def test_a_call_whose_states_are_summed_outside_has_no_place_because_its_first_value_is_unknown() -> None:
    names = [place.layer for place in program_of(WeightedSum(), torch.randn(2, 4)).places if place.at == "output"]

    assert names == ["input", "layers.a", "layers.b", "head"]
