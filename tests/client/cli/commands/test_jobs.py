"""The request of `unitrank submit`, from flags and files."""

from pathlib import Path
from typing import Any

import pytest

from unitrank.cli.commands.jobs import _request
from unitrank.cli.output import read_request
from unitrank.errors import NotPossible

NONE: dict[str, str | None] = {"model": None, "layer": None, "dataset": None}


@pytest.mark.parametrize(
    ("clusters", "expected"),
    [
        ("label", {"by": "label"}),
        ("field:group", {"by": "field", "field": "group"}),
        ('{"by": "members", "members": {"a": [0]}}', {"by": "members", "members": {"a": [0]}}),
    ],
)
def test_request_when_flags_stand_beside_a_file_then_the_flags_count(tmp_path: Path, clusters: str, expected: Any) -> None:
    (tmp_path / "job.yaml").write_text("model: a\nlayer: '1'\nmethods: [activation]\nseed: 1\n")
    methods = ["gradient", '{"name": "conductance", "steps": 9}']
    others = ["seed=7", 'target={"class": 1}', "units=channel"]
    request = _request(tmp_path / "job.yaml", NONE | {"model": "b"}, methods, clusters, others)

    assert request == {
        "model": "b",
        "layer": "1",
        "methods": ["gradient", {"name": "conductance", "steps": 9}],
        "clusters": expected,
        "seed": 7,
        "target": {"class": 1},
        "units": "channel",
    }


def test_request_when_it_is_missing_or_malformed_then_the_error_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "wrong.yaml").write_text("a: [\n")
    for words, wrong in {
        "the request is empty": lambda: _request(None, NONE, None, None, []),
        "--set 'seed' is invalid": lambda: _request(None, NONE, None, None, ["seed"]),
        "holds a list": lambda: read_request(tmp_path / "list.yaml"),
        "neither valid JSON nor valid YAML": lambda: read_request(tmp_path / "wrong.yaml"),
        "cannot be read": lambda: read_request(tmp_path / "none.json"),
    }.items():
        with pytest.raises(NotPossible, match=words):
            wrong()
