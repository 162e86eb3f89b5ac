"""`sanity` measures how much of a ranking depends on the weights behind the place."""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.ablation.nets import Cut, Units, Weighted
from tests.engine.ablation.plain import Plain, prepared
from tests.engine.in_process import program_of, rank
from tests.engine.reuse.test_reuse import Memory, assert_same
from unitrank_engine.ablation.sanity.weights_matter import ClusterDrops, weights_matter
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program
from unitrank_engine.program.permuted_tail import weights as permuting

Result = tuple[dict[str, Any], dict[str, np.ndarray]]
ROWS, UNITS = 12, 10


@cache
def weights() -> np.ndarray:
    return np.random.default_rng(3).exponential(size=UNITS)


@cache
def linear() -> Program:
    return program_of(Weighted(weights().tolist()), torch.ones(2, UNITS, dtype=torch.float64))


class Positive(Cut):
    """Six units behind which all weights are positive, so that each unit supports each class."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.before, self.act = nn.Linear(5, 6), nn.Sigmoid()
        self.after = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3))
        self.double()
        with torch.no_grad():
            for parameter in self.after.parameters():
                parameter.copy_(parameter.abs() ** 2 * (3.0 if parameter.dim() > 1 else 0.0))
            self.before.weight.mul_(4.0)


@cache
def positive() -> Program:
    return program_of(Positive(), torch.ones(2, 5, dtype=torch.float64))


def inputs(columns: int = UNITS) -> np.ndarray:
    return np.random.default_rng(4).uniform(0.5, 1.5, (ROWS, columns))


def job(folder: Path, net: Program, x: np.ndarray, methods: list[Any], layer: str = "act", **request: Any) -> Result:
    ablation = {"random": 19, "check_fill": None, "sanity": "permute_tail"} | request.pop("ablation", {})
    fields = {"x": x} | request.pop("fields", {})
    return rank(net, folder, fields, layer, methods, ablation=ablation, **{"fidelity": None, **request})


def matter(outcome: Result) -> list[float | None]:
    return [ranking["weights_matter"] for ranking in outcome[0]["rankings"]]


def warned(outcome: Result) -> list[str | None]:
    return [warning["ranking"] for warning in outcome[0]["warnings"] if warning["code"] == "weights_hardly_matter"]


def area(order: np.ndarray, effects: np.ndarray, counts: list[int]) -> float:
    """The area of an order where the target is the sum of the units' effects."""
    return float(np.mean([effects[order[:count]].sum() for count in counts]) / effects.sum())


def test_weights_matter_when_the_tail_is_linear_then_is_as_worked_out(tmp_path: Path) -> None:
    x, w, request = inputs(), weights(), {"target": {"class": None}}
    outcome = job(tmp_path, linear(), x, ["gradient_x_activation"], **request)
    context = prepared(linear(), tmp_path, {"x": x}, layer="act", **request)
    rows, halves = context.clusters[0].rows, context.halves[0]
    h, tested = x[rows[halves.sides == 0]].mean(0), x[rows[halves.tested]].mean(0)
    result = outcome[0]["rankings"][0]["clusters"]["all"]["ablation"]
    true, random = area(np.argsort(-w * h), w * tested, result["counts"]), result["random"]["area"]
    permuted = []
    for draw in range(3):
        order = context.streams.generator("sanity", draw).permutation(np.arange(UNITS))
        permuted.append(area(np.argsort(-w[order] * h), w * tested, result["counts"]))

    assert result["most"]["area"] == pytest.approx(true)
    assert len(set(permuted)) == 3
    assert matter(outcome) == [pytest.approx(1 - (np.mean(permuted) - random) / (true - random))]


def test_weights_matter_when_the_tail_does_not_enter_then_is_exactly_zero(tmp_path: Path) -> None:
    x = inputs() * (weights() + 0.1)
    outcome = job(tmp_path, linear(), x, ["activation", {"name": "activation", "statistic": "rms"}], target={"class": None})

    assert matter(outcome) == [0.0, 0.0]
    assert warned(outcome) == ["activation", "activation.rms"]


@pytest.mark.parametrize(
    ("net", "x", "method"),
    [
        (Units(lambda h: h.sum(1, keepdim=True)), inputs(), "gradient_x_activation"),  # no weights
        (nn.Sequential(nn.ReLU(), nn.Linear(UNITS, 1)), inputs(), "activation"),  # equal weights, below
        (Weighted((-weights()).tolist()), inputs() * (weights() + 0.1), "activation"),  # no better than random
    ],
    ids=["no weights", "equal weights", "no better than random"],
)
def test_weights_matter_when_it_has_no_meaning_then_is_null(net: nn.Module, x: np.ndarray, method: str, tmp_path: Path) -> None:
    layer = "act"
    if isinstance(net, nn.Sequential):
        layer = "0"
        net = net.double()
        for parameter in net.parameters():
            nn.init.constant_(parameter, 0.5)
    outcome = job(tmp_path, program_of(net, torch.tensor(x[:2])), x, [method], layer, target={"class": None})

    assert matter(outcome) == [None]
    assert warned(outcome) == []


def test_weights_matter_when_there_are_no_random_orders_then_is_null(tmp_path: Path) -> None:
    outcome = job(tmp_path, linear(), inputs(), ["gradient_x_activation"], target={"class": None}, ablation={"random": 0})

    assert matter(outcome) == [None]


@pytest.mark.check
def test_weights_matter_when_an_eager_net_has_reversed_weights_then_all_numbers_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reversed_entries(tensor: Tensor, generator: np.random.Generator) -> Tensor:
        return tensor.flatten().flip(0).reshape(tensor.shape)

    monkeypatch.setattr(permuting, "_permuted", reversed_entries)
    x, net, members = (
        torch.tensor(np.random.default_rng(1).standard_normal((ROWS, 5))),
        Positive(),
        {"a": [0, 2, 4, 6, 8, 10, 3], "b": [1, 3, 5, 7, 9, 11]},
    )
    reversed_net = deepcopy(net)
    with torch.no_grad():
        for parameter in reversed_net.after.parameters():
            parameter.copy_(reversed_entries(parameter.clone(), np.random.default_rng()))
    request: dict[str, Any] = {"clusters": {"by": "members", "members": members}, "target": {"class": 1}}
    ablation = {"fractions": [0.2, 0.4, 0.6, 0.8], "fill": "zero"}
    outcome = job(tmp_path, positive(), x.numpy(), ["gradient_x_activation"], ablation=ablation, **request)
    context = prepared(positive(), tmp_path, {"x": x.numpy()}, layer="act", **request)
    plain, wrong = Plain(net, x, 1, channels=False), Plain(reversed_net, x, 1, channels=False)
    fill = torch.zeros(6, dtype=torch.float64)
    sums = np.zeros(4)
    for index, name in enumerate(members):
        rows, halves = context.clusters[index].rows, context.halves[index]
        ranking, tested = rows[halves.sides == 0], rows[halves.tested]
        intact = np.mean([plain.f(row, set(), fill) for row in tested])
        total = intact - np.mean([plain.f(row, set(range(6)), fill) for row in tested])
        magnitude = np.mean([abs(plain.f(row, set(), fill)) for row in tested])
        if total <= 0.05 * magnitude:
            continue
        result = outcome[0]["rankings"][0]["clusters"][name]["ablation"]
        drops = []
        for scored in (plain, wrong):
            order = np.argsort(-scored.gradient_x_activation(ranking)).tolist()
            curve = [np.mean([plain.f(row, set(order[:count]), fill) for row in tested]) for count in result["counts"]]
            drops.append(intact - np.mean(curve))
        sums += [*drops, result["random"]["area"] * total, total]
    true, permuted, random, _ = sums
    expected = 1 - (permuted - random) / (true - random) if true > random else None

    assert matter(outcome) == [None if expected is None else pytest.approx(expected)]
    assert expected is not None


@pytest.mark.check
@pytest.mark.parametrize("score", ["logit", "margin"])
def test_weights_matter_when_the_predicted_class_is_explained_then_it_is_that_of_the_true_net(score: str, tmp_path: Path) -> None:
    x, net = np.random.default_rng(4).standard_normal((ROWS, 5)), Positive()
    classes = net(torch.tensor(x)).argmax(1).numpy()
    predicted = job(
        tmp_path, positive(), x, ["gradient_x_activation"], target={"class": "predicted", "score": score}, ablation={"fill": "zero"}
    )
    labelled = job(
        tmp_path, positive(), x, ["gradient_x_activation"], fields={"y": classes}, target={"class": "label", "score": score},
        ablation={"fill": "zero"},
    )  # fmt: skip

    assert len(set(classes.tolist())) > 1
    assert matter(predicted) == matter(labelled)
    assert matter(predicted) != [None]


def test_job_when_it_has_a_sanity_test_then_all_else_is_equal_to_the_bit(tmp_path: Path) -> None:
    x, methods = inputs(), ["gradient_x_activation", {"name": "conductance", "steps": 4}]
    with_test, without = (
        job(tmp_path, linear(), x, methods, target={"class": None}, ablation={"sanity": sanity})
        for sanity in ("permute_tail", None)
    )
    for ranking in with_test[0]["rankings"]:
        assert ranking.pop("weights_matter") is not None
        ranking["weights_matter"] = None
    kept = [warning for warning in with_test[0]["warnings"] if warning["code"] != "weights_hardly_matter"]
    with_test[0].update(warnings=kept, leaderboard=None, provenance=None)
    without[0].update(leaderboard=None, provenance=None)
    for ranking in (*with_test[0]["rankings"], *without[0]["rankings"]):
        ranking["overall"] |= {"robust": None, "doubts": []}

    assert_same(with_test, without)


def test_weights_matter_when_an_earlier_job_measured_it_then_no_pass_runs_again(tmp_path: Path) -> None:
    x, parts = inputs(), Memory()
    first = job(tmp_path, linear(), x, ["gradient_x_activation"], target={"class": None}, parts=parts)

    again = job(tmp_path, linear(), x, ["gradient_x_activation"], target={"class": None}, parts=parts)
    more = job(tmp_path, linear(), x, ["activation", "gradient_x_activation"], target={"class": None}, parts=parts)
    alone = job(tmp_path, linear(), x, ["activation", "gradient_x_activation"], target={"class": None})

    assert_same(again, first)
    assert again[0]["cost"]["forward_rows"] == 0
    assert {"gradient_x_activation/scores", "gradient_x_activation/sanity"} <= set(more[0]["cost"]["reused"])
    assert matter(more) == matter(alone)


def test_weights_matter_when_scores_are_given_then_is_null(tmp_path: Path) -> None:
    given = {"name": "given", "id": "mine", "field": "mine"}
    outcome = job(tmp_path, linear(), inputs(), [given, "activation"], target={"class": None}, fields={"mine": inputs()})

    assert matter(outcome)[0] is None


def test_sanity_when_scores_are_infinite_on_a_permuted_net_then_the_error_names_the_option(tmp_path: Path) -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.out = nn.ReLU(), nn.Linear(2, 2, bias=False, dtype=torch.float64)
            self.out.weight.data = torch.tensor([[1.0, 1.0], [-3.0, 4.0]], dtype=torch.float64)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.act(x))[:, :1].log()

    x = np.ones((6, 2)) * [1.0, 2.0]
    with pytest.raises(EngineError, match=r"with permuted weights \(`sanity: permute_tail`\), .* or `sanity: null`"):
        job(
            tmp_path, program_of(Root(), torch.ones(2, 2, dtype=torch.float64)), x, ["gradient_x_activation"],
            target={"class": None}, baseline={"kind": "constant", "value": 1.0}, ablation={"fractions": [0.5]},
        )  # fmt: skip


def test_weights_matter_when_a_cluster_has_no_area_then_it_does_not_count() -> None:
    drops = ClusterDrops(np.array([8.0, np.nan]), np.array([[2.0, np.nan], [5.0, np.nan]]), np.array([10.0, np.nan]))

    assert weights_matter(drops, [0.2, None]) == pytest.approx(1 - (0.35 - 0.2) / 0.6)
    assert weights_matter(drops, [None, None]) is None
    assert weights_matter(ClusterDrops(*(np.full(shape, np.nan) for shape in ((2,), (3, 2), (2,)))), [0.1, 0.1]) is None
