"""The commands of all containers start with their variables, a random user and their volumes."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import manifests
from tests.support.manifests import Manifest, containers, of_kind, title
from tests.support.pods import PodNetwork
from tests.support.polling import wait_until
from tests.support.processes import line_with
from tests.support.restricted_user import needs_root

pytestmark = [
    needs_root,
    pytest.mark.check,
    pytest.mark.skipif(shutil.which("nsenter") is None, reason="it needs nsenter, to join a network"),
]
BY_TITLE = {title(each): each for each in manifests.everything()}
VALKEY, SERVICE = BY_TITLE["StatefulSet/unitrank-valkey"], BY_TITLE["Deployment/unitrank-service"]
INSPECTOR, WORKER, GPU_WORKER = (BY_TITLE[f"Deployment/unitrank-{name}"] for name in ("inspector", "cpu-worker", "gpu-worker"))
SECRETS = {
    "unitrank-store": {"password": "p" * 64, "url": f"redis://:{'p' * 64}@unitrank-valkey:6379/0"},
    "unitrank-blobs": {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "eu-central-1"},
}
PROBES = [(SERVICE, "readinessProbe"), (INSPECTOR, "startupProbe"), (WORKER, "livenessProbe")]
SERVICES = [each["metadata"]["name"] for each in of_kind(BY_TITLE.values(), "Service")]
IMAGE = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ} | {"PYTHONUNBUFFERED": "1"}
"""The variables that the image would set."""


@pytest.fixture
def network(tmp_path: Path, server: object) -> Iterator[PodNetwork]:
    tmp_path.chmod(0o755)
    with PodNetwork(tmp_path, SECRETS, SERVICES).open() as network:
        yield network


def test_containers_when_started_as_in_their_pods_then_probes_succeed_and_they_stop_in_order(network: PodNetwork) -> None:
    with ExitStack() as stack:
        started = [_started(network, VALKEY, stack)]
        _line("Ready to accept connections", started[0])
        key = network.run(INSPECTOR, ["unitrank", "keys", "create", "keda", "--scope", "read"], IMAGE).stdout.strip()
        assert key.startswith("unitrank_")
        started += [_started(network, each, stack) for each in (INSPECTOR, WORKER, SERVICE)]
        lines = [_line('"event": "ready"', process) for process in started[1:3]]
        wait_until(lambda: network.probe(SERVICE, "startupProbe", IMAGE), "the service answers")
        probes = {f"{title(each)} {name}": network.probe(each, name, IMAGE) for each, name in PROBES}
        jobs = network.ask(8000, "/readyz")
        metrics = network.ask(8000, "/metrics", f"Authorization: Bearer {key}").stdout
        codes = [_stopped(process) for process in reversed(started)]
        lines += [process.stdout.read() for process in started if process.stdout is not None]

    assert probes == dict.fromkeys(probes, True)
    assert jobs.returncode == 0, jobs.stdout
    assert 'unitrank_jobs_unfinished{kind="job"} 0.0' in metrics
    assert 'unitrank_workers{kind="job",state="idle"} 1.0' in metrics
    # uvicorn ends with the signal that it got.
    assert codes == [-signal.SIGTERM, 0, 0, 0], lines
    assert [line for line in lines if "unknown variable" in line or "Traceback" in line or "not confined" in line] == []


def test_gpu_worker_when_compared_with_the_cpu_worker_then_differs_only_in_its_device() -> None:
    (on_cpu,), (on_gpu,) = containers(WORKER), containers(GPU_WORKER)

    assert [word.replace("cuda:0", "cpu") for word in on_gpu["command"]] == on_cpu["command"]
    assert on_gpu["env"] == on_cpu["env"]
    assert on_gpu["resources"]["limits"]["nvidia.com/gpu"] == 1


def _started(network: PodNetwork, workload: Manifest, stack: ExitStack) -> subprocess.Popen[str]:
    process = stack.enter_context(network.start(workload, IMAGE))
    stack.callback(process.kill)
    return process


def _line(text: str, process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return line_with(text, iter(process.stdout))


def _stopped(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(30)
