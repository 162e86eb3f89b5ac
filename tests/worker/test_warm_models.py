"""The models that a child keeps in memory: their number and their memory are bounded."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from unitrank_engine.program import Program
from unitrank_worker import warm_models
from unitrank_worker.warm_models import WarmModels

ARCHIVE = Path("clean.pt2")


@pytest.fixture
def resident(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The resident bytes of the process: loading a program adds 100."""
    sizes = [1000]
    monkeypatch.setattr(warm_models, "resident_bytes", lambda: sizes[0])
    return sizes


def models(resident: list[int], *, count: int, bytes: int, program_bytes: int = 10) -> WarmModels:
    def load(archive: Path) -> Program:
        resident[0] += 100
        return cast(Program, SimpleNamespace(bytes=program_bytes))

    return WarmModels(load, count=count, bytes=bytes)


def test_models_when_more_are_used_than_are_kept_then_the_least_recently_used_goes(resident: list[int]) -> None:
    warm = models(resident, count=2, bytes=10_000)
    for digest in ("a", "b", "a", "c"):
        warm.get(digest, ARCHIVE)

    assert warm.digests() == ["a", "c"]


def test_models_when_the_process_grows_by_more_than_their_tensors_then_the_growth_counts(resident: list[int]) -> None:
    warm = models(resident, count=10, bytes=250)
    for digest in ("a", "b", "c"):
        warm.get(digest, ARCHIVE)

    assert warm.digests() == ["b", "c"]


def test_models_when_the_process_does_not_grow_then_their_tensors_count(resident: list[int]) -> None:
    warm = models(resident, count=10, bytes=1000, program_bytes=400)
    for digest in ("a", "b", "c"):
        warm.get(digest, ARCHIVE)

    assert warm.digests() == ["b", "c"]


def test_model_when_larger_than_the_limit_then_stays_while_it_is_used(resident: list[int]) -> None:
    warm = models(resident, count=1, bytes=1)
    program = warm.get("a", ARCHIVE)

    assert warm.get("a", None) is program


def test_resident_bytes_when_read_then_are_those_of_this_process() -> None:
    assert warm_models.resident_bytes() > 1 << 20
