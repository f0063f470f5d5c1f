"""Spans for OpenTelemetry; without an endpoint nothing is imported, made or sent."""

import atexit
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from intima.errors import Unavailable
from services.telemetry.context import new_traceparent

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, SpanKind

FLUSH_S = 3.0
"""What a process that ends waits for its collector at most."""
SEND_S = 5.0
EXPORT_EVERY_MS = 1000
RUN = "run"
"""Stage in which the function of a unit works; it is cut into the times that a result names."""
Attributes = Mapping[str, str | int | float]
_open: "list[TracerProvider]" = []
"""The provider of this process, where it has one."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of some work, by the clock of this machine in nanoseconds since 1970."""

    name: str
    start_ns: int
    end_ns: int


def open_traces(endpoint: str | None, *, service: str) -> None:
    """Export spans of this process to a collector that speaks OTLP over HTTP; null and "" export none.

    Raises:
        Unavailable: the packages for that are not installed.
    """
    if not endpoint or _open:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise Unavailable(
            f"INTIMA_OTLP_ENDPOINT is set, and {error.name} is not installed.",
            code="no_telemetry",
            hint="Install intima[telemetry], or unset it.",
        ) from error
    export_to(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=SEND_S), service=service)
    atexit.register(flush)


def export_to(exporter: "SpanExporter", *, service: str) -> None:
    """Give the spans of this process to an exporter, from a thread, some each second."""
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from intima import __version__

    resource = Resource.create(
        {"service.name": f"intima-{service}", "service.version": __version__, "process.pid": os.getpid()}
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_EVERY_MS))
    trace.set_tracer_provider(provider)
    _open[:] = [provider]


def flush() -> None:
    """Send what waits, before the process ends; a collector that does not answer is not waited for longer."""
    for provider in _open:
        sending = threading.Thread(target=provider.force_flush, daemon=True)
        sending.start()
        sending.join(FLUSH_S)


def active() -> str:
    """Return the traceparent of the span that runs in this task or thread; "" where none is recorded."""
    if not _open:
        return ""
    from opentelemetry import trace

    return _traceparent(trace.get_current_span())


def record(name: str, *, parent: str, start_ns: int, end_ns: int, attributes: Attributes, failed: bool = False) -> str:
    """Record a span that has ended; return its traceparent, or its parent's where no traces are exported."""
    if not _open:
        return parent
    from opentelemetry.trace import StatusCode

    span = _start(name, parent, attributes, start_ns)
    if failed:
        span.set_status(StatusCode.ERROR)
    span.end(end_ns)
    return _traceparent(span)


@contextmanager
def serving(name: str, *, parent: str) -> Iterator[str]:
    """Record a block as the span of a server; yields its traceparent, or one that nobody records."""
    if not _open:
        yield parent or new_traceparent()
        return
    from opentelemetry.trace import SpanKind as Kinds
    from opentelemetry.trace import use_span

    span = _start(name, parent, {}, time.time_ns(), kind=Kinds.SERVER)
    with use_span(span, end_on_exit=True):
        yield _traceparent(span)


def _start(name: str, parent: str, attributes: Attributes, start_ns: int, *, kind: "SpanKind | None" = None) -> "Span":
    from opentelemetry.trace import SpanKind as Kinds
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None
    tracer = _open[0].get_tracer("intima")
    return tracer.start_span(
        name, context=context, kind=kind or Kinds.INTERNAL, attributes=dict(attributes), start_time=start_ns
    )


def _traceparent(span: "Span") -> str:
    found = span.get_span_context()
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}" if found.is_valid else ""
