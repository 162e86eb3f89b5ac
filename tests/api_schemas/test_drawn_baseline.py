"""The checks of the baseline `examples`, and its part of the estimates."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from tests.api_schemas.test_checks import FIELDS, IMAGE, SECOND, TOKENS, facts, request
from unitrank_schemas.checks import Facts, RequestRejected, checked, passes
from unitrank_schemas.checks.size import array_bytes
from unitrank_schemas.facts.facts import Flaw

DRAWN: dict[str, Any] = {"kind": "examples"}
MARKED = FIELDS | {"dark": ("bool", [None]), "never": ("bool", [None]), "masks": ("bool", [None, 4])}
TRUE_ROWS = {"dark": 7, "never": 0}


def marked(**changes: Any) -> Facts:
    return replace(facts(fields=MARKED, **changes), true_rows=TRUE_ROWS.get)


def flaw(baseline: dict[str, Any], table: Facts, **changes: Any) -> Flaw:
    with pytest.raises(RequestRejected) as caught:
        checked(request(baseline=baseline, **changes), table)
    (flaw,) = caught.value.flaws
    return flaw


@pytest.mark.parametrize(
    ("options", "code", "pointer", "detail"),
    [
        (
            {"count": 101},
            "too_few_examples",
            "/count",
            "101 rows cannot be drawn from the job's 100 examples; use a smaller `count`",
        ),
        ({"where": "drak"}, "field_not_found", "/where", "nearest: 'dark'"),
        ({"where": "y"}, "wrong_dtype", "/where", "field 'y' is uint8; `where` needs one boolean for each row"),
        ({"where": "masks"}, "wrong_shape", "/where", "field 'masks' has shape [N, 4]; `where` needs one boolean"),
        (
            {"where": "dark"},
            "too_few_examples",
            "/count",
            "where field 'dark' is true, because it is true in 7; use a smaller `count`",
        ),
        ({"where": "never"}, "too_few_examples", "/where", "where field 'never' is true, because it is true in 0; use a smaller"),
    ],
)
def test_draw_that_is_not_possible_is_refused_with_what_is(options: Any, code: str, pointer: str, detail: str) -> None:
    refused = flaw(DRAWN | options, marked())

    assert (refused.code, refused.pointer) == (code, f"/baseline{pointer}")
    assert detail in refused.detail


@pytest.mark.parametrize("count", [0, 1001, 2.5, True])
def test_count_out_of_range_is_refused(count: Any) -> None:
    with pytest.raises(ValidationError):
        request(baseline=DRAWN | {"count": count})


def test_draws_of_several_inputs_need_the_same_count() -> None:
    baseline = DRAWN | {"count": 7, "where": "dark", "inputs": {"mask": DRAWN | {"count": 8}}}

    refused = flaw(baseline, marked(inputs=[IMAGE, SECOND]), inputs={"image": "image", "mask": "image"})

    assert (refused.code, refused.pointer) == ("invalid_request", "/baseline/inputs/mask/count")
    assert refused.detail == "this baseline draws 8 rows, and that of other inputs 7; use the same `count` for all inputs"


def test_draw_for_a_model_without_a_path_is_refused() -> None:
    assert flaw(DRAWN, marked(inputs=[TOKENS])).code == "baseline_not_applicable"


def test_possible_draws_are_accepted() -> None:
    for options in ({"count": 100}, {"count": 7, "where": "dark"}, {"count": 1}):
        job = request(baseline=DRAWN | options)
        assert checked(job, marked()).baseline == job.baseline
    # A dataset whose values were not read: the job counts the rows.
    checked(request(baseline=DRAWN | {"where": "dark"}), facts(fields=MARKED))


def test_estimates_count_each_baseline_of_methods_that_read_one() -> None:
    def estimated(method: Any, baseline: Any) -> int:
        return passes(checked(request(methods=[method], baseline=baseline, ablation=None, fidelity=None), marked()), marked())

    one, several = {"kind": "mean"}, DRAWN | {"count": 10}
    for method in ("gradient", "gradient_x_delta", "activation"):
        assert estimated(method, several) == estimated(method, one)
    for method in ("conductance", "deeplift", {"name": "gradient_x_delta", "at_point": "baseline"}):
        rows = 100
        assert estimated(method, several) - rows == 10 * (estimated(method, one) - rows)
    sizes = [array_bytes(checked(request(baseline=each), marked()), marked()).get("baselines") for each in (one, several)]
    assert sizes == [None, 10 * 8 + 128 * 4]
