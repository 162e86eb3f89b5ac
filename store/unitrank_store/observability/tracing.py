"""Traces across processes, where the extra `otel` is installed and OTEL_EXPORTER_OTLP_ENDPOINT says where they go.

Otherwise nothing of OpenTelemetry is imported here, and a span is an empty `with` block. A trace goes on through a job's
record: the service notes its W3C context there, the worker's spans have it as their parent.
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
# A child may be killed at any time; what it has not sent by then is lost.
SEND_MILLISECONDS = 500


class Tracer(Protocol):
    """What spans are made by."""

    def carrier(self) -> dict[str, str]:
        """The context of the span that is open now, as W3C headers; nothing outside of one."""
        ...

    def span(self, name: str, parent: Mapping[str, str] | None, attributes: Json) -> AbstractContextManager[Any]:
        """A span around a block; below the parent where one is given, otherwise below the one that is open."""
        ...

    def past(self, name: str, parent: Mapping[str, str], since: float, until: float) -> None:
        """A span between two unix times."""
        ...

    def note(self, attributes: Json) -> None:
        """The span that is open now has these attributes."""
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


# A process traces or does not, as OpenTelemetry's own provider.
_tracer: Tracer = _Off()


def configure(room: str, environment: Mapping[str, str] = os.environ) -> None:
    """Trace from now on, where the environment asks for it. `room` is what the traces call this process."""
    global _tracer
    if not _wanted(environment):
        return
    try:
        from unitrank_store.observability.otlp import tracer
    except ImportError as error:
        log.warning("traces not sent", reason=f"pip install 'unitrank[otel]': {error}")
        return
    name = environment.get("OTEL_SERVICE_NAME", f"unitrank-{room}")
    try:
        _tracer = tracer(name, int(environment.get("OTEL_BSP_SCHEDULE_DELAY", SEND_MILLISECONDS)))
    except ValueError as error:
        log.warning("traces not sent", reason=f"a variable of OpenTelemetry is malformed: {error}")


def carried() -> Json:
    """What a job's record keeps of the trace that it belongs to."""
    carrier = _tracer.carrier()
    return {"trace": carrier} if carrier else {}


def span(name: str, **attributes: Any) -> AbstractContextManager[Any]:
    """A step of what this process does now. Any: as OpenTelemetry's attributes."""
    return _tracer.span(name, None, attributes)


def note(**attributes: Any) -> None:
    """Say more of the step that goes on. Any: as OpenTelemetry's attributes."""
    _tracer.note(attributes)


def past(name: str, *, since: float, until: float) -> None:
    """A step of the span that is open now, between two unix times; nothing without an open span."""
    carrier = _tracer.carrier()
    if carrier:
        _tracer.past(name, carrier, since, until)


def job_span(name: str, record: JobRecord, **attributes: Any) -> AbstractContextManager[Any]:
    """An attempt at a job, after the time that it has waited; both belong to the trace of the request."""
    parent: dict[str, str] = record.resolved.get("trace") or {}
    if parent and record.started_at is not None and record.attempt == 1:
        _tracer.past("queue", parent, record.created_at, record.started_at)
    return _tracer.span(name, parent, attributes)


def _wanted(environment: Mapping[str, str]) -> bool:
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return not off and any(environment.get(name) for name in ENDPOINTS)
