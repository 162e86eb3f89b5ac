"""The ablation study on nets whose units' shares are known."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.ablation.nets import Weighted
from tests.engine.in_process import program_of, rank
from unitrank_engine.program import Program
from unitrank_schemas.results import Verdict

METHOD = "gradient_x_activation"
SummaryAndArrays = tuple[dict[str, Any], dict[str, np.ndarray]]


@cache
def program(*weights: tuple[float, ...], bias: float = 0.0) -> Program:
    """F = w·relu(x) + b for each row of weights."""
    rows = [list(row) for row in weights]
    return program_of(Weighted(*rows, bias=bias), torch.ones(2, len(rows[0]), dtype=torch.float64))


def study(folder: Path, weights: tuple[float, ...], x: np.ndarray, **options: Any) -> SummaryAndArrays:
    """Test gradient × activation on F = w·relu(x) + b, by default in sample."""
    ablation = {"split": "none", "check_fill": None, **options.pop("ablation", {})}
    methods, bias = options.pop("methods", [METHOD]), options.pop("bias", 0.0)
    request = {"fidelity": None, "target": {"class": None}, "labels": None, **options}
    fields = {"x": x.astype(np.float64), **options.pop("fields", {})}
    request.pop("fields", None)
    return rank(program(weights, bias=bias), folder, fields, "act", methods, ablation=ablation, **request)


def of(outcome: SummaryAndArrays, cluster: str = "all", ranking: int = 0) -> dict[str, Any]:
    result: dict[str, Any] = outcome[0]["rankings"][ranking]["clusters"][cluster]["ablation"]
    return result


def overall(outcome: SummaryAndArrays, ranking: int = 0) -> dict[str, Any]:
    """The p-values, the area and the verdict over all clusters."""
    result = outcome[0]["rankings"][ranking]["overall"]
    return {name: result[name] for name in ("p_value", "p_worse", "p_family", "p_family_worse", "area", "verdict")}


def codes(outcome: SummaryAndArrays) -> list[str]:
    return [warning["code"] for warning in outcome[0]["warnings"]]


FOUR = (2.0, 4.0, 1.0, 3.0)
QUARTERS = {"fractions": [0.25, 0.5, 0.75]}


def test_study_when_four_units_have_known_shares_then_every_number_is_as_worked_out(tmp_path: Path) -> None:
    # S₀ = 10. `most` replaces units of 4, 3, 2: S = 6, 3, 1 and D = (4 + 7 + 9)/3.
    # `least` replaces units of 1, 2, 3: S = 9, 7, 4 and D = (1 + 3 + 6)/3.
    # `keep` leaves units of 4, 3, 2: F = 4, 7, 9, and the mean loss is (6 + 3 + 1)/3.
    outcome = study(tmp_path, FOUR, np.ones((5, 4)), ablation=QUARTERS)
    result = of(outcome)
    curves = outcome[1]["ablation/random"][0, :, 1:].astype(np.float64)
    # One order of 24 drops as little; kept, one order of 24 loses as little.
    p_least = (1 + int(((10.0 - curves).mean(1) <= 10 / 3 + 1e-9).sum())) / 100

    assert result["counts"] == [1, 2, 3]
    assert result["fractions"] == [0.25, 0.5, 0.75]
    assert result["most"] == {"score": [6.0, 3.0, 1.0], "accuracy": None, "area": pytest.approx(2 / 3)}
    assert result["least"] == {"score": [9.0, 7.0, 4.0], "accuracy": None, "area": pytest.approx(1 / 3), "p_value": p_least}
    assert result["keep"] == {"score": [4.0, 7.0, 9.0], "accuracy": None, "p_value": result["p_value"]}
    assert (result["keep_area"], result["srg"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    # 0.9 · 10 of S₀ − S_n = 10 are left with three units.
    assert result["units_for_90"] == 3
    assert outcome[1][f"ablation/{METHOD}/most"].tolist() == [[10.0, 6.0, 3.0, 1.0]]
    assert outcome[1][f"ablation/{METHOD}/keep"].tolist() == [[0.0, 4.0, 7.0, 9.0]]
    assert outcome[1]["ablation/random"][0, :, 0].tolist() == [10.0] * 99


def test_random_when_orders_are_given_then_bands_area_and_p_follow_from_them(tmp_path: Path) -> None:
    summary, arrays = study(tmp_path, FOUR, np.ones((5, 4)), ablation=QUARTERS | {"level": 0.9})
    result, curves = of((summary, arrays)), arrays["ablation/random"][0, :, 1:].astype(np.float64)
    drops = (10.0 - curves).mean(1)

    # One order of 24 is as good: 4 of 99 random ones are expected, and ties count.
    assert result["p_value"] == (1 + int((drops >= 20 / 3 - 1e-9).sum())) / 100
    assert result["p_value"] > 0.01
    assert result["p_worse"] == 1.0
    assert result["random"]["area"] == pytest.approx(drops.mean() / 10.0, abs=1e-7)
    assert result["random"]["score"]["mean"] == pytest.approx(curves.mean(0).tolist())
    assert result["random"]["score"]["low"] == pytest.approx(np.quantile(curves, 0.05, axis=0).tolist())
    assert result["random"]["score"]["high"] == pytest.approx(np.quantile(curves, 0.95, axis=0).tolist())


def test_accuracy_when_labels_are_given_then_curves_count_right_predictions(tmp_path: Path) -> None:
    # Class 0 has 10 − 4 = 6, 3, 1, and class 1 has a constant 2 that depends on no unit: right,
    # right, wrong.
    net = Weighted([2.0, 4.0, 1.0, 3.0], [0.0, 0.0, 0.0, 0.0])
    net.out.bias.data[1] = 2.0
    summary, _ = rank(
        program_of(net, torch.ones(2, 4, dtype=torch.float64)), tmp_path,
        {"x": np.ones((4, 4)), "y": np.array([0, 0, 0, 1])}, "act", [METHOD],
        ablation={"split": "none", "check_fill": None, **QUARTERS}, fidelity=None, target={"class": 0},
    )  # fmt: skip
    result = of((summary, {}))

    assert summary["clusters"][0]["accuracy"] == 0.75
    assert result["most"]["accuracy"] == [0.75, 0.75, 0.25]
    assert result["least"]["accuracy"] == [0.75, 0.75, 0.75]
    # Units of 4, 3 and 2 are kept: 4, 7 and 9 are above 2.
    assert result["keep"]["accuracy"] == [0.75, 0.75, 0.75]
    assert len(result["random"]["accuracy"]["mean"]) == 3


TWENTY = tuple(float(weight) for weight in range(1, 21))
HALVES = {"fractions": [0.1, 0.25, 0.5]}


def test_verdict_when_the_ranking_is_true_then_is_better_than_random(tmp_path: Path) -> None:
    outcome = study(tmp_path, TWENTY, np.ones((6, 20)), ablation=HALVES)

    assert (of(outcome)["p_value"], of(outcome)["p_worse"]) == (0.01, 1.0)
    assert of(outcome)["verdict"] == "better_than_random"
    assert overall(outcome) == {
        "p_value": 0.01, "p_worse": 1.0, "p_family": 0.01, "p_family_worse": 1.0,
        # 2, 5 and 10 of the weights 20 … 1: (39 + 90 + 155) / 3 of 210
        "area": pytest.approx(284 / 3 / 210), "verdict": "better_than_random",
    }  # fmt: skip


def test_verdict_when_the_ranking_is_reversed_then_is_worse_than_random(tmp_path: Path) -> None:
    # activations 1/k² with weights k³ have the shares k, so that the least active unit does most
    x = np.tile(1 / np.array(TWENTY) ** 2, (6, 1))
    outcome = study(tmp_path, tuple(weight**3 for weight in TWENTY), x, ablation=HALVES, methods=["activation"])

    assert (of(outcome)["p_value"], of(outcome)["p_worse"], of(outcome)["verdict"]) == (1.0, 0.01, "worse_than_random")


def test_verdict_when_the_total_drop_is_negative_then_the_area_is_null_and_the_drop_decides(tmp_path: Path) -> None:
    # two units raise F and eighteen lower it: S₀ − S₂₀ = 10 − 36 < 0
    weights = (5.0, 5.0, *([-2.0] * 18))
    outcome = study(tmp_path, weights, np.ones((6, 20)), ablation={"fractions": [0.1, 0.2]})
    result = of(outcome)

    # With both replaced −36; with two more (shares of −2, in random order) −32.
    assert result["most"]["score"] == [-36.0, -32.0]
    assert (result["most"]["area"], result["least"]["area"], result["random"]["area"]) == (None, None, None)
    assert result["activity_area"] is None
    assert result["verdict"] == "better_than_random"


@pytest.mark.parametrize(("bias", "null"), [(189.0, False), (190.0, True)])
def test_area_when_the_total_drop_is_a_twentieth_of_the_target_then_it_is_null(bias: float, null: bool, tmp_path: Path) -> None:
    # the total drop is 10, mean |F| 199 or 200
    outcome = study(tmp_path, FOUR, np.ones((5, 4)), bias=bias, ablation=QUARTERS)
    result = of(outcome)

    areas = [result["most"]["area"], result["least"]["area"], result["random"]["area"], result["activity_area"]]
    others = [result["keep_area"], result["srg"], result["units_for_90"], overall(outcome)["area"]]
    assert {value is None for value in (*areas, *others)} == {null}


def test_verdict_when_units_do_nothing_then_no_order_is_better(tmp_path: Path) -> None:
    x = np.tile(np.arange(1.0, 21.0), (6, 1))
    outcome = study(tmp_path, (0.0,) * 20, x, bias=7.0, ablation=HALVES, methods=["activation"])
    result = of(outcome)

    assert (result["p_value"], result["p_worse"], result["verdict"]) == (1.0, 1.0, "no_better_than_random")
    assert result["most"]["area"] is None
    assert overall(outcome)["verdict"] == "no_better_than_random"


def test_verdict_when_all_scores_are_equal_then_it_is_undecided(tmp_path: Path) -> None:
    # The gradient is 3 for every unit, so that nothing but chance gives the order.
    outcome = study(tmp_path, (3.0,) * 20, np.ones((6, 20)), ablation=HALVES, methods=["gradient", "random"])
    result = of(outcome)

    assert undecided(outcome) == ("undecided", "undecided")
    assert [result[name] for name in ("p_value", "p_worse", "p_holm", "p_family")] == [None] * 4
    assert (result["least"]["p_value"], result["keep"]["p_value"]) == (None, None)
    assert [overall(outcome)[name] for name in ("p_value", "p_worse", "p_family", "p_family_worse")] == [None] * 4
    # Its curves and areas are computed anyway: (2 + 5 + 10) / 3 of 20.
    assert result["most"]["area"] == overall(outcome)["area"] == pytest.approx(17 / 60)


def test_overall_when_the_scores_of_a_cluster_are_equal_then_the_cluster_is_left_out(tmp_path: Path) -> None:
    # The clusters' rankings are 20 scores that differ, and 20 equal scores.
    scores = {"differs": list(TWENTY), "equal": [1.0] * 20}
    members = {"differs": [0, 1, 2, 3], "equal": [4, 5, 6, 7]}
    methods = [{"name": "given", "importance": scores, "made_on": "none"}]
    request: dict[str, Any] = {"methods": methods, "clusters": {"by": "members", "members": members}}
    outcome = study(tmp_path, TWENTY, np.ones((8, 20)), ablation=HALVES, **request)

    assert (of(outcome, "differs")["p_value"], of(outcome, "equal")["p_value"]) == (0.01, None)
    assert (of(outcome, "differs")["p_family"], of(outcome, "equal")["p_family"]) == (0.01, None)
    assert (of(outcome, "differs")["p_holm"], of(outcome, "equal")["p_holm"]) == (0.01, None)
    assert (of(outcome, "equal")["verdict"], overall(outcome)["verdict"]) == ("undecided", "better_than_random")
    assert overall(outcome)["p_value"] == 0.01


def test_verdict_when_all_units_are_dead_then_ties_are_exact_in_a_wide_net_too(tmp_path: Path) -> None:
    # The rows of one product round differently; a mask that changes nothing must not win by that.
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 513), torch.nn.Linear(513, 10), torch.nn.Tanh(), torch.nn.Linear(10, 3))
    torch.nn.init.zeros_(net[0].weight)
    x = np.random.default_rng(0).standard_normal((9, 2)).astype(np.float32)
    outcome = rank(
        program_of(net, torch.ones(2, 2)), tmp_path, {"x": x}, "0", ["random"],
        ablation={"split": "none", "check_fill": None}, fidelity=None, target={"class": 1},
    )  # fmt: skip

    assert (of(outcome)["p_value"], of(outcome)["p_worse"]) == (1.0, 1.0)


@pytest.mark.parametrize("seed", [1, 2])
def test_ties_when_random_orders_choose_the_same_unit_then_they_count_in_a_wide_net_too(seed: int, tmp_path: Path) -> None:
    # One of 19 channels is replaced: about 10 of 199 orders choose the same channel as the ranking.
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Conv1d(1, 19, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(513, 10))
    x = np.random.default_rng(0).standard_normal((13, 1, 29)).astype(np.float32)
    outcome = rank(
        program_of(net, torch.ones(2, 1, 29)), tmp_path, {"x": x}, "1", [METHOD], units="channel",
        ablation={"split": "none", "check_fill": None, "fractions": [0.06], "random": 199}, fidelity=None, target={"class": 1},
    )  # fmt: skip
    curves, best = outcome[1]["ablation/random"][0, :, 1], np.float32(of(outcome)["most"]["score"][0])

    assert len(np.unique(curves)) == 19
    assert (curves == best).sum() >= 3
    assert of(outcome)["p_value"] == (1 + (curves <= best).sum()) / 200


def undecided(outcome: SummaryAndArrays, cluster: str = "all") -> tuple[Verdict, Verdict]:
    return of(outcome, cluster)["verdict"], overall(outcome)["verdict"]


def test_verdict_when_random_orders_are_too_few_then_it_is_undecided(tmp_path: Path) -> None:
    eighteen = study(tmp_path, TWENTY, np.ones((6, 20)), ablation=HALVES | {"random": 18})
    nineteen = study(tmp_path, TWENTY, np.ones((6, 20)), ablation=HALVES | {"random": 19})

    assert undecided(eighteen) == ("undecided", "undecided")
    assert of(eighteen)["p_value"] == overall(eighteen)["p_value"] == pytest.approx(1 / 19)
    assert undecided(nineteen) == ("better_than_random", "better_than_random")
    assert of(nineteen)["p_value"] == 0.05


def test_verdict_when_units_can_be_chosen_in_few_ways_then_it_is_undecided(tmp_path: Path) -> None:
    # 4 · 3 ways for the counts 1 and 2, 24 for 1, 2 and 3
    few = study(tmp_path, FOUR, np.ones((6, 4)), ablation={"fractions": [0.25, 0.5]})

    assert undecided(few) == ("undecided", "undecided")
    assert of(few)["p_value"] is not None
    assert undecided(study(tmp_path, FOUR, np.ones((6, 4)), ablation=QUARTERS))[0] != "undecided"


@pytest.mark.parametrize("random", [0, 99])
@pytest.mark.parametrize("orders", [["least"], ["keep"], []])
def test_verdict_when_the_order_most_is_not_requested_then_is_undecided(random: int, orders: list[str], tmp_path: Path) -> None:
    options = HALVES | {"orders": orders, "random": random, "check_fill": "zero", "fill": "mean"}
    outcome = study(tmp_path, TWENTY, np.ones((6, 20)), ablation=options)
    result = of(outcome)

    assert undecided(outcome) == ("undecided", "undecided")
    assert [result[name] for name in ("most", "p_value", "p_worse", "p_holm", "p_family", "srg")] == [None] * 6
    assert set(overall(outcome).values()) == {None, "undecided"}
    for order in ("least", "keep"):
        assert (result[order] is not None) == (order in orders)
        assert order not in orders or (result[order]["p_value"] is not None) == (random > 0)
    assert (result["random"] is not None) == (random > 0)


def test_verdict_when_there_are_no_random_orders_then_areas_are_computed_and_p_values_are_null(tmp_path: Path) -> None:
    members = {name: list(range(4 * index, 4 * index + 4)) for index, name in enumerate("ab")}
    request: dict[str, Any] = {"clusters": {"by": "members", "members": members}, "methods": [METHOD, "activation"]}
    outcome = study(tmp_path, TWENTY, np.ones((8, 20)), ablation=HALVES | {"random": 0, "check_fill": "zero"}, **request)
    result = of(outcome, "a")

    assert [result[name] for name in ("p_value", "p_worse", "p_holm", "p_family", "random")] == [None] * 5
    assert (result["least"]["p_value"], result["keep"]["p_value"]) == (None, None)
    # Kept: 2, 5 and 10 of the weights 20 … 1.
    areas = [result["most"]["area"], result["keep_area"], overall(outcome)["area"]]
    assert areas == pytest.approx([284 / 3 / 210] * 3)
    assert [overall(outcome)[name] for name in ("p_value", "p_worse", "p_family", "p_family_worse")] == [None] * 4
    assert undecided(outcome, "a") == ("undecided", "undecided")


def test_verdict_when_a_cluster_has_under_two_test_examples_then_it_is_undecided(tmp_path: Path) -> None:
    # Three examples give halves of two and one: one test example.
    members = {"two": [0], "three": [1, 2, 3], "four": [4, 5, 6, 7]}
    outcome = study(
        tmp_path, TWENTY, np.ones((8, 20)), ablation=HALVES | {"split": "half"}, clusters={"by": "members", "members": members}
    )

    assert [cluster["tested_on"] for cluster in outcome[0]["clusters"]] == [0, 1, 2]
    assert [of(outcome, name)["verdict"] for name in members] == ["undecided", "undecided", "better_than_random"]
    nothing = of(outcome, "two")
    assert (nothing["most"], nothing["random"], nothing["activity_area"], nothing["p_value"]) == (None, None, None, None)
    assert np.isnan(outcome[1][f"ablation/{METHOD}/most"][0]).all()
    # A tested cluster has its p-value anyway, and counts for Holm and for the overall sum.
    assert of(outcome, "three")["p_value"] == 0.01
    assert of(outcome, "three")["p_holm"] == of(outcome, "four")["p_holm"] == 0.02
    # It does not count in the step-down.
    assert [of(outcome, name)["p_family"] for name in members] == [None, None, 0.01]
    assert overall(outcome)["verdict"] == "better_than_random"


def test_overall_when_every_cluster_has_one_test_example_then_together_they_decide(tmp_path: Path) -> None:
    members = {str(index): [2 * index, 2 * index + 1] for index in range(4)}
    request = {"clusters": {"by": "members", "members": members}, "ablation": HALVES | {"split": "half"}}
    outcome = study(tmp_path, TWENTY, np.ones((8, 20)), **request)
    alone = study(tmp_path, TWENTY, np.ones((2, 20)), ablation=HALVES | {"split": "half"})

    assert {of(outcome, name)["verdict"] for name in members} == {"undecided"}
    assert {of(outcome, name)["p_family"] for name in members} == {None}
    p_values = {"p_value": 0.01, "p_worse": 1.0, "p_family": 0.01, "p_family_worse": 1.0, "area": pytest.approx(284 / 3 / 210)}
    assert overall(outcome) == p_values | {"verdict": "better_than_random"}
    assert overall(alone) == p_values | {"verdict": "undecided"}


def test_verdict_when_there_is_one_example_then_nothing_is_tested(tmp_path: Path) -> None:
    outcome = study(tmp_path, TWENTY, np.ones((1, 20)), ablation=HALVES | {"split": "half", "check_fill": "resample"})

    assert of(outcome)["verdict"] == "undecided"
    assert outcome[0]["clusters"][0] == outcome[0]["clusters"][0] | {"examples": 1, "ranked_on": 1, "tested_on": 0}
    p_values = dict.fromkeys(("p_value", "p_worse", "p_family", "p_family_worse", "area"))
    assert overall(outcome) == p_values | {"verdict": "undecided"}


def test_study_when_there_is_one_unit_then_there_are_no_counts(tmp_path: Path) -> None:
    outcome = study(tmp_path, (2.0,), np.ones((4, 1)))

    assert (of(outcome)["counts"], of(outcome)["verdict"], of(outcome)["most"]) == ([], "undecided", None)
    assert outcome[1]["ablation/random"].shape == (1, 99, 1)


def test_family_when_there_are_several_clusters_then_corrects_p_and_leaves_the_verdict(tmp_path: Path) -> None:
    members = {name: list(range(4 * index, 4 * index + 4)) for index, name in enumerate("abc")}
    request: dict[str, Any] = {"clusters": {"by": "members", "members": members}}
    outcome = study(tmp_path, TWENTY, np.ones((12, 20)), ablation=HALVES, **request)

    assert [of(outcome, name)["p_value"] for name in "abc"] == [0.01] * 3
    assert [of(outcome, name)["p_holm"] for name in "abc"] == [0.03] * 3
    # The clusters' drops are equal, so the correction for three clusters costs nothing.
    assert [of(outcome, name)["p_family"] for name in "abc"] == [0.01] * 3
    outcome = study(tmp_path, TWENTY, np.ones((12, 20)), ablation=HALVES | {"random": 59}, **request)
    assert [of(outcome, name)["p_holm"] for name in "abc"] == pytest.approx([3 / 60] * 3)
    # 3 clusters are more than 59 · 0.05: Holm's smallest p is 3/59.
    outcome = study(tmp_path, TWENTY, np.ones((12, 20)), ablation=HALVES | {"random": 58}, **request)
    assert [of(outcome, name)["p_holm"] for name in "abc"] == [None] * 3
    outcome = study(tmp_path, TWENTY, np.ones((12, 20)), ablation=HALVES | {"random": 19}, **request)
    assert [of(outcome, name)["p_holm"] for name in "abc"] == [None] * 3
    assert [of(outcome, name)["p_family"] for name in "abc"] == [0.05] * 3
    assert {of(outcome, name)["verdict"] for name in "abc"} == {"better_than_random"}


def test_family_when_ten_clusters_have_true_scores_then_each_can_be_significant(tmp_path: Path) -> None:
    # Each cluster has an order of its own. With Holm, the smallest p would be 10/100.
    x = np.random.default_rng(0).permuted(np.tile(np.arange(1.0, 21.0), (10, 1)), axis=1).repeat(4, axis=0)
    members = {str(index): list(range(4 * index, 4 * index + 4)) for index in range(10)}
    outcome = study(tmp_path, (1.0,) * 20, x, ablation=HALVES, clusters={"by": "members", "members": members})

    assert {of(outcome, name)["p_family"] for name in members} == {0.01}
    assert {of(outcome, name)["p_holm"] for name in members} == {None}


def test_activity_when_it_ranks_alike_then_the_ranking_is_warned_of(tmp_path: Path) -> None:
    x = np.tile(np.arange(1.0, 21.0), (6, 1))
    same = study(tmp_path, (1.0,) * 20, x, ablation=HALVES)
    # The shares are 1 … 20 again, but the order by activity is reversed.
    reversed_activity = study(tmp_path, tuple(np.arange(1.0, 21.0) / np.arange(20.0, 0.0, -1.0)), x[:, ::-1], ablation=HALVES)

    # 2, 5 and 10 of 20 … 1: (39 + 90 + 155) / 3 of 210
    assert of(same)["most"]["area"] == of(same)["activity_area"] == pytest.approx(284 / 3 / 210)
    (detail,) = [warning["detail"] for warning in same[0]["warnings"] if warning["code"] == "no_better_than_activity"]
    assert detail.startswith("a ranking of the units by activity does as well (area 0.4508, this ranking 0.4508), so")
    # and of 1 … 20: (3 + 15 + 55) / 3
    assert of(reversed_activity)["most"]["area"] == pytest.approx(284 / 3 / 210)
    assert of(reversed_activity)["activity_area"] == pytest.approx(73 / 3 / 210)
    assert "no_better_than_activity" not in codes(reversed_activity)


def test_activity_when_the_fill_is_another_then_the_distance_from_it_counts(tmp_path: Path) -> None:
    # The first two examples rank, and F is the sum. The means over all four are 5, 8, 9, 2, and so
    # are the distances from 0.
    x = np.array([[1.0, 7.0, 9.0, 2.0], [9.0, 9.0, 9.0, 2.0], [1.0, 9.0, 9.0, 2.0], [9.0, 7.0, 9.0, 2.0]])
    constant = study(tmp_path, (1.0,) * 4, x, ablation=QUARTERS, baseline={"kind": "constant", "value": 8.5})
    zero = study(tmp_path, (1.0,) * 4, x, ablation=QUARTERS | {"fill": "zero"})
    mean = study(tmp_path, (1.0,) * 4, x, ablation=QUARTERS | {"fill": "mean"})

    # to 0: units 2, 1, 0 fall by 9, 8, 5 of 24
    assert of(zero)["activity_area"] == pytest.approx((9 + 17 + 22) / 3 / 24)
    # To 8.5: the distances 4, 1, 0.5, 6.5 select units 3, 0, 1, which rise by 6.5, 3.5, 0.5 of −10.
    # The total drop is negative.
    assert of(constant)["activity_area"] is None
    # With the fill `mean`, the mean F does not change.
    assert of(mean)["most"]["score"] == pytest.approx([24.0] * 3)
    assert of(mean)["activity_area"] is None


def test_check_fill_when_it_changes_a_verdict_then_a_warning_names_both_verdicts(tmp_path: Path) -> None:
    # All examples are equal: resampling changes nothing, so all orders are equally good.
    outcome = study(tmp_path, TWENTY, np.ones((6, 20)), ablation=HALVES | {"check_fill": "resample"})
    warned = [warning for warning in outcome[0]["warnings"] if warning["code"] == "verdict_depends_on_fill"]

    assert of(outcome)["verdict"] == "better_than_random"
    assert [(warning["cluster"], warning["ranking"]) for warning in warned] == [("all", METHOD), (None, METHOD)]
    assert warned[0]["detail"].startswith(
        "the verdict changes (better than random → no better than random) when units are replaced by 'resample' "
        "instead of 'baseline'"
    )
    # h′ is zero here
    assert "verdict_depends_on_fill" not in codes(
        study(tmp_path, TWENTY, np.ones((6, 20)), ablation=HALVES | {"check_fill": "zero"})
    )
    assert "verdict_depends_on_fill" not in codes(study(tmp_path, TWENTY, np.ones((6, 20)), ablation=HALVES | {"check_fill": None}))


def test_check_fill_when_it_runs_then_the_other_results_do_not_change(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((30, 20))
    without = study(tmp_path, TWENTY, x, ablation=HALVES)
    checked = study(tmp_path, TWENTY, x, ablation=HALVES | {"check_fill": "resample"})

    assert checked[0]["rankings"][0]["clusters"] == without[0]["rankings"][0]["clusters"]
    assert all(np.array_equal(checked[1][name], without[1][name]) for name in without[1])


def test_examples_when_they_are_limited_then_at_most_the_limit_is_tested_and_all_rank(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((30, 20))
    outcome = study(tmp_path, TWENTY, x, ablation=HALVES | {"split": "half", "examples": 4})
    whole = study(tmp_path, TWENTY, x, ablation=HALVES | {"split": "half"})

    assert [(cluster["examples"], cluster["ranked_on"], cluster["tested_on"]) for cluster in outcome[0]["clusters"]] == [
        (30, 15, 4)
    ]
    assert [(cluster["ranked_on"], cluster["tested_on"]) for cluster in whole[0]["clusters"]] == [(15, 15)]
    assert np.array_equal(outcome[1][f"importance/{METHOD}"], whole[1][f"importance/{METHOD}"])
    np.testing.assert_allclose(outcome[1][f"importance/{METHOD}"][0], (x * TWENTY).mean(0), rtol=1e-6)


@cache
def curved() -> Program:
    """A net with a nonlinear activation, in float32."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(7, 33), torch.nn.ReLU(), torch.nn.Linear(33, 9), torch.nn.ReLU(), torch.nn.Linear(9, 3)
    )
    return program_of(net, torch.ones(2, 7))


def shared(folder: Path, methods: list[Any], **request: Any) -> SummaryAndArrays:
    rng = np.random.default_rng(1)
    fields = {"x": rng.standard_normal((57, 7)).astype(np.float32), "y": np.arange(57) % 3}
    return rank(curved(), folder, fields, "1", methods, clusters={"by": "label"}, fidelity=None, **request)


def test_controls_when_two_jobs_are_on_the_same_work_then_they_are_shared_to_the_bit(tmp_path: Path) -> None:
    left = shared(tmp_path, ["activation"])
    right = shared(tmp_path, ["gradient", "random", {"name": "conductance", "steps": 3}, METHOD])

    assert np.array_equal(left[1]["ablation/random"], right[1]["ablation/random"])
    assert [of(left, name)["random"] for name in "012"] == [of(right, name)["random"] for name in "012"]
    assert [of(left, name)["activity_area"] for name in "012"] == [of(right, name)["activity_area"] for name in "012"]


def test_controls_when_the_seed_differs_then_the_random_orders_differ(tmp_path: Path) -> None:
    left, right = shared(tmp_path, ["random"]), shared(tmp_path, ["random"], seed=1)

    assert not np.array_equal(left[1]["ablation/random"], right[1]["ablation/random"])
    assert not np.array_equal(left[1]["importance/random"], right[1]["importance/random"])


def test_jobs_when_they_are_equal_then_their_results_are_equal_to_the_bit(tmp_path: Path) -> None:
    left, right = (shared(tmp_path, ["gradient", "random", "conductance"]) for _ in range(2))

    assert left[1].keys() == right[1].keys()
    assert all(left[1][name].tobytes() == right[1][name].tobytes() for name in left[1])
    for summary in (left[0], right[0]):
        summary["cost"].pop("seconds")
        for ranking in summary["rankings"]:
            ranking.pop("seconds")
    assert left[0] == right[0]


def test_random_when_more_orders_are_drawn_then_the_first_ones_stay(tmp_path: Path) -> None:
    few = shared(tmp_path, ["random"], ablation={"random": 19})[1]["ablation/random"]
    many = shared(tmp_path, ["random"], ablation={"random": 99})[1]["ablation/random"]

    np.testing.assert_allclose(few, many[:, :19], rtol=1e-6)


def test_overall_when_one_ranking_is_tested_on_one_cluster_then_the_random_orders_serve(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    fields = {"x": rng.standard_normal((57, 7)).astype(np.float32), "y": np.arange(57) % 3}
    outcome = rank(curved(), tmp_path, fields, "1", ["activation", "random"], ablation={"random": 40}, fidelity=None)
    curves = {name: outcome[1][f"ablation/{name}"].astype(np.float64)[0] for name in ("activation/most", "random")}
    random = (curves["random"][:, :1] - curves["random"][:, 1:]).mean(1)
    drop = (curves["activation/most"][0] - curves["activation/most"][1:]).mean()

    assert overall(outcome)["p_value"] == overall(outcome)["p_family"] == (1 + (random >= drop).sum()) / 41
    assert overall(outcome)["p_worse"] == overall(outcome)["p_family_worse"] == (1 + (random <= drop).sum()) / 41
    assert of(outcome)["p_value"] == of(outcome)["p_family"] == overall(outcome)["p_value"]
    # A ranking of noise is not one of the job's tests.
    assert (overall(outcome, 1)["p_family"], overall(outcome, 1)["p_family_worse"]) == (None, None)
    assert overall(outcome, 1)["p_value"] == of(outcome, ranking=1)["p_value"]


def test_family_when_a_ranking_is_added_then_the_first_ones_p_rises_at_most(tmp_path: Path) -> None:
    one, two = (shared(tmp_path, methods, ablation={"random": 40}) for methods in (["gradient"], ["gradient", "activation"]))
    with_noise = shared(tmp_path, ["gradient", "random"], ablation={"random": 40})

    assert overall(one)["p_value"] == overall(one)["p_family"] == overall(two)["p_value"]
    assert overall(two)["p_family"] >= overall(one)["p_family"]
    assert overall(with_noise) == overall(one)
