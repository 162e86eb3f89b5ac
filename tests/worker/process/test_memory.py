"""The memory of the machine or the container."""

from pathlib import Path

import psutil
import pytest

from unitrank_worker.process import memory


@pytest.mark.parametrize(("limit", "expected"), [("1000\n", 1000), ("max\n", None), (None, None)])
def test_memory_when_a_container_has_less_then_its_limit_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str | None, expected: int | None
) -> None:
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "memory.max")

    assert memory.available_bytes() == (expected or psutil.virtual_memory().total)


@pytest.mark.parametrize(("limit", "usable"), [(None, 0.75), (5, 5 / 1000), (0, 1.0)])
def test_memory_when_a_child_is_limited_then_jobs_can_use_that_much(
    monkeypatch: pytest.MonkeyPatch, limit: int | None, usable: float
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)

    assert memory.usable_bytes(limit) == usable * 1000
