"""Traces across processes, if OTEL_EXPORTER_OTLP_ENDPOINT is set and the extra `otel` is installed.

Otherwise OpenTelemetry is not imported, and a span is an empty `with` block. A job's record
connects the spans of service and worker: the service stores its W3C context in the record, and the
worker uses this context as the parent of its spans.
"""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import structlog

from unitrank_schemas.base import Json
from unitrank_store.jobs.record import JobRecord

log = structlog.get_logger()

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SEND_MILLISECONDS = 500
"""Default interval between two transmissions.

Short: a killed process loses the spans not yet sent.
"""


class Tracer(Protocol):
    """The tracer of a process: it makes spans, or does nothing."""

    def carrier(self) -> dict[str, str]:
        """Return the context of the current span as W3C headers; empty without a current span."""
        ...

    def span(self, name: str, parent: Mapping[str, str] | None, attributes: Json) -> AbstractContextManager[Any]:
        """Return a context manager that makes a span.

        `parent`: W3C headers; None: the current span.
        """
        ...

    def past(self, name: str, parent: Mapping[str, str], since: float, until: float) -> None:
        """Make a span of the past, between two unix times in seconds."""
        ...

    def note(self, attributes: Json) -> None:
        """Add attributes to the current span."""
        ...


class _Off:
    def carrier(self) -> dict[str, str]:
        return {}

    def span(self, name: str, parent: Mapping[str, str] | None, attributes: Json) -> AbstractContextManager[Any]:
        return nullcontext()

    def past(self, name: str, parent: Mapping[str, str], since: float, until: float) -> None:
        return

    def note(self, attributes: Json) -> None:
        return


# One tracer for each process, as OpenTelemetry has one provider for each process.
_tracer: Tracer = _Off()


def configure(process: str, environment: Mapping[str, str] = os.environ) -> None:
    """Start to trace, if the environment has the address of a collector.

    `process`: name of the process in traces, after `unitrank-`; OTEL_SERVICE_NAME overrides it.
    """
    global _tracer
    if not _is_enabled(environment):
        return
    try:
        from unitrank_store.observability.otlp import tracer
    except ImportError as error:
        log.warning("traces not sent", reason=f"pip install 'unitrank[otel]': {error}")
        return
    name = environment.get("OTEL_SERVICE_NAME", f"unitrank-{process}")
    try:
        _tracer = tracer(name, int(environment.get("OTEL_BSP_SCHEDULE_DELAY", SEND_MILLISECONDS)))
    except ValueError as error:
        log.warning("traces not sent", reason=f"an environment variable OTEL_* is malformed: {error}")


def enabled() -> bool:
    """Return whether this process traces."""
    return not isinstance(_tracer, _Off)


def carried() -> Json:
    """Return the fields that connect a job's record with the current trace."""
    carrier = _tracer.carrier()
    return {"trace": carrier} if carrier else {}


def span(name: str, **attributes: Any) -> AbstractContextManager[Any]:
    """Return a context manager that makes a span below the current one.

    Any: attributes have the types that OpenTelemetry accepts.
    """
    return _tracer.span(name, None, attributes)


def note(**attributes: Any) -> None:
    """Add attributes to the current span. Any: the types that OpenTelemetry accepts."""
    _tracer.note(attributes)


def past(name: str, *, since: float, until: float) -> None:
    """Make a span of the past below the current one, between two unix times in seconds.

    Without a current span, nothing happens.
    """
    carrier = _tracer.carrier()
    if carrier:
        _tracer.past(name, carrier, since, until)


def job_span(name: str, record: JobRecord, **attributes: Any) -> AbstractContextManager[Any]:
    """Return a context manager that makes an attempt's span, in the trace of the job's request.

    The first attempt also makes a span `queue`: the time that the job has waited.
    """
    parent: dict[str, str] = record.resolved.get("trace") or {}
    if parent and record.started_at is not None and record.attempt == 1:
        _tracer.past("queue", parent, record.created_at, record.started_at)
    return _tracer.span(name, parent, attributes)


def _is_enabled(environment: Mapping[str, str]) -> bool:
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return not off and any(environment.get(name) for name in ENDPOINTS)
