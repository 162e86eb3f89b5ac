"""New memory holds NaN inside `filled_memory`, and torch's settings are restored after it."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.program.proof.uninitialised import filled_memory, unfilled_memory


def settings() -> tuple[bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
    )


def test_new_memory_when_it_is_filled_then_holds_nan_or_the_largest_number() -> None:
    with filled_memory():
        real, whole = torch.empty(1000), torch.empty(1000, dtype=torch.int64)

    assert bool(real.isnan().all())
    assert bool((whole == torch.iinfo(torch.int64).max).all())


def test_the_settings_when_the_block_ends_or_fails_then_are_the_ones_before() -> None:
    before, filters = settings(), list(warnings.filters)

    def fail() -> None:
        with filled_memory():
            inside.append(settings())
            raise RuntimeError("inside")

    inside: list[tuple[bool, bool, bool]] = []
    with pytest.raises(RuntimeError, match="inside"):
        fail()

    assert inside == [(True, True, True)]
    assert settings() == before
    assert warnings.filters == filters


def test_blocks_when_they_are_nested_then_the_inner_one_holds_until_its_end() -> None:
    with filled_memory():
        with unfilled_memory():
            assert settings() == (True, True, False)

        assert bool(torch.empty(10).isnan().all())


def test_a_job_when_its_network_has_no_recurrent_layer_then_fills_new_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = program_of(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.randn(2, 4))
    inside = []
    split = type(program).split
    monkeypatch.setattr(
        type(program), "split", lambda self, *given, **named: inside.append(settings()) or split(self, *given, **named)
    )
    before = settings()

    rank(program, tmp_path, {"x": np.ones((4, 4), np.float32)}, "1", [{"name": "gradient"}])

    assert set(inside) == {(True, True, True)}
    assert settings() == before


@pytest.mark.filterwarnings("ignore:The tensor attributes:UserWarning")  # torch warns about its own layers.
def test_a_job_when_its_network_is_recurrent_then_leaves_new_memory_as_it_is() -> None:
    """There the fill costs 6.6 %."""

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 3, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(x)[0].flatten(1)

    assert not program_of(First(), torch.randn(2, 3, 4)).fills_memory
