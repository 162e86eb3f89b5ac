"""An inspection repeats that gradients were compared, for the archive that was compared alone."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.engine.archive.forging import entries_of, write
from unitrank_engine.archive.mark import MARK
from unitrank_engine.models.exporting import export
from unitrank_engine.models.inspection import inspect

WEIGHT = "data/weights/weight_0"


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    export(nn.Linear(3, 2), torch.zeros(1, 3), tmp_path / "net.pt2")
    return tmp_path / "net.pt2"


def test_inspect_of_an_export_says_checked_and_its_clean_archive_has_no_mark(exported: Path, tmp_path: Path) -> None:
    manifest = inspect(exported, tmp_path / "clean")

    assert manifest["gradients"] == "checked"
    assert MARK not in entries_of(tmp_path / "clean")


def test_inspect_when_weights_or_mark_are_changed_then_says_unknown(exported: Path, tmp_path: Path) -> None:
    entries = entries_of(exported)
    changes = {
        "weight": entries | {WEIGHT: bytes(len(entries[WEIGHT]))},
        "mark": entries | {MARK: b"0" * 64},
        "long": entries | {MARK: b"0" * (1 << 20)},
        "none": {name: content for name, content in entries.items() if name != MARK},
    }
    statements = {
        name: inspect(write(content, tmp_path / f"{name}.pt2"), tmp_path / "clean")["gradients"]
        for name, content in changes.items()
    }

    assert statements == dict.fromkeys(changes, "unknown")
