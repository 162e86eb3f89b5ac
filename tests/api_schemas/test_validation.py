"""Messages of wrong bodies: the value that was given, and the accepted values in words."""

from typing import Any

import pytest
from pydantic import ValidationError

from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.validation import invalid_places


@pytest.mark.parametrize(
    ("field", "value", "detail"),
    [
        ("model", "a b", "a name should have 1 to 128 letters, digits,"),
        ("methods", [{"name": "gradient", "id": "a@1"}], "an id should have 1 to 64 letters, digits,"),
        ("methods", [{"name": "gradient", "id": "a b"}], "an id should have 1 to 64 letters, digits,"),
        ("metadata", {"a": "x" * 70_000}, "metadata has 70009 bytes as JSON; at most 65536 are allowed"),
        ("clusters", {"by": "everything"}, "by 'everything' is invalid; use one of 'all', 'label',"),
        ("clusters", [], "field 'clusters' should be an object, got []"),
        ("clusters", {}, "field 'clusters' should be an object with the field 'by', got {}"),
        ("seed", "x", "field 'seed' should be a valid integer, got \"x\""),
        ("seed", 1.5, "field 'seed' should be a valid integer, got 1.5"),
        ("methods", [], "field 'methods' should have at least 1 item, got []"),
        ("ablation", {"verify": 5}, "field 'verify' should be an object with the fields 'top', 'sample', got 5"),
        ("methods", [7], "entry 0 of 'methods' should be an object, got 7"),
        ("ablation", {"fractions": [0.5, 2]}, "entry 1 of 'fractions' should be less than or equal to 1, got 2"),
    ],
)
def test_invalid_places_of_a_wrong_value_name_what_is_accepted(field: str, value: Any, detail: str) -> None:
    body = {"model": "m", "layer": "conv", "dataset": "d", "methods": ["gradient"], field: value}

    with pytest.raises(ValidationError) as caught:
        JobRequest.model_validate(body)

    errors = [{**error, "loc": ("body", *error["loc"])} for error in caught.value.errors()]
    (place,) = invalid_places(errors, body, JobRequest)
    assert place.detail.startswith(detail)
