"""The arrays of one layer among those of several layers."""

import pytest

from unitrank_schemas.layer_arrays import names_of_layer

NAMES = ["a/importance/x", "a/b/importance/x", "a.b/importance/x", "joint/importance/x", "rows/0", "baseline_rows", "tests/rows"]
WHOLE = {"rows/0": "rows/0", "baseline_rows": "baseline_rows", "tests/rows": "tests/rows"}


@pytest.mark.parametrize("layer", ["a", "a/b", "a.b", "joint"])
def test_arrays_of_a_layer_when_its_name_begins_other_names_then_only_its_own(layer: str) -> None:
    names = names_of_layer(layer, ["a", "a/b", "a.b", "joint"], NAMES)

    assert names == {"importance/x": f"{layer}/importance/x", **WHOLE}


def test_arrays_of_a_layer_when_it_has_the_name_of_an_array_of_the_job_then_it_keeps_both() -> None:
    names = names_of_layer("rows", ["rows"], ["rows/importance/x", "rows/0"])

    assert names["importance/x"] == "rows/importance/x"
    assert names["rows/0"] == "rows/0"
