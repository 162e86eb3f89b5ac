"""The checks of units: each wrong kind has its code, its place, and what would be right."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.api_schemas.test_checks import CONV, facts, request
from unitrank_schemas.checks import RequestRejected, checked, passes
from unitrank_schemas.checks.size import array_bytes
from unitrank_schemas.facts.facts import Facts
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.validation import invalid_places

Json = dict[str, Any]

UNKNOWN: Json = {"layers": [CONV | {"channel_axis": None, "channels": None}]}
TOKENS: Json = {"layers": [CONV | {"shape": [6, 12], "units": 72, "channel_axis": 1}]}


def groups(axis: int, count: int) -> Json:
    return {"units": {"axis": axis, "groups": count}}


def labels(axis: int, *numbers: int) -> Json:
    return {"units": {"axis": axis, "labels": list(numbers)}}


@pytest.mark.parametrize(
    ("changes", "facts_changes", "code", "pointer", "advice"),
    [
        (groups(0, 3), {}, "groups_do_not_divide", "/units/groups", "use a divisor, such as 1, 2, 4, 8"),
        (groups(1, 9), {}, "groups_do_not_divide", "/units/groups", "does not divide the size 4 of axis 1"),
        (groups(3, 2), {}, "axis_not_found", "/units/axis", "use a number from -3 to 2"),
        (groups(-4, 2), {}, "axis_not_found", "/units/axis", "has shape [8, 4, 4]"),
        (
            labels(0, 0, 1),
            {},
            "wrong_length",
            "/units/labels",
            "has 2 labels, but axis 0 of the output of layer 'conv' has the size 8",
        ),
        (labels(1, 0, 2, 2, 0), {}, "labels_have_gaps", "/units/labels", "without label 1; number the units from 0 to 1"),
        (labels(1, 9, 2, 2, 0), {}, "labels_have_gaps", "/units/labels", "without labels 1, 3, 4, 5, 6 and others"),
        (
            {"units": "position"},
            UNKNOWN,
            "no_channels",
            "/units",
            'name the axis of the positions, such as {"axis": 0, "groups": 8}',
        ),
        ({"units": "position", "layer": "add"}, {}, "no_positions", "/units", "no position is left"),
    ],
)
def test_checked_of_units_that_the_place_does_not_have_says_what_would_be_right(
    changes: Json, facts_changes: Json, code: str, pointer: str, advice: str
) -> None:
    with pytest.raises(RequestRejected) as caught:
        checked(request(**changes), facts(**facts_changes))

    (flaw,) = caught.value.flaws
    assert (flaw.code, flaw.pointer) == (code, pointer)
    assert advice in flaw.detail


def test_labels_with_gaps_are_a_flaw_while_the_model_is_not_ready() -> None:
    unknown = Facts(None, None, 0, lambda field: None, 10**9)
    with pytest.raises(RequestRejected) as caught:
        checked(request(**labels(0, 0, 2)), unknown)

    assert [flaw.code for flaw in caught.value.flaws] == ["labels_have_gaps"]


@pytest.mark.parametrize(
    ("changes", "facts_changes", "count"),
    [
        ({"units": "position"}, {}, 16),
        ({"units": "position"}, TOKENS, 6),
        (groups(-1, 4), TOKENS, 4),
        (groups(2, 1), {}, 1),
        (labels(-1, 0, 1, 1, 2), {}, 3),
        (labels(0, 1, 0, 1, 0, 1, 0, 2, 2), UNKNOWN, 3),
    ],
)
def test_size_and_cost_of_a_request_follow_from_the_number_of_its_units(changes: Json, facts_changes: Json, count: int) -> None:
    of_units = facts(**facts_changes)
    job = checked(request(ablation=None, fidelity=None, **changes), of_units)
    exact = checked(request(ablation=None, fidelity=None, methods=["exact_ablation"], **changes), of_units)

    assert array_bytes(job, of_units)["importance"] == 2 * 4 * count
    # 100 examples: one pass each, and one tail (three quarters of a pass) for each unit.
    assert passes(exact, of_units) == pytest.approx(100 * (1 + 0.75 * count), abs=100)


@pytest.mark.parametrize(
    ("units", "pointer", "detail"),
    [
        (
            "head",
            "/units",
            "field 'units' should be 'neuron', 'channel', 'position', or an object with an axis and either groups or",
        ),
        ({"axis": 0}, "/units", "either groups or labels"),
        ({"axis": 0, "groups": 2, "labels": [0]}, "/units", "either groups or labels"),
        ({"groups": 2}, "/units/axis", "the field 'axis' is missing"),
        ({"axis": 0, "groups": 0}, "/units/groups", "greater than or equal to 1, got 0"),
        ({"axis": 0, "groups": 2.5}, "/units/groups", "should be a valid integer, got 2.5"),
        ({"axis": 0, "labels": []}, "/units/labels", "at least 1 item"),
        ({"axis": 0, "labels": [0, -1]}, "/units/labels/1", "greater than or equal to 0, got -1"),
        ({"axis": 0, "labels": [0, 10**30]}, "/units/labels/1", "should be"),
        ({"axis": 0, "groups": 2, "group": 2}, "/units/group", "unknown field 'group'; nearest: 'groups'"),
    ],
)
def test_invalid_places_of_units_with_another_shape_name_the_accepted_ones(units: Any, pointer: str, detail: str) -> None:
    body = {"model": "m", "layer": "conv", "dataset": "d", "methods": ["gradient"], "units": units}
    with pytest.raises(ValidationError) as caught:
        JobRequest.model_validate(body)
    errors = [{**error, "loc": ("body", *error["loc"])} for error in caught.value.errors()]

    (place,) = invalid_places(errors, body, JobRequest)
    assert place.pointer == pointer
    assert detail in place.detail
