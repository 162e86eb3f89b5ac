"""The service below a path prefix, behind nginx with the configuration of docs/proxies.md."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from torch import nn

from tests.e2e.conftest import save
from tests.support.browsing import browser, opened
from tests.support.polling import wait_until
from tests.support.processes import run
from unitrank.addresses import claim_port
from unitrank.client.sync import Client
from unitrank.server.local import Local
from unitrank_store.access.api_keys import KeyStore
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import socket_url
from unitrank_store.settings import Settings
from unitrank_tables.sizes import MiB

pytestmark = pytest.mark.check

__all__ = ["browser"]

DOCS = Path(__file__).parents[2] / "docs" / "proxies.md"
PREFIX = "/unitrank"


@dataclass(frozen=True)
class Proxied:
    """A service behind nginx. `state`: its state folder.

    `kept`, `removed`: URL with the prefix, where nginx keeps the prefix or removes it.
    `secure`: as `kept`, but nginx says that the client speaks HTTPS.
    """

    kept: str
    removed: str
    secure: str
    state: Path


@pytest.fixture(scope="module")
def nginx_program() -> str:
    """The program. Without it the test is skipped, or fails where CI is set."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        assert not os.environ.get("CI"), "there is no program `nginx`"
        pytest.skip("there is no program `nginx`")
    return program


@pytest.fixture(scope="module")
def proxied(nginx_program: str, stack: Local, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A second service on the store of the running stack, and nginx before it."""
    state = stack.log.parent / "state"
    service, *public = (claim_port("127.0.0.1", 0) for _ in range(4))
    environment = os.environ | {
        "UNITRANK_REDIS_URL": socket_url(state),
        "UNITRANK_STATE": str(state),
        "UNITRANK_PORT": str(service),
        "UNITRANK_ROOT_PATH": PREFIX,
    }
    location = example().replace("127.0.0.1:8000", f"127.0.0.1:{service}")
    removing = location.replace(f"127.0.0.1:{service};", f"127.0.0.1:{service}/;")
    locations = [location, removing, location.replace("$scheme", "https")]
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "nginx.conf").write_text(_configuration(dict(zip(public, locations, strict=True))))
    nginx = [nginx_program, "-p", str(folder), "-c", "nginx.conf"]
    with _running([sys.executable, "-m", "unitrank_service"], environment), _running(nginx, dict(os.environ)):
        kept, removed, secure = (f"http://127.0.0.1:{port}{PREFIX}" for port in public)
        for url in (kept, removed, secure):
            wait_until(lambda url=url: _answers(f"{url}/readyz"), f"{url} is ready")
        yield Proxied(kept, removed, secure, state)


def example() -> str:
    """The configuration of docs/proxies.md."""
    block = re.search(r"^```nginx\n(.*?)^```$", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    assert block, "docs/proxies.md has no configuration for nginx"
    return block[1]


def _configuration(locations: dict[int, str]) -> str:
    folders = "".join(f"{name}_temp_path {name};" for name in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi"))
    servers = "".join(f"server {{ listen 127.0.0.1:{port}; {location} }}" for port, location in locations.items())
    head = "daemon off; master_process off; pid nginx.pid; error_log error.log; events {}"
    return f"{head} http {{ access_log off; {folders} {servers} }}"


@contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small exported network and data for it."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    save(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), folder / "small.pt2", torch.zeros(2, 4))
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    np.savez(folder / "points.npz", x=x, y=np.arange(60) % 3)
    return folder


@pytest.mark.parametrize("variant", ["kept", "removed"])
def test_page_when_behind_nginx_then_uploads_submits_and_downloads_below_the_prefix(
    browser: Any, proxied: Proxied, files: Path, variant: str
) -> None:
    with connect(socket_url(proxied.state)) as connection:
        key, secret = KeyStore(connection).create("Ada", ["admin"])
        try:
            # Every request of the page must begin with this URL.
            with opened(browser, getattr(proxied, variant)) as page:
                _sign_in(page, getattr(proxied, variant), secret)
                _upload(page, "Models", files / "small.pt2", f"small-{variant}")
                _upload(page, "Datasets", files / "points.npz", f"points-{variant}")
                _submit(page, f"small-{variant}", f"points-{variant}")
                _read_result(page)
                page.get_by_role("button", name="Sign out").click()
                page.get_by_role("heading", level=1, name="Sign in").wait_for()
                assert page.context.cookies() == []
        finally:
            KeyStore(connection).revoke(key.id)


def _sign_in(page: Any, url: str, secret: str) -> None:
    page.goto(f"{url}/models")
    page.get_by_label("Key").fill(secret)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{url}/models")
    assert [cookie["path"] for cookie in page.context.cookies()] == [PREFIX]


def _upload(page: Any, title: str, file: Path, name: str) -> None:
    page.get_by_role("link", name=title, exact=True).click()
    page.get_by_label("File").set_input_files(file)
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("link", name=f"{name} is ready.").wait_for()


def _submit(page: Any, model: str, dataset: str) -> None:
    page.get_by_role("link", name="New job", exact=True).click()
    page.get_by_label("Model", exact=True).select_option(model)
    page.get_by_role("option", name="1 – ReLU").first.wait_for(state="attached")
    page.get_by_label("Dataset").select_option(dataset)
    page.get_by_text("60 examples", exact=True).wait_for()
    page.get_by_role("button", name="Send the job").click()
    page.wait_for_url(f"**{PREFIX}/jobs/*")
    page.locator("h1 .state.succeeded").wait_for()


def _read_result(page: Any) -> None:
    image = page.locator("figure img").first
    image.scroll_into_view_if_needed()
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())
    page.get_by_role("link", name="Downloads").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="npz").click()
    assert np.load(download.value.path()).files
    with page.context.expect_page() as report:
        page.get_by_role("link", name="Report").click()
    report.value.get_by_role("heading", name="The verdict").wait_for()
    report.value.close()


def test_documentation_when_opened_behind_nginx_then_sends_a_request_below_the_prefix(browser: Any, proxied: Proxied) -> None:
    with opened(browser, proxied.removed) as page:
        page.goto(f"{proxied.removed}/docs")
        page.get_by_role("heading", name="Unitrank").wait_for()
        page.locator("#operations-operations-version").get_by_role("button").first.click()
        page.get_by_role("button", name="Try it out").click()
        with page.expect_response(f"{proxied.removed}/v1/version") as answer:
            page.get_by_role("button", name="Execute").click()
        assert answer.value.status == 200


@pytest.mark.parametrize("variant", ["kept", "removed"])
def test_client_when_its_url_has_the_prefix_then_uploads_waits_and_reads_the_result(
    proxied: Proxied, files: Path, variant: str
) -> None:
    url = getattr(proxied, variant)
    with Client(f"{url}/") as client:
        client.models.put(f"net-{variant}", files / "small.pt2")
        client.datasets.put(f"set-{variant}", files / "points.npz")
        handle = client.jobs.submit(model=f"net-{variant}", layer="1", dataset=f"set-{variant}", methods=["gradient"])
        summary = handle.result(60, quiet=True).summary
    environment = os.environ | {"UNITRANK_URL": url}
    status = run("status", handle.id, environment=environment)
    saved = run("result", handle.id, "--format", "csv", environment=environment)

    assert summary.job == handle.id
    assert "succeeded" in status.stdout + status.stderr
    assert saved.stdout.startswith("cluster,ranking,rank"), saved.stderr


def test_events_when_behind_nginx_then_arrive_before_the_job_ends(proxied: Proxied) -> None:
    settings = Settings(redis_url=socket_url(proxied.state), state=proxied.state)
    with connect(socket_url(proxied.state)) as connection, httpx.Client(timeout=30) as http:
        jobs = JobStore.of(connection, settings)
        id = jobs.create({"model": "m"}).id
        with http.stream("GET", f"{proxied.kept}/v1/jobs/{id}/events") as answer:
            lines = answer.iter_lines()
            assert "queued" in next(line for line in lines if line.startswith("data"))
            attempt = jobs.start(id, "cpu-0")
            assert "running" in next(line for line in lines if line.startswith("data"))
            jobs.finish(id, attempt or 0, "cancelled")
            assert "cancelled" in next(line for line in lines if line.startswith("data"))
        # Its request is not complete: the page with all jobs cannot show it.
        jobs.delete(id)


def test_upload_when_behind_nginx_then_the_service_reads_it_as_it_arrives(proxied: Proxied) -> None:
    address = httpx.URL(proxied.removed)
    head = (
        f"PUT {PREFIX}/v1/datasets/slow HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {64 * MiB}\r\n\r\n"
    )
    spool = proxied.state / "blobs"
    with socket.create_connection((address.host, address.port or 80)) as client:
        client.sendall(head.encode() + bytes(8 * MiB))

        wait_until(lambda: any(file.stat().st_size >= 4 * MiB for file in spool.rglob("incoming-*")), "half of the body is stored")


def test_answers_when_behind_nginx_then_links_have_the_public_address(proxied: Proxied) -> None:
    html, form = {"Accept": "text/html"}, {"Content-Type": "application/x-www-form-urlencoded"}
    with httpx.Client() as http:
        assert http.get(f"{proxied.kept}/v1/jobs/").headers["location"] == f"{proxied.kept}/v1/jobs"
        assert http.get(f"{proxied.removed}/v1/jobs/").headers["location"] == f"{proxied.removed}/v1/jobs"
        assert (
            f"{proxied.secure}/v1/models/mine".replace("http:", "https:") in http.get(f"{proxied.secure}/models", headers=html).text
        )
        got, head = (http.request(method, f"{proxied.kept}/v1/version") for method in ("GET", "HEAD"))
        assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.content))
        own = {"Origin": proxied.kept.removesuffix(PREFIX)}
        assert http.post(f"{proxied.kept}/new", content=b"action=estimate", headers=html | form | own).status_code == 200
        forged = {"X-Forwarded-Prefix": "/forged", "X-Forwarded-Host": "forged.example"}
        page = http.get(f"{proxied.kept}/models", headers=html | forged)
        assert (page.status_code, "forged" in page.text) == (200, False)
