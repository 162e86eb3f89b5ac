"""A short run of `make chaos`: each job ends once, although processes are killed and stopped."""

from pathlib import Path

import pytest
from benchmarks.chaos.__main__ import Run, chaos

from unitrank_store.redis.embedded import EmbeddedServer

pytestmark = pytest.mark.serial


@pytest.mark.timeout(500)
def test_jobs_when_processes_are_killed_and_stopped_then_there_are_no_findings(server: EmbeddedServer, tmp_path: Path) -> None:
    lines: list[str] = []
    findings = chaos(tmp_path, Run(seed=0, jobs=30, seconds=8, every=1.2), lines.append)

    assert findings == [], lines
