"""The bytes of weights must agree with their description."""

from pathlib import Path
from typing import Any

import pytest

from tests.engine.archive.forging import Entries, edited, write
from unitrank_engine.archive import ArchiveError, clean

WEIGHTS = "data/weights/model_weights_config.json"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sizes": [{"as_int": 10**12}], "strides": [{"as_int": 1}]}, "weights_refused"),
        ({"sizes": [{"as_int": 10**12}], "strides": [{"as_int": 0}]}, "weights_refused"),
        ({"sizes": [{"as_int": 2}], "strides": [{"as_int": 1000}]}, "weights_refused"),
        ({"storage_offset": {"as_int": 1}}, "weights_refused"),
        ({"dtype": 8}, "weights_refused"),
        ({"strides": []}, "weights_refused"),
        ({"dtype": 10}, "weights_refused"),
        ({"dtype": 9}, "program_refused"),
        ({"layout": 1}, "program_refused"),
        ({"sizes": [{"as_int": -1}], "strides": [{"as_int": 1}]}, "program_refused"),
        ({"sizes": [{"as_expr": {"expr_str": "Integer(1)"}}]}, "program_refused"),
        ({"device": {"type": "meta", "index": None}}, "program_refused"),
    ],
)
def test_clean_of_a_weight_that_lies_about_its_shape_refuses_it(
    change: dict[str, Any], code: str, entries: Entries, tmp_path: Path
) -> None:
    """A shape can neither reach beyond the bytes of the entry nor allocate more than them."""
    with edited(entries, WEIGHTS) as weights:
        weights["config"]["norm.bias"]["tensor_meta"].update(change)

    with pytest.raises(ArchiveError) as refusal:
        clean(write(entries, tmp_path / "model.pt2"), tmp_path / "clean")
    assert refusal.value.code == code


def test_clean_of_an_empty_record_for_a_full_shape_refuses_it(entries: Entries, tmp_path: Path) -> None:
    """torch would allocate zeros of any claimed size for an empty entry."""
    with edited(entries, WEIGHTS) as weights:
        entry = weights["config"]["norm.bias"]["path_name"]
    entries[f"data/weights/{entry}"] = b""

    with pytest.raises(ArchiveError) as refusal:
        clean(write(entries, tmp_path / "model.pt2"), tmp_path / "clean")
    assert refusal.value.code == "weights_refused"


@pytest.mark.parametrize("path", ["../models/model.json", "model_weights_config.json", "weight_999", "weight_", "weight_²"])
def test_clean_of_a_weight_that_lies_elsewhere_refuses_it(path: str, entries: Entries, tmp_path: Path) -> None:
    """The bytes of a weight are in an entry for weights."""
    with edited(entries, WEIGHTS) as weights:
        weights["config"]["norm.bias"]["path_name"] = path

    with pytest.raises(ArchiveError):
        clean(write(entries, tmp_path / "model.pt2"), tmp_path / "clean")


def test_clean_of_weights_of_two_types_in_one_record_refuses_them(entries: Entries, tmp_path: Path) -> None:
    """torch reads a shared entry once, as one type."""
    with edited(entries, WEIGHTS) as weights:
        weights["config"]["norm.bias"]["path_name"] = weights["config"]["norm.weight"]["path_name"]
        weights["config"]["norm.bias"]["tensor_meta"]["dtype"] = 4

    with pytest.raises(ArchiveError, match="another type"):
        clean(write(entries, tmp_path / "model.pt2"), tmp_path / "clean")
