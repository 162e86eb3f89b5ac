"""Checks of single methods: the operations of Shapley values, and the weights behind a layer."""

from dataclasses import replace
from typing import Any

import pytest

from tests.api_schemas.test_checks import CONV, facts, flaws, request
from unitrank_schemas.checks import RequestRejected, checked, passes

SHAPLEY = {"name": "shapley", "permutations": 100}
# 128 units × 100 permutations × 100 examples × 0.75 of 1000 operations.
OPERATIONS = 128 * 100 * 100 * 750


@pytest.mark.parametrize(
    ("limit", "advice"),
    [
        (OPERATIONS - 1, "at most 98 `permutations` fit, or at most 99 examples fit"),
        (OPERATIONS / 60, "at most 1 examples fit (set a `limit` on the clusters), or use `units: channel`"),
        (1.0, "use `units: channel`"),
    ],
)
def test_shapley_when_it_exceeds_the_operators_limit_then_is_refused_with_the_cost_and_what_fits(limit: float, advice: str) -> None:
    limited = replace(facts(flops=1000), max_shapley_operations=limit)

    with pytest.raises(RequestRejected) as caught:
        checked(request(methods=["gradient", SHAPLEY]), limited)

    (flaw,) = caught.value.flaws
    assert (flaw.code, flaw.pointer) == ("too_many_operations", "/methods/1")
    assert f"about {OPERATIONS:.1e} operations: 12800 sets of the 128 units × 100 examples × 7.5e+02 operations" in flaw.detail
    assert advice in flaw.detail


def test_shapley_when_it_is_within_the_limit_then_passes_and_its_cost_is_estimated() -> None:
    limited = replace(facts(flops=1000), max_shapley_operations=OPERATIONS)

    assert checked(request(methods=[SHAPLEY]), limited).methods[0].name == "shapley"
    assert passes(request(methods=[SHAPLEY], ablation=None, fidelity=None), facts()) == 100 * (1 + 128 * 100 * 0.75)
    assert passes(request(methods=[SHAPLEY], units="channel", ablation=None, fidelity=None), facts()) == 100 * (1 + 2**8 * 0.75)


@pytest.mark.parametrize(("linear_next", "refused"), [(False, True), (True, False), (None, False)])
@pytest.mark.parametrize("at", ["output", "input"])
def test_weight_norm_when_no_linear_operation_follows_then_is_refused(linear_next: Any, refused: bool, at: str) -> None:
    name = "linear_next" if at == "output" else "input_linear_next"
    of_model = facts(layers=[CONV | {name: linear_next}])
    job = request(methods=["weight_norm"], at=at)

    if refused:
        assert flaws(job, of_model) == [("method_not_applicable", "/methods/0")]
    else:
        assert checked(job, of_model).methods[0].name == "weight_norm"
