"""A short run of `make chaos`: jobs go on and end once, whatever is killed, stopped and cut off under them."""

from pathlib import Path

import pytest
from benchmarks.chaos.__main__ import Run, chaos

from unitrank_store.redis.embedded import EmbeddedServer

pytestmark = pytest.mark.serial


@pytest.mark.timeout(500)
def test_jobs_when_processes_are_killed_and_stopped_then_each_ends_once_and_nothing_is_left(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    lines: list[str] = []
    outcome = chaos(tmp_path, Run(seed=0, jobs=30, seconds=8, every=1.2), lines.append)

    assert outcome == [], lines
