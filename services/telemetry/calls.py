"""Interceptor that observes gRPC calls: their id, their trace, and the metrics of each."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from services.telemetry import doors, traces
from services.telemetry.context import Context, new_request_id, read_traceparent, within

_HEALTH = "/grpc.health."
"""Not counted: a handler that is wrapped would hold a thread for every watch."""
Behaviour = Callable[[Any, grpc.ServicerContext], Any]


class ObservedCalls(grpc.ServerInterceptor):  # type: ignore[misc]
    """Count every call and give it an id and a trace; calls of unknown methods are refused without being counted."""

    def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Any], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the handler of a call with its behaviour observed."""
        handler = continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or method.startswith(_HEALTH):
            return handler
        wrap = _streamed if handler.response_streaming else _answered
        return with_behaviour(handler, lambda behaviour: wrap(behaviour, method))


def with_behaviour(handler: Any, wrap: Callable[[Behaviour], Behaviour]) -> Any:
    """Return a handler of the same kind whose behaviour is wrapped."""
    kinds = ("stream" if handler.request_streaming else "unary", "stream" if handler.response_streaming else "unary")
    behaviour = getattr(handler, "_".join(kinds))
    make = getattr(grpc, "_".join((*kinds, "rpc_method_handler")))
    return make(wrap(behaviour), handler.request_deserializer, handler.response_serializer)


def _answered(behaviour: Behaviour, method: str) -> Behaviour:
    def observed(request: Any, context: grpc.ServicerContext) -> Any:
        with _observing(method, context):
            return behaviour(request, context)

    return observed


def _streamed(behaviour: Behaviour, method: str) -> Behaviour:
    def observed(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with _observing(method, context):
            yield from behaviour(request, context)

    return observed


@contextmanager
def _observing(method: str, context: grpc.ServicerContext) -> Iterator[None]:
    sent = str(dict(context.invocation_metadata() or ()).get("traceparent", ""))
    started = time.perf_counter()
    doors.rpc_in_flight.inc()
    try:
        with (
            traces.serving(method, parent=read_traceparent(sent)) as traceparent,
            within(Context(request_id=new_request_id(), traceparent=traceparent)),
        ):
            yield
    finally:
        doors.rpc_in_flight.dec()
        doors.rpc_seconds.labels(method).observe(time.perf_counter() - started)
        doors.rpc_calls.labels(method, _status(context)).inc()


def _status(context: grpc.ServicerContext) -> str:
    """Return the name of a call's status; a call whose client left says so."""
    code = context.code()
    if code is None:
        return "OK" if context.is_active() else "CANCELLED"
    return code.name if isinstance(code, grpc.StatusCode) else str(code)
