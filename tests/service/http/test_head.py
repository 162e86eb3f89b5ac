"""HEAD is answered wherever GET is, with the same status and headers."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.service.conftest import BROWSER, Served
from tests.service.results.conftest import succeeded
from unitrank_service.routes import ROUTERS

DRAWN = re.compile("/plots/|/report$")
VARYING = {"date", "x-request-id", "transfer-encoding"}


def paths(id: str) -> Iterator[str]:
    """A path for each route with GET."""
    values = {
        "{id}": id,
        "plots/{name}": "plots/importance",
        "{form}": "png",
        "{row}": "0",
        "{unit}": "0",
        "{kind}": "csv",
        "static/{name}": "static/page.css",
    }
    names = {"/v1/methods/": "gradient", "/v1/models/": "net", "/models/": "net", "/v1/datasets/": "data", "/datasets/": "data"}
    for route in (route for router in ROUTERS for route in router.routes if "GET" in route.methods):
        path = route.path
        for parameter, value in values.items():
            path = path.replace(parameter, value)
        yield path.replace("{name}", names.get(path.partition("{")[0], ""))


def test_head_when_a_path_has_get_then_has_its_status_and_headers(client: httpx.Client, served: Served) -> None:
    id = succeeded(client, served)
    others = ["/openapi.json", "/v1/jobs/none", f"/v1/jobs/{id}/result?cluster=none", "/nothing"]
    for path in [*(path for path in paths(id) if not DRAWN.search(path)), *others]:
        assert_equal(client, path)
    tag = client.head(f"/v1/jobs/{id}").headers["etag"]
    assert client.head(f"/v1/jobs/{id}", headers={"If-None-Match": tag}).status_code == 304
    assert "{" not in "".join(paths(id))


@pytest.mark.check
def test_head_when_get_draws_a_plot_or_a_report_then_has_its_status_and_headers(client: httpx.Client, served: Served) -> None:
    for path in filter(DRAWN.search, paths(succeeded(client, served))):
        assert_equal(client, path)


def test_head_when_get_would_wait_for_the_job_then_answers_at_once(client: httpx.Client, served: Served) -> None:
    id = served.backend.jobs.create({"model": "m"}).id
    # To wait would take longer than the client waits.
    client.timeout = httpx.Timeout(20)

    assert client.head(f"/v1/jobs/{id}?wait=60").status_code == 200
    assert client.head(f"/v1/jobs/{id}", headers={"Prefer": "wait=60"}).status_code == 200
    stream = client.head(f"/v1/jobs/{id}/events")
    assert (stream.status_code, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert client.get("/healthz").status_code == 200


def test_head_when_the_path_has_no_get_then_is_a_problem_without_a_body(client: httpx.Client) -> None:
    answer = client.head(f"/v1/jobs/{'0' * 26}/cancel")

    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "POST", b"")


def test_head_when_counted_then_metrics_name_its_route(client: httpx.Client) -> None:
    client.head("/v1/version")

    assert 'unitrank_http_requests_total{method="HEAD",route="/v1/version",status="200"}' in client.get("/metrics").text


def assert_equal(client: httpx.Client, path: str) -> None:
    """Check that HEAD of the path has the status and headers of GET, and no body."""
    got, head = (client.request(method, path, headers=BROWSER) for method in ("GET", "HEAD"))
    # The metrics count the requests, so their length may change.
    varying = VARYING | ({"content-length"} if path == "/metrics" else set())
    assert (path, head.status_code, head.content) == (path, got.status_code, b"")
    assert [each for each in head.headers.items() if each[0] not in varying] == [
        each for each in got.headers.items() if each[0] not in varying
    ]
