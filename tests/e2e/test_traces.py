"""One trace covers a job from POST to result, in all processes. A collector receives its spans."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from torch import nn

from tests.e2e.conftest import save
from tests.service.conftest import npz
from tests.support.polling import wait_until
from tests.support.servers.loopback import served
from unitrank.client.sync import Client
from unitrank.server.local import local
from unitrank_store.redis.embedded import EmbeddedServer

pytestmark = pytest.mark.check

TRACE = "0af7651916cd43dd8448eb211c80319c"
BYTES = {"Content-Type": "application/octet-stream"}
STEPS = {"queue", "job", "load", "prepare", "attribution", "ablation", "store"}


class Collector:
    """Receives spans over HTTP. `spans`: (service name, span name, trace id) of each."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name that the base class expects
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/traces":
                    collector._take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Write no log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def _take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            named = {each.key: each.value.string_value for each in resource.resource.attributes}
            spans = [span for scope in resource.scope_spans for span in scope.spans]
            self.spans += [(named["service.name"], span.name, span.trace_id.hex()) for span in spans]

    def of(self, trace: str) -> set[tuple[str, str]]:
        return {(process, span) for process, span, trace_id in self.spans if trace_id == trace}


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    with served(collector.server):
        yield collector


def test_trace_when_a_request_starts_it_then_covers_all_steps_of_the_job(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    archive = save(network, tmp_path / "net.pt2", torch.zeros(2, 4)).read_bytes()
    rows = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    request = {"model": "net", "dataset": "data", "layer": "1", "methods": ["gradient"], "clusters": {"by": "label"}}
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server.server_port}")
        with (
            tempfile.TemporaryDirectory(prefix="unitrank-e2e-", ignore_cleanup_errors=True) as folder,
            local(Path(folder)) as stack,
            Client(stack.url) as client,
            httpx.Client(base_url=stack.url, timeout=90) as http,
        ):
            stack.await_ready(client)
            http.put("/v1/models/net", content=archive, headers=BYTES).raise_for_status()
            http.put("/v1/datasets/data", content=npz(x=rows, y=np.arange(40) % 3), headers=BYTES).raise_for_status()
            posted = http.post(
                "/v1/jobs", json=request, headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "X-Request-ID": "request-1"}
            )
            job = posted.raise_for_status().json()["id"]
            assert http.get(f"/v1/jobs/{job}", params={"wait": 60}).json()["status"] == "succeeded"
            wait_until(lambda: len(collector.of(TRACE)) > len(STEPS), "all spans have come")
            metrics = http.get("/metrics").text
            written = stack.log.read_text().splitlines()
    lines = [line for line in written if f"job={job}" in line]

    assert collector.of(TRACE) == {("unitrank-service", "POST /v1/jobs")} | {("unitrank-worker", step) for step in STEPS}
    # The lines of service and worker about this job have the request id.
    assert [line for line in lines if "] ended " in line and "request_id=request-1" in line and "status=succeeded" in line]
    assert [line for line in lines if "] request " in line and "request_id=request-1" in line and "status=202" in line]
    assert 'unitrank_ranking_seconds_count{method="gradient"} 1.0' in metrics
