"""Fields of a request from `--set FIELD=VALUE`."""

from collections.abc import Mapping, Sequence
from typing import Any

from unitrank.cli.output import parse_value
from unitrank.errors import NotPossible


def with_fields(request: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """The request with the fields of the texts `FIELD=VALUE`. Raises NotPossible.

    A dot names a field inside an object, whose other fields stay.

    >>> with_fields({"target": {"score": "margin"}}, ["target.class=3", "seed=7"])
    {'target': {'score': 'margin', 'class': 3}, 'seed': 7}
    """
    for assignment in assignments:
        field, equals, value = assignment.partition("=")
        steps = field.split(".")
        if not equals or not all(steps):
            raise NotPossible(f"--set {assignment!r} is invalid: write FIELD=VALUE, such as seed=7", code="invalid_request")
        request = _with_field(request, steps, parse_value(value), assignment)
    return dict(request)


def _with_field(place: Any, steps: Sequence[str], value: Any, assignment: str) -> dict[str, Any]:  # Any: JSON values
    if not isinstance(place, Mapping):
        detail = f"--set {assignment!r} is invalid: the value before the last dot is {place!r}, which has no fields"
        raise NotPossible(detail, code="invalid_request")
    first, *rest = steps
    return {**place, first: _with_field(place.get(first, {}), rest, value, assignment) if rest else value}
