"""Spans of OpenTelemetry, sent as OTLP over HTTP.

Only `tracing` imports this module, and only if the environment asks for traces: OpenTelemetry is an
optional dependency.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from unitrank_schemas.base import Json


class Spans:
    """A `tracing.Tracer` that makes spans of OpenTelemetry."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer("unitrank")

    def carrier(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        propagate.inject(headers)
        return headers

    def span(self, name: str, parent: Mapping[str, str] | None, attributes: Json) -> AbstractContextManager[Any]:
        context = None if parent is None else propagate.extract(parent)
        # No text of exceptions: it may contain a client's data. The log has the text.
        return self._tracer.start_as_current_span(name, context, attributes=attributes, record_exception=False)

    def past(self, name: str, parent: Mapping[str, str], since: float, until: float) -> None:
        context = propagate.extract(parent)
        self._tracer.start_span(name, context, start_time=int(since * 1e9)).end(int(until * 1e9))

    def note(self, attributes: Json) -> None:
        trace.get_current_span().set_attributes(attributes)


def tracer(name: str, milliseconds: int) -> Spans:
    """Start to send spans, and return the tracer. Spans of FastAPI's instrumentation are sent too.

    `name`: the service's name in traces. `milliseconds`: interval between two transmissions.
    """
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=milliseconds))
    trace.set_tracer_provider(provider)
    return Spans(provider)
