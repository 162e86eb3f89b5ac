"""An out-of-memory error stays one in each stage of loading a model."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import ExportedProgram

from unitrank_engine.archive import load
from unitrank_engine.errors import is_out_of_memory
from unitrank_engine.models import architectures
from unitrank_engine.models.inspection import inspect
from unitrank_engine.program import Program
from unitrank_engine.program.proof.proving_run import ProvingRun

TOO_MUCH = 1 << 50
"""Numbers of a tensor that needs more bytes than any process can address."""


def exhausting(*_: object, **__: object) -> None:
    torch.empty(TOO_MUCH)


def built(_: Path) -> None:
    architectures.build("net", {}, Path("weights"))


def inspected(folder: Path) -> None:
    inspect(folder / "model.pt2", folder / "clean")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    exported = torch.export.export(nn.Linear(3, 2).eval(), (torch.ones(2, 3),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(exported, tmp_path / "model.pt2")
    return tmp_path


@pytest.mark.parametrize(
    ("owner", "name", "stage"),
    [
        (torch.export, "load", lambda folder: load(folder / "model.pt2")),
        (ExportedProgram, "run_decompositions", inspected),
        (ProvingRun, "run_node", inspected),
        (Program, "blank", inspected),
        (architectures, "entry_points", built),
    ],
    ids=["load", "decompose", "prove", "run", "architecture"],
)
def test_stage_when_torch_has_no_memory_then_its_error_stays(
    owner: object, name: str, stage: Callable[[Path], None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, exhausting)

    with pytest.raises(RuntimeError, match="can't allocate memory") as raised:
        stage(folder)
    assert is_out_of_memory(raised.value)


def test_error_when_it_is_not_about_memory_then_is_told_apart() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("expected a matrix"))
