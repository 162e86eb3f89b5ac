"""Each count of a program is bounded, and the error says what is too many."""

from pathlib import Path

import pytest

from tests.engine.archive.forging import Entries, edited, write
from unitrank_engine.archive import ArchiveError, clean
from unitrank_engine.archive.description import counts

PARTS = {
    "MAX_NODES": "nodes",
    "MAX_INPUTS": "inputs",
    "MAX_OUTPUTS": "outputs",
    "MAX_SYMBOLS": "symbols",
    "MAX_EXPRESSIONS": "different symbolic sizes",
    "MAX_CALLS": "nested module calls",
    "MAX_LAYERS": "module calls",
    "MAX_SEEN": "pairs of module call and output",
}


@pytest.mark.parametrize(("limit", "part"), PARTS.items())
def test_count_when_it_is_above_its_limit_then_the_archive_is_rejected(
    limit: str, part: str, entries: Entries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, limit, 0)
    with pytest.raises(ArchiveError, match=rf"the program has \d+ {part}; at most 0 are accepted: ") as error:
        clean(write(entries, tmp_path / "model"), tmp_path / "clean")

    assert error.value.code == "archive_too_large"


def test_argument_when_it_lists_too_many_numbers_then_the_archive_is_rejected(entries: Entries, tmp_path: Path) -> None:
    with edited(entries) as program:
        node = program["graph_module"]["graph"]["nodes"][0]
        node["inputs"].append({"name": "padding", "arg": {"as_ints": [1] * 1025}, "kind": 1})

    with pytest.raises(ArchiveError, match="1025 numbers in one argument; at most 1024"):
        clean(write(entries, tmp_path / "model"), tmp_path / "clean")


def test_stack_when_it_nests_too_many_calls_then_the_archive_is_rejected(entries: Entries, tmp_path: Path) -> None:
    with edited(entries) as program:
        stack = ";".join(f"k{depth},m{depth},Block" for depth in range(65))
        program["graph_module"]["graph"]["nodes"][0]["metadata"]["nn_module_stack"] = stack

    with pytest.raises(ArchiveError, match="65 nested module calls; at most 64"):
        clean(write(entries, tmp_path / "model"), tmp_path / "clean")
