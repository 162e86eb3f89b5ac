"""New memory holds NaN inside `filled_memory`, and torch's settings are restored after it."""

import warnings

import pytest
import torch

from unitrank_engine.program.proof.uninitialised import filled_memory


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


@pytest.mark.parametrize("fill", [True, False])
def test_the_settings_when_the_block_ends_or_fails_then_are_the_ones_before(fill: bool) -> None:
    before, filters = settings(), list(warnings.filters)

    def fail() -> None:
        with filled_memory(fill):
            inside.append(settings())
            raise RuntimeError("inside")

    inside: list[tuple[bool, bool, bool]] = []
    with pytest.raises(RuntimeError, match="inside"):
        fail()

    assert inside == [(True, True, fill)]
    assert settings() == before
    assert warnings.filters == filters


def test_blocks_when_they_are_nested_then_the_inner_one_holds_until_its_end() -> None:
    with filled_memory():
        with filled_memory(False):
            assert not torch.utils.deterministic.fill_uninitialized_memory

        assert bool(torch.empty(10).isnan().all())
