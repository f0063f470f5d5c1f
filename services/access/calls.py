"""The gate before a gRPC door: an interceptor that asks when a call has its thread, before it reads a message."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

from services.access.gate import ANYBODY, READ, Asked, Gate, Operation, Rule, announced_bytes
from services.access.refusals import Refused
from services.rpc import refusals
from services.telemetry.calls import Behaviour, with_behaviour
from services.telemetry.context import current

Check: TypeAlias = Callable[..., None]
"""``admit_call`` for one method."""

_SERVICES = {"grpc.health.v1.Health": ANYBODY, "grpc.reflection.v1alpha.ServerReflection": READ}
"""Services that every door has. A watch of health holds no thread, and keeps it so as its handler stays as it is."""
_BYTES = "intima-bytes"
"""Metadata in which a caller whose token has a limit of bytes announces the size of all messages of a stream."""


_NOBODY = Rule(("admin",), changes=True)
"""Of a method that nobody thought about."""


def admit_call(gate: Gate, operation: Operation, context: grpc.ServicerContext, *, size: int | None) -> None:
    """Let a call in as one operation, or end it; ``size`` in bytes is what it brings."""
    asked = Asked(
        operation=operation,
        authorization=dict(context.invocation_metadata() or ()).get("authorization"),
        target=f"/{operation.name}",
        request_id=current().request_id,
        bytes=size,
    )
    with refusals(context):
        gate.admit(asked)


class TokenInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    """Let a call in by its method; one that is in no rule is refused."""

    def __init__(self, gate: Gate, rules: Mapping[str, Rule]) -> None:
        self._gate = gate
        self._rules = rules

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Return the handler of a call with the gate before it."""
        handler = continuation(handler_call_details)
        method = handler_call_details.method.lstrip("/")
        rule = _SERVICES.get(method.rpartition("/")[0]) or self._rules.get(method, _NOBODY)
        if handler is None or rule == ANYBODY:
            return handler
        return _guarded(handler, partial(admit_call, self._gate, Operation(method, rule)))


def _guarded(handler: grpc.RpcMethodHandler, check: Check) -> grpc.RpcMethodHandler:
    before = _before_stream if handler.request_streaming else _before_message
    return with_behaviour(handler, lambda behaviour: before(check, behaviour))


def _before_message(check: Check, behaviour: Behaviour) -> Behaviour:
    def call(request: Message, context: grpc.ServicerContext) -> Any:
        check(context, size=request.ByteSize())
        return behaviour(request, context)

    return call


def _before_stream(check: Check, behaviour: Behaviour) -> Behaviour:
    def call(requests: Iterator[Message], context: grpc.ServicerContext) -> Any:
        announced = _announced(context)
        check(context, size=announced)
        return behaviour(requests if announced is None else _held(requests, announced), context)

    return call


def _announced(context: grpc.ServicerContext) -> int | None:
    return announced_bytes(str(dict(context.invocation_metadata() or ()).get(_BYTES, "")))


def _held(requests: Iterator[Message], announced: int) -> Iterator[Message]:
    """Yield messages. Raises Refused, to whoever reads them, once they are more than was announced."""
    received = 0
    for message in requests:
        received += message.ByteSize()
        if received > announced:
            raise Refused(f"Got more than the {announced} bytes that were announced.", code="too_large")
        yield message
