"""Traces: off by default; one trace leads from the request's headers to a job's steps."""

import subprocess
import sys
from typing import Any

import pytest
import redis
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.observability import tracing
from unitrank_store.observability.otlp import Spans

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
CARRIED = {"trace": {"traceparent": f"00-{TRACE}-{PARENT}-01"}}
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}

PROGRAM = """
import sys
for name in {absent!r}:
    sys.modules[name] = None
from unitrank_store.observability import tracing
tracing.configure("worker", {environment!r})
with tracing.span("step", number=1):
    print(tracing.carried(), "unitrank_store.observability.otlp" in sys.modules, "opentelemetry.sdk.trace" in sys.modules)
"""


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The spans that this process makes during the test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", Spans(provider))
    return exporter


def begun(connection: redis.Redis, resolved: dict[str, Any]) -> JobRecord:
    jobs = JobStore(connection)
    id = jobs.create({"model": "m"}, resolved).id
    jobs.start(id, "w")
    return jobs.get(id)


@pytest.mark.parametrize(
    "environment",
    [{}, ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_SERVICE_NAME": "x"}],
)
def test_tracing_when_off_then_imports_nothing(environment: dict[str, str]) -> None:
    assert ran([], environment) == "{} False False"


def test_tracing_when_asked_for_without_the_extra_then_logs_it_and_continues() -> None:
    program = PROGRAM.format(absent=["opentelemetry.exporter"], environment=ENDPOINT)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "unitrank[otel]" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("{} False")


def test_tracing_when_off_then_a_record_carries_nothing() -> None:
    assert tracing.carried() == {}


def test_span_when_open_then_its_context_is_carried(spans: InMemorySpanExporter) -> None:
    with tracing.span("request"):
        carried = tracing.carried()
    (span,) = spans.get_finished_spans()

    assert span.context is not None
    assert carried["trace"]["traceparent"].startswith(f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-")


def test_job_when_it_runs_then_its_steps_belong_to_the_request(spans: InMemorySpanExporter, connection: redis.Redis) -> None:
    with tracing.job_span("job", begun(connection, CARRIED), job="id"), tracing.span("load"):
        tracing.note(bytes=3)
    queue, load, job = spans.get_finished_spans()

    assert [span.name for span in (queue, load, job)] == ["queue", "load", "job"]
    assert {f"{span.context.trace_id:032x}" for span in (queue, load, job) if span.context} == {TRACE}
    assert [f"{span.parent.span_id:016x}" for span in (queue, job) if span.parent] == [PARENT, PARENT]
    assert load.parent == job.context
    assert (dict(job.attributes or {}), dict(load.attributes or {})) == ({"job": "id"}, {"bytes": 3})
    assert (queue.start_time or 0) <= (queue.end_time or 0) <= (job.start_time or 0)


@pytest.mark.parametrize("trace", [{}, {"trace": {"traceparent": "nonsense"}}, {"trace": {}}])
def test_job_when_it_carries_no_trace_then_starts_a_new_one(
    spans: InMemorySpanExporter, connection: redis.Redis, trace: dict[str, Any]
) -> None:
    with tracing.job_span("job", begun(connection, trace)):
        pass

    assert spans.get_finished_spans()[-1].parent is None


def ran(absent: list[str], environment: dict[str, str]) -> str:
    program = PROGRAM.format(absent=absent, environment=environment)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
