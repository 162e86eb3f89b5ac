"""Files that are opened by a path or by a descriptor."""

import os
from pathlib import Path

import pytest

from unitrank_tables.files import open_file


def test_file_when_given_as_a_descriptor_then_is_read_from_its_start_and_the_descriptor_stays_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    with (tmp_path / "file").open("rb") as sent:
        path = Path(f"/dev/fd/{sent.fileno()}")
        sent.read(2)
        for _ in range(2):
            with open_file(path) as file:
                assert file.read() == b"abc"

        assert os.fstat(sent.fileno()).st_size == 3


def test_file_when_its_path_does_not_exist_then_the_error_is_that_of_open(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "nothing")
