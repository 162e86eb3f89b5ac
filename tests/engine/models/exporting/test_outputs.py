"""Networks whose outputs no archive can hold are refused with the next step."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from unitrank_engine.errors import EngineError
from unitrank_engine.models.exporting import export


class Scores(NamedTuple):
    """An output with names."""

    logits: Tensor


class Returning(nn.Module):
    """Returns its logits in another form."""

    def __init__(self, form: Any) -> None:
        super().__init__()
        self.dense, self.form = nn.Linear(4, 2), form

    def forward(self, x: Tensor) -> Any:
        return self.form(self.dense(x))


@pytest.mark.parametrize(
    ("form", "words"),
    [(Scores, "return tensors in plain tuples and dicts"), (lambda logits: None, "returns no tensor")],
)
def test_export_when_no_archive_can_hold_the_output_then_the_next_step_is_named(form: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=words):
        export(Returning(form), torch.zeros(2, 4), tmp_path / "net.pt2")
