"""The answer of a job with several layers says no more than its numbers show."""

from typing import Any

import pytest

from tests.service.results import layered
from unitrank_schemas.layer_answer import EVERY_LAYER, layer_answer
from unitrank_schemas.layer_lines import LayerLine, layer_lines
from unitrank_schemas.results import LayeredResult


def line(layer: str, area: float | None, verdict: Any = "better_than_random", **changes: Any) -> LayerLine:
    values = {"ranking": "conductance", "robust": True, "noise": 0.01, "selectivity": 0.1, "units_for_90": 5, "count": 50}
    return LayerLine(layer=layer, area=area, verdict=verdict, **(values | changes))


def test_answer_when_one_layer_leads_by_more_than_noise_then_names_it() -> None:
    answer = layer_answer([line("a", 0.4), line("b", 0.9, units_for_90=7), line("c", 0.6)])

    assert (answer.light, answer.word, answer.ranking) == ("green", "Mostly at layer b", "conductance")
    assert "0.9, and the next is 0.6 at c" in answer.reason
    assert answer.reason.endswith(EVERY_LAYER)
    assert "first 7 of its 50 units" in answer.steps[1]


def test_answer_when_areas_differ_by_noise_then_names_all_of_them() -> None:
    answer = layer_answer([line("a", 0.85, noise=0.06), line("b", 0.9), line("c", 0.4)])

    assert (answer.light, answer.word) == ("amber", "About equally at b and a")
    assert "no more than the noise of random orders (0.9 at b, 0.85 at a)" in answer.reason


def test_answer_when_the_largest_area_is_not_better_than_random_then_another_layer_leads() -> None:
    answer = layer_answer([line("a", 0.95, "undecided"), line("b", 0.3, robust=False)])

    assert (answer.light, answer.word) == ("amber", "Shown only at layer b")
    assert "At a the test is too small to decide." in answer.reason
    assert "only one of 2 layers whose best list is better than random (area 0.3)" in answer.reason
    assert "Not every check" in answer.reason


@pytest.mark.parametrize(
    ("verdict", "sentence"), [("undecided", "At c the test is too small to decide."), (None, "At c no list was tested.")]
)
def test_answer_when_one_layer_is_open_then_the_leader_may_not_be_the_largest(verdict: Any, sentence: str) -> None:
    answer = layer_answer([line("a", 0.3), line("b", 0.1), line("c", 0.95, verdict)])

    assert (answer.light, answer.word) == ("amber", "Of the layers with a verdict, mostly at layer a")
    assert sentence in answer.reason


def test_answer_when_there_is_one_layer_then_speaks_of_no_others() -> None:
    answer = layer_answer([line("a", 0.3)])

    assert (answer.light, answer.word) == ("green", "Mostly at layer a")
    assert answer.reason.startswith("Its best list is better than random (area 0.3).")


def test_answer_when_random_orders_have_no_noise_then_is_not_green() -> None:
    assert layer_answer([line("a", 0.3, noise=None), line("b", 0.1, noise=None)]).light == "amber"


@pytest.mark.parametrize(
    ("verdicts", "light", "word"),
    [
        (["no_better_than_random", "worse_than_random"], "red", "Not shown"),
        (["no_better_than_random", "undecided"], "grey", "Not known"),
        ([None, None], "grey", "Not tested"),
    ],
)
def test_answer_when_no_layer_is_better_than_random_then_names_none(verdicts: list[Any], light: str, word: str) -> None:
    answer = layer_answer([line("a", 0.9, verdicts[0]), line("b", 0.8, verdicts[1])])

    assert (answer.light, answer.word, answer.ranking) == (light, word, "")


def test_answer_when_better_layers_have_no_area_then_says_that_they_cannot_be_compared() -> None:
    answer = layer_answer([line("a", None, robust=False), line("b", None), line("c", 0.2, "no_better_than_random")])

    assert (answer.light, answer.word, answer.ranking) == ("grey", "Not known", "")
    assert answer.reason.startswith("At a and b the best list is better than random, but has no area")


def test_answer_when_one_of_two_better_layers_has_no_area_then_does_not_call_the_other_the_only_one() -> None:
    answer = layer_answer([line("a", None), line("b", 0.4)])

    assert answer.word == "The area is known only at layer b"
    assert "only one of" not in answer.reason
    assert "At a the best list is better than random, but has no area" in answer.reason


@pytest.mark.parametrize(
    ("to_beat", "word"),
    [(0.35, "About equally at fc and conv1"), (0.25, "Mostly at layer fc"), (None, "The largest area is at layer fc")],
)
def test_answer_of_a_cluster_when_its_random_orders_vary_then_small_leads_do_not_count(to_beat: float | None, word: str) -> None:
    summary = layered.summary("j")
    for part in summary["layers"].values():
        for ranking in part["rankings"]:
            for entry in ranking["clusters"].values():
                entry["ablation"]["random"] |= {"area": 0.0, "area_to_beat": to_beat}
    result = LayeredResult.model_validate(summary)

    lines = layer_lines({name: result.of_layer(name) for name in result.layers}, cluster="a")

    assert layer_answer(lines, "a").word == word


def test_answer_when_another_layer_is_more_selective_then_says_so() -> None:
    same = layer_answer([line("a", 0.4, selectivity=0.1), line("b", 0.9, selectivity=0.3)])
    other = layer_answer(
        [line("a", 0.4, selectivity=0.4), line("b", 0.9, selectivity=0.3), line("c", 0.1, "undecided", selectivity=0.8)]
    )
    none = layer_answer([line("a", 0.4, selectivity=None), line("b", 0.9, selectivity=None)])

    assert "at b: they matter more to their own cluster than to the others (selectivity 0.3)" in same.reason
    assert "The most selective units are at a:" in other.reason
    assert "selectivity" not in none.reason


def test_answer_when_the_test_is_in_sample_then_names_no_layer() -> None:
    answer = layer_answer([line("a", 0.9), line("b", 0.8)], in_sample=True)

    assert (answer.light, answer.word) == ("amber", "Not shown")


def test_answer_when_about_one_cluster_then_says_so() -> None:
    answer = layer_answer([line("a", 0.9, robust=None, noise=None), line("b", 0.8, robust=None, noise=None)], "3 (dog)")

    assert answer.question == "Where in the network do few units decide the score of cluster 3 (dog)?"
    assert (answer.light, answer.word) == ("amber", "The largest area is at layer a")
    assert not any("half of the clusters" in step for step in answer.steps)
