"""The checks of given scores against manifest and header."""

from dataclasses import replace
from typing import Any

import pytest

from tests.api_schemas.test_checks import FIELDS, facts, flaws, request
from unitrank_schemas.checks import RequestRejected, checked, passes

Json = dict[str, Any]

GIVEN: Json = {
    "units": ("float32", [None, 128]),
    "place": ("float64", [None, 8, 4, 4]),
    "channels": ("float32", [None, 8]),
    "words": ("str", [None, 128]),
    "made": ("bool", [None]),
    "all": ("bool", [None]),
}
FLAT = [0.5] * 128
BY_LABEL: Json = {"clusters": {"by": "label"}}


def given(**options: Any) -> Json:
    return {"methods": [{"name": "given", **options}]}


FLAWED: list[tuple[Json, str, str]] = [
    (given(), "given_source", "/methods/0"),
    (given(field="units", importance=FLAT), "given_source", "/methods/0"),
    (given(importance=FLAT, statistic="rms"), "method_not_applicable", "/methods/0/statistic"),
    (given(importance=FLAT[1:]), "wrong_shape", "/methods/0/importance"),
    (given(importance=FLAT) | {"units": "channel"}, "wrong_shape", "/methods/0/importance"),
    (given(importance={"all": FLAT[1:]}), "wrong_shape", "/methods/0/importance/all"),
    (given(importance={"0": FLAT, "1": FLAT}) | BY_LABEL, "cluster_missing", "/methods/0/importance"),
    (given(importance=dict.fromkeys(("0", "1", "9", "a/b"), FLAT)) | BY_LABEL, "cluster_unknown", "/methods/0/importance/a~1b"),
    (given(importance={"a": FLAT}), "cluster_missing", "/methods/0/importance"),
    (given(importance=[0.1 + 1e-16] * 70_000), "importance_too_large", "/methods/0/importance"),
    (given(field="unit"), "field_not_found", "/methods/0/field"),
    (given(field="channels"), "wrong_shape", "/methods/0/field"),
    (given(field="place") | {"layer": "add"}, "wrong_shape", "/methods/0/field"),
    (given(field="words"), "wrong_dtype", "/methods/0/field"),
    (given(field="units", made_on="mad"), "field_not_found", "/methods/0/made_on"),
    (given(field="units", made_on="pairs"), "wrong_shape", "/methods/0/made_on"),
    (given(field="units", made_on="y"), "wrong_dtype", "/methods/0/made_on"),
    (given(field="units", made_on="all"), "made_on_leaves_none", "/methods/0/made_on"),
]


@pytest.mark.parametrize(("change", "code", "pointer"), FLAWED)
def test_request_when_given_scores_do_not_fit_then_is_rejected(change: Json, code: str, pointer: str) -> None:
    assert (code, pointer) in flaws(request(**change), facts(fields=FIELDS | GIVEN, values={"all": [True], "made": [False, True]}))


@pytest.mark.parametrize(
    "change",
    [
        given(importance=FLAT),
        given(importance=[1] * 8) | {"units": "channel"},
        given(importance={"all": FLAT}, made_on="none"),
        given(importance=dict.fromkeys("019", FLAT)) | BY_LABEL,
        given(importance={"a": FLAT, "b": FLAT}) | {"clusters": {"by": "members", "members": {"a": [0], "b": [1]}}},
        # The names of these clusters are known in the worker only.
        given(importance={"7": FLAT}) | {"clusters": {"by": "prediction"}},
        given(field="units", statistic="rms", made_on="made"),
        given(field="place"),
        given(field="place") | {"units": "channel"},
        given(field="channels") | {"units": "channel"},
        given(field="units", made_on="all") | {"ablation": None},
    ],
)
def test_request_when_given_scores_fit_then_is_accepted(change: Json) -> None:
    values = {"all": [True], "made": [False, True]}

    assert checked(request(**change), facts(fields=FIELDS | GIVEN, values=values)).methods[0].id is not None


def test_shape_when_it_is_wrong_then_the_message_says_what_would_be_right() -> None:
    with pytest.raises(RequestRejected) as caught:
        checked(request(**given(field="channels")), facts(fields=FIELDS | GIVEN))

    assert str(caught.value) == "field 'channels' has shape [N, 8]; the output of layer 'conv' takes [N, 128] or [N, 8, 4, 4]"


MADE: Json = {
    "made": [True, True, False, False],
    "other": [False, False, True, False],
    "patient": ["a", "b", "b", "a"],
}


@pytest.mark.parametrize(
    ("change", "leaves_none"),
    [
        ({}, False),
        ({"clusters": {"by": "members", "members": {"a": [0, 1], "b": [2]}}}, True),
        ({"clusters": {"by": "members", "members": {"a": [0, 1], "b": [2, 3]}}}, False),
        ({"ablation": {"split": "patient"}}, True),
        ({"ablation": None, "clusters": {"by": "members", "members": {"a": [0]}}}, False),
    ],
)
def test_made_on_when_the_table_is_at_hand_then_rows_must_be_left(change: Json, leaves_none: bool) -> None:
    marks = {"made": ("bool", [None]), "other": ("bool", [None]), "patient": ("str", [None])}
    at_hand = replace(facts(fields=FIELDS | marks, examples=4), values=MADE.get)
    methods = [{"name": "given", "importance": FLAT, "made_on": name} for name in ("made", "other")]

    job = request(methods=methods, **change)

    if leaves_none:
        assert flaws(job, at_hand) == [("made_on_leaves_none", "/methods/0/made_on")]
    else:
        assert checked(job, at_hand)
    # Without the table, the worker decides.
    assert checked(job, facts(fields=FIELDS | marks, examples=4))


def test_cost_when_a_ranking_is_given_then_only_its_tests_count() -> None:
    options: Json = {"ablation": None, "fidelity": None}

    alone, beside = (
        passes(checked(request(methods=methods, **options), facts(fields=FIELDS | GIVEN)), facts(fields=FIELDS | GIVEN))
        for methods in (["activation"], ["activation", {"name": "given", "importance": FLAT}])
    )

    assert alone == beside


def test_cost_when_no_ranking_is_made_from_the_examples_then_all_of_them_are_tested() -> None:
    entry: Json = {"name": "given", "importance": FLAT}
    options: Json = {"fidelity": None, "ablation": {"check_fill": None, "orders": ["most"], "examples": 10_000}}
    shapes = facts(fields=FIELDS | GIVEN)

    def tests(*methods: Any) -> int:
        job = checked(request(methods=list(methods), **options), shapes)
        return passes(job, shapes) - passes(job.model_copy(update={"ablation": None}), shapes)

    assert tests(entry) == pytest.approx(2 * tests("activation"), abs=2)
