"""OTLP: spans of ours as OpenTelemetry's SDK has them, and over HTTP to the collector that OTEL_* names.

Imported by `mimrun.app.tracing` alone, and only where a collector is named: it needs the extra `otel`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from mimrun import __version__
from mimrun.run.record.spans import Span

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def sender() -> tuple[Callable[[Sequence[Span]], bool], Callable[[], object]]:
    """Give what sends spans, and what lets go of the connection and ends a retry that is under way.

    Raises:
        Exception: OTEL_* is set to something that the SDK refuses.
    """
    # What it cannot send is told in the program log; a terminal is for the run.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    exporter = OTLPSpanExporter()
    resource = Resource.create({"service.version": __version__})
    if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "mimrun"}))
    scope = InstrumentationScope("mimrun", __version__)

    def send(spans: Sequence[Span]) -> bool:
        readable = [as_readable(span, resource, scope) for span in spans]
        return exporter.export(readable) is SpanExportResult.SUCCESS

    return send, exporter.shutdown


def as_readable(span: Span, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    """Give a span as the SDK has it."""
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace, span.id),
        parent=_context(span.trace, span.parent) if span.parent is not None else None,
        resource=resource,
        attributes=dict(span.facts),
        events=[Event(one.name, {"mimrun.seq": one.seq}, _nanoseconds(one.at)) for one in span.events],
        kind=SpanKind.CLIENT if span.outside else SpanKind.INTERNAL,
        status=_status(span),
        start_time=_nanoseconds(span.start),
        end_time=_nanoseconds(span.end),
        instrumentation_scope=scope,
    )


def _context(trace: int, span: int) -> SpanContext:
    return SpanContext(trace, span, is_remote=False, trace_flags=_SAMPLED)


def _status(span: Span) -> Status:
    if span.failed:
        return Status(StatusCode.ERROR, span.failed)
    return Status(StatusCode.OK if span.done else StatusCode.UNSET)


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000
