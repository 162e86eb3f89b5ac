"""Whatever the bytes are, the answer is a program or an ArchiveError."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worker.archive.forging import edited, entries_of, table_of_contents, write
from worker.archive import ArchiveError, clean, load

JUNK = st.sampled_from(
    [None, True, -1, 0, 1 << 70, 1.5, "", "x'y", "../..", [], {}, [[]], {"as_int": 1}, {"as_expr": {"expr_str": "1"}}]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the mutants lie."""
    return tmp_path_factory.mktemp("mutants")


@given(data=st.data())
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_clean_of_mutated_bytes_raises_nothing_but_archive_errors(saved: Path, folder: Path, data: st.DataObject) -> None:
    """A few bytes anywhere, most often where the zip describes itself."""
    content = bytearray(saved.read_bytes())
    start = table_of_contents(content)
    places = st.one_of(st.integers(0, len(content) - 1), st.integers(start, len(content) - 1))
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)):
        content[place] = value
    (folder / "mutant").write_bytes(content)

    with suppress(ArchiveError):
        clean(folder / "mutant", folder / "clean")


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of every value in a JSON document."""
    keys = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    return [path] * bool(path) + [place for key in keys for place in places(document[key], (*path, key))]


@given(data=st.data())
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
def test_load_of_a_mutated_description_raises_nothing_but_archive_errors(saved: Path, folder: Path, data: st.DataObject) -> None:
    """One value replaced or taken away, in a zip that is whole: what passes the vetting, torch builds or refuses."""
    entries = entries_of(saved)
    name = data.draw(st.sampled_from(["models/model.json", "data/weights/model_weights_config.json"]))
    with edited(entries, name) as document:
        *above, key = data.draw(st.sampled_from(places(document)))
        holder = document
        for step in above:
            holder = holder[step]
        if data.draw(st.booleans()):
            holder[key] = data.draw(JUNK)
        else:
            del holder[key]
    write(entries, folder / "mutant")

    with suppress(ArchiveError):
        clean(folder / "mutant", folder / "clean")
        load(folder / "clean")
