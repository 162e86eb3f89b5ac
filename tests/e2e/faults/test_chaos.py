"""Short runs of `make chaos`: each job ends once, although processes are killed and stopped."""

from pathlib import Path

import pytest
from benchmarks.chaos.__main__ import Run, chaos

from tests.worker.distributed.on_ray.ray_bench import IS_MISSING
from unitrank_store.redis.embedded import EmbeddedServer

pytestmark = pytest.mark.serial


@pytest.mark.timeout(500)
def test_jobs_when_processes_are_killed_and_stopped_then_there_are_no_findings(server: EmbeddedServer, tmp_path: Path) -> None:
    lines: list[str] = []
    findings = chaos(tmp_path, Run(seed=0, jobs=30, seconds=8, every=1.2), lines.append)

    assert findings == [], lines


@pytest.mark.slow
@pytest.mark.skipif(IS_MISSING, reason="Ray is not installed: pip install 'unitrank[ray-test]'")
@pytest.mark.timeout(800)
def test_divided_jobs_when_machines_and_actors_are_killed_too_then_there_are_no_findings(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    lines: list[str] = []
    findings = chaos(tmp_path, Run(seed=1, jobs=40, seconds=40, every=1.5, with_nodes=True), lines.append)

    assert findings == [], lines
