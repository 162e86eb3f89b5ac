"""All hostile files over HTTP: the service and its workers keep running, and no file is left."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.attacks.tables import TABLES
from tests.attacks.test_archives import ARCHIVES
from tests.e2e.conftest import ended, installed, save, stack, url
from tests.engine.archive.forging import entries_of
from tests.engine.program.contracts.test_shapes import BEYOND
from unitrank.server.local import Local

pytestmark = pytest.mark.check

__all__ = ["installed", "stack", "url"]

Json = dict[str, Any]
BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=90) as client:
        yield client


def processes(stack: Local) -> set[int]:
    """The store, the service, the workers and their children."""
    return {child.pid for child in psutil.Process(stack.process.pid).children(recursive=True)}


def drafts(stack: Local) -> list[Path]:
    """The temporary files of uploads and inspections."""
    return [file for file in (stack.log.parent / "state").rglob("incoming/*") if file.is_file()]


def assert_untouched(stack: Local, http: httpx.Client, before: set[int], markers: Path) -> None:
    # A worker may have started a spare child.
    assert before <= processes(stack)
    assert http.get("/readyz").status_code == 200
    assert drafts(stack) == []
    assert list(markers.iterdir()) == []


def inspected(http: httpx.Client, name: str) -> Json:
    """The model after its inspection."""
    return ended(http, f"/v1/models/{name}")


def test_every_forged_archive_when_it_is_put_then_is_rejected_and_every_process_lives(
    stack: Local, http: httpx.Client, saved: Path, tmp_path: Path
) -> None:
    before = processes(stack)
    for name, attack in ARCHIVES.items():
        content = attack.make(entries_of(saved), str(tmp_path / name))
        answer = http.put(f"/v1/models/forged-{name}", content=content, headers=BYTES)
        assert answer.status_code == 202, (name, answer.text)
    models = {name: inspected(http, f"forged-{name}") for name in ARCHIVES}

    ends = {name: (model["status"], (model["problem"] or {}).get("code")) for name, model in models.items()}
    assert ends == {name: ("rejected" if attack.code else "ready", attack.code) for name, attack in ARCHIVES.items()}
    assert_untouched(stack, http, before, tmp_path)


@pytest.mark.parametrize("name", list(BEYOND))
def test_model_when_it_would_read_beyond_its_tensors_then_is_rejected_before_it_runs(
    stack: Local, http: httpx.Client, name: str, tmp_path: Path
) -> None:
    before = processes(stack)
    network, rows = BEYOND[name]
    save(network, tmp_path / "net.pt2", rows)
    content = (tmp_path / "net.pt2").read_bytes()
    (tmp_path / "net.pt2").unlink()
    assert http.put(f"/v1/models/{name}", content=content, headers=BYTES).status_code == 202

    model = inspected(http, name)
    assert (model["status"], model["problem"]["code"]) == ("rejected", "weights_refused")
    assert_untouched(stack, http, before, tmp_path)


def test_every_forged_table_when_it_is_put_then_is_refused_and_not_listed(stack: Local, http: httpx.Client, tmp_path: Path) -> None:
    before = processes(stack)
    for name, attack in TABLES.items():
        answer = http.put(f"/v1/datasets/{name}", content=attack.make(str(tmp_path / name)), headers=BYTES)
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json", name
        assert 400 <= answer.status_code < 500, name
        assert attack.code in {problem["code"], *(error["code"] for error in problem.get("errors", []))}, (name, problem)

    assert [item for item in http.get("/v1/datasets").json()["items"] if item["name"] in TABLES] == []
    assert_untouched(stack, http, before, tmp_path)
