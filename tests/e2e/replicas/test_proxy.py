"""Three services behind nginx with the configuration of docs/replicas.md."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.replicas.installation import Installation, answers
from tests.e2e.test_nginx import example, nginx_program
from tests.service.conftest import job
from tests.support.polling import wait_until
from unitrank.addresses import claim_port

pytestmark = pytest.mark.check

__all__ = ["nginx_program"]

DOCS = Path(__file__).parents[3] / "docs" / "replicas.md"


@pytest.fixture
def proxied(nginx_program: str, prepared: Installation, tmp_path: Path) -> Iterator[str]:
    """The URL of nginx, which gives each request to the next service."""
    block = re.search(r"^```\n(upstream unitrank.*?)^```$", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    assert block, "docs/replicas.md has no upstream for nginx"
    servers = "".join(f"server {url.removeprefix('http://')};" for url in prepared.urls())
    upstream = re.sub(r"\{.*\}", f"{{ {servers} }}", block[1], flags=re.DOTALL)
    location = example().replace("location /unitrank/", "location /").replace("http://127.0.0.1:8000", "http://unitrank")
    port = claim_port("127.0.0.1", 0)
    folders = "".join(f"{name}_temp_path {name};" for name in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi"))
    server = f"server {{ listen 127.0.0.1:{port}; {location} }}"
    head = "daemon off; master_process off; pid nginx.pid; error_log error.log; events {}"
    (tmp_path / "nginx.conf").write_text(f"{head} http {{ access_log off; {folders} {upstream} {server} }}")
    nginx = subprocess.Popen([nginx_program, "-p", str(tmp_path), "-c", "nginx.conf"], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}"), "nginx answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        nginx.terminate()
        nginx.wait(30)


def test_requests_when_one_of_the_services_is_killed_then_nginx_gives_them_to_the_others(
    proxied: str, prepared: Installation
) -> None:
    with httpx.Client(base_url=proxied, timeout=30) as http:
        before = [http.get("/v1/version").status_code for _ in range(6)]
        requests = [httpx.get(f"{url}/metrics").text for url in prepared.urls()]
        prepared.services[0].kill()
        posted = [http.post("/v1/jobs", json=job(seed=seed)) for seed in range(100, 106)]
        ids = [answer.json()["id"] for answer in posted]
        cancelled = [http.post(f"/v1/jobs/{id}/cancel").json()["status"] for id in ids]

    assert before == [200] * 6
    assert all('route="/v1/version"' in metrics for metrics in requests)
    assert [answer.status_code for answer in posted] == [202] * 6
    assert cancelled == ["cancelled"] * 6
