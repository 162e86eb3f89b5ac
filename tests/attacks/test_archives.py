"""Each forged archive is refused with its code: no code runs, and no file is left.

A check with plain torch proves that the attacks which should run code do run it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.attacks.programs import PROGRAMS
from tests.attacks.regions import REGIONS
from tests.attacks.running import EXPORTED, PICKLED
from tests.attacks.tables import TABLES
from tests.attacks.zips import ZIPS
from tests.engine.archive.forging import Entries, entries_of
from unitrank_engine.archive import ArchiveError, clean, load

ARCHIVES = EXPORTED | PICKLED | ZIPS | PROGRAMS | REGIONS
LARGE = {"region_of_many_nodes": pytest.mark.check}
"""Archives whose forging takes seconds."""

RAW_EXPORT = """
import sys
import torch
x = torch.ones(2, 1, 4, 4)
calls = [lambda module: module(x), lambda module: module.forward(x), lambda module: module.forward(x, "mode")]
for path in sys.argv[1:]:
    for call in calls:
        try:
            call(torch.export.load(path).module())
        except BaseException as error:
            print(path, type(error), str(error)[-300:])
"""
RAW_PICKLE = """
import pickle, sys, torch
for path in sys.argv[1:]:
    for read in (lambda: torch.load(path, weights_only=False), lambda: pickle.load(open(path, "rb"))):
        try:
            read()
        except BaseException as error:
            print(path, type(error), str(error)[-300:])
"""


def open_files() -> set[tuple[str, str]]:
    """The numbers and targets of the file descriptors of this process."""
    descriptors = set()
    for number in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{number}"
        if os.path.islink(path):
            descriptors.add((number, os.readlink(path)))
    return descriptors


def cleaned(source: Path, target: Path) -> torch.export.ExportedProgram:
    clean(source, target)
    return load(target)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", [pytest.param(name, marks=LARGE.get(name, ())) for name in ARCHIVES])
def test_an_archive_when_it_is_forged_then_its_code_says_how_and_nothing_is_left(
    name: str, entries: Entries, tmp_path: Path
) -> None:
    attack = ARCHIVES[name]
    source, target, marker = tmp_path / "model.pt2", tmp_path / "clean", tmp_path / "marker"
    source.write_bytes(attack.make(entries, str(marker)))
    before = open_files()
    if attack.code is None:
        cleaned(source, target).module()(torch.ones(2, 1, 4, 4))
        target.unlink()
    else:
        with pytest.raises(ArchiveError) as refusal:
            cleaned(source, target)
        assert refusal.value.code == attack.code, refusal.value.detail
        assert refusal.value.detail.isprintable()
        # torch finds some errors only after the clean archive is written; the caller deletes that
        # draft.
        target.unlink(missing_ok=True)

    assert not marker.exists()
    assert sorted(tmp_path.iterdir()) == [source]
    assert open_files() == before


def run(script: str, folder: Path, files: list[Path]) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *map(str, files)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    return done.stdout


@pytest.mark.check
@pytest.mark.parametrize(("attacks", "script"), [(EXPORTED, RAW_EXPORT), (PICKLED, RAW_PICKLE)], ids=["exported", "pickled"])
def test_an_attack_that_runs_code_when_it_is_loaded_raw_then_writes_its_marker(
    attacks: dict[str, object], script: str, saved: Path, tmp_path: Path
) -> None:
    """The attacks are real: plain torch, on the same files, creates every marker."""
    files = [tmp_path / f"{name}.pt2" for name in attacks]
    for file in files:
        file.write_bytes(ARCHIVES[file.stem].make(entries_of(saved), str(tmp_path / file.stem)))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'tree_spec')!r}, 'w').close()")
    output = run(script, tmp_path, files)

    assert {name for name in attacks if not (tmp_path / name).exists()} == set(), output


def test_the_corpus_when_it_is_counted_then_has_every_kind() -> None:
    assert len(EXPORTED) + len(PICKLED) >= 15
    assert len(ARCHIVES) == len(EXPORTED) + len(PICKLED) + len(ZIPS) + len(PROGRAMS) + len(REGIONS)
    assert len(ARCHIVES) + len(TABLES) >= 150
