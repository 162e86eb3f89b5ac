"""Each forged table is refused with its code, from its headers alone; unusual tables are read."""

import json
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.attacks.tables import PICKLES, TABLES, bomb, honest_bomb
from tests.attacks.test_archives import open_files
from unitrank_tables import open_table
from unitrank_tables.errors import BadTable

PEAK = 64 << 20
RAW_LOAD = """
import pickle, sys, warnings, zipfile
import numpy as np
import torch
warnings.simplefilter("ignore")
def every(path):
    arrays = np.load(path, allow_pickle=True)
    return [arrays[name] for name in arrays.files]
def member(path):
    with zipfile.ZipFile(path) as file:
        return pickle.loads(file.read(file.namelist()[0]))
for path in sys.argv[1:]:
    for read in (every, member, lambda path: torch.load(path, weights_only=False)):
        try:
            read(path)
        except BaseException as error:
            print(path, type(error), str(error)[-300:])
"""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", list(TABLES))
def test_a_table_when_it_is_forged_then_its_code_says_how_and_nothing_is_left(name: str, tmp_path: Path) -> None:
    path, marker = tmp_path / "table", tmp_path / "marker"
    path.write_bytes(TABLES[name].make(str(marker)))
    before = open_files()
    tracemalloc.start()
    try:
        with pytest.raises(BadTable) as refusal:
            open_table(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert refusal.value.code == TABLES[name].code, refusal.value.detail
    assert peak < PEAK
    assert not marker.exists()
    assert sorted(tmp_path.iterdir()) == [path]
    del refusal
    assert open_files() == before


@pytest.mark.check
def test_a_table_that_runs_code_when_it_is_loaded_raw_then_writes_its_marker(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.npz" for name in PICKLES]
    for file in files:
        file.write_bytes(PICKLES[file.stem].make(str(tmp_path / file.stem)))
    done = subprocess.run(
        [sys.executable, "-c", RAW_LOAD, *map(str, files)], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=100
    )

    assert {name for name in PICKLES if not (tmp_path / name).exists()} == set(), done.stdout


@pytest.mark.parametrize("make", [bomb, honest_bomb])
def test_a_bomb_when_its_headers_are_believed_then_is_a_thousand_times_its_size(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(make(""))
    with zipfile.ZipFile(path) as file:
        claimed = max(entry.file_size for entry in file.infolist())

    assert claimed > 900 * path.stat().st_size


RANDOM = np.random.default_rng(0)
ODD: dict[str, np.ndarray[Any, Any]] = {
    "big_endian": RANDOM.normal(size=(5, 3)).astype(">f4"),
    "big_endian_whole": np.arange(-5, 5, dtype=">i8"),
    "half": RANDOM.normal(size=(5, 3)).astype(np.float16),
    "big_endian_half": RANDOM.normal(size=(5, 3)).astype(">f2"),
    "double": RANDOM.normal(size=5),
    "fortran": np.asfortranarray(RANDOM.normal(size=(5, 3, 2)).astype(np.float32)),
    "big_endian_fortran": np.asfortranarray(RANDOM.normal(size=(5, 3)).astype(">f8")),
    "truth": np.array([[True, False], [False, True]]),
    "unsigned": np.array([0, 2**64 - 1], dtype=np.uint64),
    "text": np.array(["a", "straße", "😀"]),
    "big_endian_text": np.array(["a", "straße"], dtype=">U6"),
    "text_of_bytes": np.array([b"a", b"bcd"]),
    "fortran_text": np.asfortranarray(np.array([["a", "bc"], ["d", "e"], ["f", ""]])),
    "not_a_number": np.array([np.nan, np.inf, -0.0]),
    "of_no_width": np.zeros((3, 0), np.float32),
}


@pytest.mark.parametrize("packing", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("name", list(ODD))
def test_an_odd_array_when_it_is_read_then_equals_what_numpy_reads(name: str, packing: Any, tmp_path: Path) -> None:
    packing(tmp_path / "table.npz", x=ODD[name])
    with np.load(tmp_path / "table.npz") as loaded, open_table(tmp_path / "table.npz") as table:
        expected, rows = loaded["x"], table.read("x", slice(None))
    if expected.dtype.kind == "S":
        expected = expected.astype("U")

    assert rows.dtype.isnative
    assert rows.flags.c_contiguous
    np.testing.assert_array_equal(rows, expected, strict=not name.startswith("big_endian"))


def test_bfloat16_when_it_is_read_then_is_the_float32_that_it_begins(tmp_path: Path) -> None:
    whole = RANDOM.normal(size=(4, 3)).astype(np.float32)
    halves = (whole.view(np.uint32) >> 16).astype("<u2")
    header = json.dumps({"x": {"dtype": "BF16", "shape": [4, 3], "data_offsets": [0, 24]}}).encode()
    (tmp_path / "table").write_bytes(struct.pack("<Q", len(header)) + header + halves.tobytes())
    with open_table(tmp_path / "table") as table:
        rows = table.read("x", slice(None))

    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, (halves.astype(np.uint32) << 16).view(np.float32))
