"""Models whose legal inputs the inspection cannot know are let in, with a note."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unitrank_engine.archive import load
from unitrank_engine.models.exporting import export
from unitrank_engine.models.inspection import inspect
from unitrank_engine.program import Program

pytestmark = pytest.mark.check


class LastValid(nn.Module):
    """Reads each sequence at its length."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        output, _ = self.lstm(x)
        last = (lengths - 1).view(-1, 1, 1).expand(-1, 1, 5)
        logits: Tensor = self.fc(output.gather(1, last).squeeze(1))
        return logits


class Codes(nn.Module):
    """Looks up a column of codes from 1 on, which is a real number."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.fc = nn.Embedding(5, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        code = self.table(x[:, 0].long() - 1)
        logits: Tensor = self.fc(torch.cat([code, x[:, 1:]], 1))
        return logits


class Offset(nn.Module):
    """Looks up ids that begin at 1000."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.fc = nn.Embedding(5, 3), nn.Linear(3, 2)

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.table(ids - 1000).mean(1))
        return logits


class Warped(nn.Module):
    """Looks up an image at positions that are logarithms, which negative inputs do not have."""

    def forward(self, x: Tensor) -> Tensor:
        grid = x[:, 16:].reshape(-1, 2, 2, 2).log()
        return nn.functional.grid_sample(x[:, :16].reshape(-1, 1, 4, 4), grid, align_corners=False).flatten(1)


class OneRow(nn.Module):
    """Looks up the only row of an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.fc = nn.Embedding(1, 3), nn.Linear(3, 2)

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.table(ids).mean(1))
        return logits


CASES = {
    "lengths": (LastValid(), (torch.randn(4, 6, 3), torch.tensor([1, 3, 6, 2])), "aten.gather.default"),
    "codes": (Codes(), (torch.tensor([[1.0, 0.5], [5.0, -1.0], [3.0, 0.0]]),), "aten.embedding.default"),
    "logarithms": (Warped(), (torch.rand(3, 24),), "aten.grid_sampler_2d.default"),
    "one_row": (OneRow(), (torch.zeros(2, 4, dtype=torch.long),), "aten.embedding.default"),
    "offset": (Offset(), (torch.tensor([[1000, 1004], [1003, 1001]]),), "aten.embedding.default"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_model_that_refuses_invented_values_is_let_in_with_a_note(case: str, tmp_path: Path) -> None:
    module, examples, operator = CASES[case]

    manifest = export(module, examples, tmp_path / "net.pt2")
    inspected = inspect(tmp_path / "net.pt2", tmp_path / "clean.pt2")

    assert operator in manifest.notes[0]
    assert inspected["notes"] == manifest.notes
    program = Program.from_exported(load(tmp_path / "clean.pt2"))
    torch.testing.assert_close(program.forward(program.lift(examples), "output"), module(*examples).detach())


def test_a_job_still_refuses_positions_outside_the_table(tmp_path: Path) -> None:
    export(Offset(), CASES["offset"][1], tmp_path / "net.pt2")
    program = Program.from_exported(load(tmp_path / "net.pt2"))

    with pytest.raises(IndexError, match="index out of range"):
        program.lift((torch.zeros(2, 2, dtype=torch.long),))


def test_a_model_whose_invented_values_are_legal_has_no_note(tmp_path: Path) -> None:
    assert export(nn.Linear(3, 2), torch.zeros(2, 3), tmp_path / "net.pt2").notes == []
