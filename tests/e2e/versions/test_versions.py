"""Services and workers of this version and of an earlier one run jobs on one store.

`earlier_commit.txt` names the commit of the earlier version. After a release, the commit of the
release replaces it.
"""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from torch import nn

from tests.e2e.conftest import ended, save
from tests.e2e.replicas.installation import Installation, Process
from tests.support.environments.installations import NEEDED, PIP, QUICK, wheel
from tests.support.polling import wait_until
from tests.support.processes import short_folder
from unitrank_schemas.base import Json
from unitrank_store.redis.embedded import EmbeddedServer

pytestmark = pytest.mark.check

ROOT = Path(__file__).parents[3]
COMMIT = (Path(__file__).parent / "earlier_commit.txt").read_text().strip()
BYTES = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class TwoVersions:
    """A store with a service of each version. `pythons`: interpreters by version."""

    installation: Installation
    pythons: dict[str, str]
    services: dict[str, Process]

    def client(self, version: str) -> httpx.Client:
        """A client of the service of this version."""
        return httpx.Client(base_url=self.services[version].url, timeout=60)


@pytest.fixture(scope="module")
def earlier_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment with the earlier version, and with the packages of this one.

    Without the commit the test is skipped, or fails where CI is set.
    """
    folder = tmp_path_factory.mktemp("earlier")
    source = subprocess.run(["git", "-C", str(ROOT), "archive", COMMIT, *NEEDED], capture_output=True, check=False)
    if source.returncode:
        missing = f"the commit {COMMIT} is not in this clone: git fetch --depth 1 origin {COMMIT}"
        assert not os.environ.get("CI"), missing
        pytest.skip(missing)
    with tarfile.open(fileobj=BytesIO(source.stdout)) as archive:
        archive.extractall(folder / "source", filter="data")
    venv.create(folder / "environment", with_pip=False)
    python = str(folder / "environment" / "bin" / "python")
    install = [*PIP, "--python", python, "install", *QUICK, str(wheel(folder, folder / "source"))]
    subprocess.run(install, check=True, capture_output=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "environment")}))
    # The folder of the earlier version is read first.
    (site / "packages_of_this_version.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    imported = subprocess.run(
        [python, "-c", "import unitrank_worker as w; print(w.__file__)"], capture_output=True, env={}, text=True
    )
    assert Path(imported.stdout).is_relative_to(site), imported.stdout + imported.stderr
    return python


@pytest.fixture(scope="module")
def versions(server: EmbeddedServer, earlier_python: str) -> Iterator[TwoVersions]:
    """A service of each version on one store. The fixture `server` skips or fails without one."""
    pythons = {"earlier": earlier_python, "present": sys.executable}
    with short_folder() as state, EmbeddedServer(state) as store:
        installation = Installation(store.url, state)
        try:
            services = {version: installation.start_service(python) for version, python in pythons.items()}
            installation.await_ready()
            yield TwoVersions(installation, pythons, services)
        finally:
            installation.end()


@pytest.fixture(scope="module")
def uploaded(versions: TwoVersions, tmp_path_factory: pytest.TempPathFactory) -> TwoVersions:
    """The services, with the model `net` and the dataset `points`.

    The service of the earlier version got them, and the inspector of this version vetted the model.
    """
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    save(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), folder / "net.pt2", torch.zeros(2, 4))
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    np.savez(folder / "points.npz", x=x, y=np.arange(60) % 3)
    inspector = versions.installation.start_worker("inspections")
    with versions.client("earlier") as http:
        assert http.put("/v1/models/net", content=(folder / "net.pt2").read_bytes(), headers=BYTES).status_code == 202
        assert http.put("/v1/datasets/points", content=(folder / "points.npz").read_bytes(), headers=BYTES).is_success
        assert ended(http, "/v1/models/net")["status"] == "ready"
    assert inspector.stop() == 0
    return versions


MAIN_JOB: Json = {
    "model": "net",
    "layer": "1",
    "dataset": "points",
    "clusters": {"by": "label"},
    "methods": ["gradient", {"name": "conductance", "steps": 4}, {"name": "deeplift", "statistic": "mean_abs"}, "random"],
    "ablation": {"random": 19, "examples": 30},
    "seed": 7,
}
"""A job with several methods, clusters and tests."""
PAGE = {"Accept": "text/html"}
OF_HALVES = ("ablation/", "tests/", "verify/", "least_step/")
"""The arrays of tests, whose examples are one half of each cluster."""


@pytest.mark.timeout(400)
def test_job_when_service_and_worker_have_different_versions_then_both_services_show_the_same_result(
    uploaded: TwoVersions,
) -> None:
    present, earlier = run(uploaded, service="earlier", worker="present"), run(uploaded, service="present", worker="earlier")

    # A later version may add arrays; the numbers of the earlier one stay.
    assert set(earlier) <= set(present)
    assert {"importance/deeplift.mean_abs", "ablation/conductance/keep", "ablation/random"} <= set(earlier)
    for name, array in earlier.items():
        # The earlier version drew other halves of each cluster for each layer.
        assert present[name].shape == array.shape, name
        if not name.startswith(OF_HALVES):
            np.testing.assert_allclose(present[name], array, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.timeout(400)
def test_job_of_several_layers_when_the_worker_is_earlier_then_it_waits_for_a_later_worker(uploaded: TwoVersions) -> None:
    earlier_worker = uploaded.installation.start_worker(python=uploaded.pythons["earlier"])
    with uploaded.client("present") as http, uploaded.client("earlier") as earlier:
        id = http.post("/v1/jobs", json=MAIN_JOB | {"layer": ["1", "2"], "joint": True}).json()["id"]
        wait_until(lambda: b"worker too old" in (uploaded.installation.state / "log").read_bytes(), "the worker leaves the job")
        assert http.get(f"/v1/jobs/{id}").json()["status"] == "queued"
        assert earlier_worker.stop() == 0
        uploaded.installation.remove(earlier_worker)
        worker = uploaded.installation.start_worker()
        assert ended(http, f"/v1/jobs/{id}")["status"] == "succeeded"

        # The earlier service answers each request with the result or a reason.
        assert earlier.get(f"/v1/jobs/{id}").json()["request"]["layer"] == ["1", "2"]
        assert earlier.get("/v1/jobs").json()["items"][0]["id"] == id
        assert set(earlier.get(f"/v1/jobs/{id}/result").json()["layers"]) == {"1", "2"}
        for path in (f"/jobs/{id}", "/", f"/new?job={id}", f"/v1/jobs/{id}/report", f"/v1/jobs/{id}/plots/importance.png"):
            answer = earlier.get(path, headers=PAGE)
            assert answer.status_code in (200, 503), f"{path}: {answer.text}"
            assert answer.status_code == 200 or "service_too_old" in answer.text
        assert worker.stop() == 0
    uploaded.installation.remove(worker)


def run(versions: TwoVersions, *, service: str, worker: str) -> dict[str, Any]:
    """The arrays of the main job, which a service and a worker of different versions run."""
    process = versions.installation.start_worker(python=versions.pythons[worker])
    with versions.client(service) as http, versions.client(worker) as http_of_other:
        id = http.post("/v1/jobs", json=MAIN_JOB, headers={"Cache-Control": "no-cache"}).json()["id"]
        job = ended(http, f"/v1/jobs/{id}")
        assert (job["status"], job["problem"], job["attempt"]) == ("succeeded", None, 1)
        for path in (f"/v1/jobs/{id}", "/v1/models/net", "/v1/datasets/points", f"/v1/jobs/{id}/result?top=3"):
            body, other = http.get(path).json(), http_of_other.get(path).json()
            assert in_common(body, other) == in_common(other, body), path
        for each in (http, http_of_other):
            assert each.get(f"/jobs/{id}", headers=PAGE).status_code == 200
            assert each.get(f"/v1/jobs/{id}/report").status_code == 200
            assert len(each.get("/v1/workers").json()["items"]) == 1
        npz = [each.get(f"/v1/jobs/{id}/result", headers={"Accept": "application/x-npz"}).content for each in (http, http_of_other)]
    assert npz[0] == npz[1]
    assert process.stop() == 0
    versions.installation.remove(process)
    return dict(np.load(BytesIO(npz[0])))


def in_common(value: Any, other: Any) -> Any:
    """The value without fields that the other one lacks: one version may have more fields."""
    if isinstance(value, dict) and isinstance(other, dict):
        return {name: in_common(value[name], other[name]) for name in value if name in other}
    if isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
        return [in_common(each, of_other) for each, of_other in zip(value, other, strict=True)]
    return value
