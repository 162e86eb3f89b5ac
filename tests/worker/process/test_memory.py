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
