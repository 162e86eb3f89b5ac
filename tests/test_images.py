"""The images, tested without Docker.

The steps of the Dockerfile run in a folder, and the commands of the images are started.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.dockerfile import Builder, Stage
from tests.support.polling import wait_until
from unitrank.addresses import claim_port
from unitrank_store.redis.connection import connect
from unitrank_store.settings import Settings
from unitrank_store.worker_registry import WorkerRegistry
from unitrank_worker.__main__ import _options

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


@pytest.mark.check
def test_service_image_when_built_then_serves_without_torch(tmp_path: Path, redis_url: str) -> None:
    image = _built("service", tmp_path)
    port = str(claim_port("127.0.0.1", 0))
    settings = {"UNITRANK_HOST": "127.0.0.1", "UNITRANK_PORT": port, "UNITRANK_REDIS_URL": redis_url}

    assert _run(image, ["python", "-c", "import torch"], settings).returncode != 0
    assert _run(image, ["unitrank", "keys", "create", "me"], settings).stdout.startswith("unitrank_")
    with _started(image, image.command, settings):
        assert _answer(f"http://127.0.0.1:{port}/healthz").json() == {"status": "ok"}
        assert httpx.get(f"http://127.0.0.1:{port}/v1/jobs", trust_env=False).status_code == 401
        assert _run(image, _health_check(port), settings | {"http_proxy": "http://127.0.0.1:1"}).returncode == 0


@pytest.mark.check
def test_worker_image_when_built_then_a_worker_registers(tmp_path: Path, redis_url: str) -> None:
    image = _built("worker", tmp_path)
    with connect(redis_url) as connection, _started(image, SERVICES["inspector"]["command"], {"UNITRANK_REDIS_URL": redis_url}):
        alive = wait_until(lambda: WorkerRegistry(connection).list(), "a worker is there")

        assert [(worker.queue, worker.device) for worker in alive] == [("unitrank-inspections", "cpu")]


@pytest.mark.parametrize("name", ["service", "worker", "worker-cpu", "inspector"])
def test_compose_when_it_names_a_setting_then_the_setting_exists(name: str) -> None:
    settings = {f"UNITRANK_{field.upper()}" for field in Settings.model_fields} | {"OMP_NUM_THREADS"}

    assert set(SERVICES[name]["environment"]) <= settings


@pytest.mark.parametrize(("name", "queue"), [("worker", "jobs"), ("worker-cpu", "jobs"), ("inspector", "inspections")])
def test_compose_when_it_starts_a_worker_then_its_options_exist(name: str, queue: str) -> None:
    words = SERVICES[name]["command"]

    assert words[:3] == ["python", "-m", "unitrank_worker"]
    options, _ = _options(words[3:])
    assert options.queue == queue


@pytest.mark.parametrize("name", ["worker", "worker-cpu", "inspector"])
def test_compose_when_it_stops_a_worker_then_its_job_can_be_requeued(name: str) -> None:
    options, _ = _options(SERVICES[name]["command"][3:])
    minutes = int(SERVICES[name]["stop_grace_period"].removesuffix("m"))

    assert 60 * minutes - 30 <= options.drain <= 60 * minutes - 10


def test_compose_when_read_then_only_the_service_is_published_and_only_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {"service": ["${UNITRANK_PUBLISH:-127.0.0.1:8000}:8000"]}


@pytest.mark.check
def test_compose_when_docker_checks_it_then_has_no_error() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no `docker compose` here")

    done = subprocess.run([docker, "compose", "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def _health_check(port: str) -> list[str]:
    match = re.search(r"HEALTHCHECK .*\\\n *CMD (\[.*\])", (ROOT / "Dockerfile").read_text())
    assert match is not None
    return [str(word).replace("8000", port) for word in json.loads(match[1])]


def _built(target: str, folder: Path) -> Stage:
    image = Builder(ROOT / "Dockerfile", folder, [f"unitrank[{target},s3,parquet]", "hatchling"]).build(target)

    assert image.user == "10001:10001"
    assert not (image.root / "src").exists()
    for pattern in ("unitrank_store/**/*.lua", "unitrank_service/web/templates/**/*.html", "unitrank_service/web/static/*"):
        packaged = {file.name for file in image.root.rglob(f"site-packages/{pattern}")}
        assert packaged == {file.name for file in ROOT.glob(f"*/{pattern}")}
    return image


def _environment(image: Stage, settings: dict[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **image.environment, **settings}


def _run(image: Stage, words: list[str], settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = _environment(image, settings)
    program = shutil.which(words[0], path=environment["PATH"]) or words[0]
    return subprocess.run(
        [program, *words[1:]], cwd=image.inside(image.workdir), env=environment, capture_output=True, text=True, check=False
    )


@contextmanager
def _started(image: Stage, words: list[str], settings: dict[str, str]) -> Iterator[None]:
    environment = _environment(image, settings)
    program = shutil.which(words[0], path=environment["PATH"])
    assert program is not None
    assert program.startswith(str(image.root))
    with subprocess.Popen([program, *words[1:]], cwd=image.inside(image.workdir), env=environment) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(30)
    assert code in (0, -signal.SIGTERM)


def _answer(url: str) -> httpx.Response:
    def ask() -> httpx.Response | None:
        try:
            return httpx.get(url, trust_env=False)
        except httpx.TransportError:
            return None

    return wait_until(ask, f"{url} answers")
