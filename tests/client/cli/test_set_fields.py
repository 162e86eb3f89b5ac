"""`--set FIELD=VALUE`: fields of a request, and fields inside them."""

import pytest

from unitrank.cli.set_fields import with_fields
from unitrank.errors import NotPossible


def test_set_when_the_field_has_dots_then_other_fields_of_the_object_stay() -> None:
    request = with_fields({"target": {"score": "margin"}}, ["target.class=each", "ablation.verify.top=3", "seed=7"])

    assert request == {"target": {"score": "margin", "class": "each"}, "ablation": {"verify": {"top": 3}}, "seed": 7}


@pytest.mark.parametrize("text", ["seed", "=7", "target.=1", ".class=1"])
def test_set_when_the_text_is_no_assignment_then_the_error_says_how_to_write_it(text: str) -> None:
    with pytest.raises(NotPossible, match="is invalid: write FIELD=VALUE, such as seed=7"):
        with_fields({}, [text])


def test_set_when_the_place_is_not_an_object_then_is_refused() -> None:
    with pytest.raises(NotPossible, match="the value before the last dot is None, which has no fields"):
        with_fields({"ablation": None}, ["ablation.random=9"])
