"""What the gRPC doors share: bounded servers, TLS, refusals with the problem in the metadata, health, reflection."""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from pydantic import ValidationError

from intima.errors import Conflict, IntimaError, Invalid, NotFound, Unavailable
from services.addresses import is_loopback
from services.telemetry.calls import ObservedCalls
from services.telemetry.context import current
from services.telemetry.doors import count_problem
from services.tls import TlsFiles, server_credentials

STATUS: dict[type[IntimaError], grpc.StatusCode] = {
    NotFound: grpc.StatusCode.NOT_FOUND,
    Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
}
"""gRPC status of the four error families."""
STATUS_OF_CODE = {
    "too_large": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "storage_full": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "request_timeout": grpc.StatusCode.DEADLINE_EXCEEDED,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "forbidden": grpc.StatusCode.PERMISSION_DENIED,
    "rate_limited": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "quota_exceeded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "length_required": grpc.StatusCode.INVALID_ARGUMENT,
}
PROBLEM = "intima-problem-bin"
"""Trailing metadata: code, pointer, hint and request id as JSON."""

_log = logging.getLogger("intima.rpc")


@contextmanager
def refusals(context: grpc.ServicerContext) -> Iterator[None]:
    """Turn errors into a status with the problem as JSON in the trailing metadata."""
    try:
        yield
    except ValidationError as error:
        abort(context, as_invalid(error))
    except IntimaError as error:
        abort(context, error)


def as_invalid(error: ValidationError) -> Invalid:
    """Return the first thing that breaks a contract."""
    first = error.errors(include_url=False)[0]
    pointer = "".join(f"/{part}" for part in first["loc"])
    return Invalid(f"{pointer or 'request'}: {first['msg']}", pointer=pointer)


def abort(context: grpc.ServicerContext, error: IntimaError) -> NoReturn:
    """End a call with the status of an error."""
    asked = current()
    family = next((s for family, s in STATUS.items() if isinstance(error, family)), grpc.StatusCode.INTERNAL)
    status = STATUS_OF_CODE.get(error.code, family)
    problem: dict[str, str | float] = {"code": error.code, "pointer": error.pointer, "hint": error.hint}
    problem |= {"request_id": asked.request_id, "trace_id": asked.trace_id}
    if error.retry_after_s is not None:
        problem["retry_after_s"] = error.retry_after_s
    count_problem("rpc", error.code)
    _log.info("%s %s %s", status.name, error.message, asked.request_id)
    context.set_trailing_metadata(((PROBLEM, json.dumps(problem).encode()),))
    context.abort(status, f"{error.message} {error.hint}".strip())
    raise AssertionError("abort raises")


@dataclass(frozen=True, slots=True)
class RpcDoor:
    """A server with its services, bound but not started, and its port."""

    server: grpc.Server
    port: int
    health: health.HealthServicer

    def tell_stopping(self) -> None:
        """Say NOT_SERVING from now on, to those who ask and those who watch; calls go on."""
        self.health.enter_graceful_shutdown()

    def stop(self, grace_s: float | None) -> None:
        """Say NOT_SERVING, take no more calls, give those in work some seconds, and return when all have ended."""
        self.tell_stopping()
        self.server.stop(grace_s).wait()


def new_server(
    *,
    workers: int,
    max_message_bytes: int,
    most_calls: int | None = None,
    interceptors: Sequence[grpc.ServerInterceptor] = (),
) -> grpc.Server:
    """Return a server without services that reads messages up to a size and runs as many calls as it has workers.

    Args:
        workers: calls that run at once.
        max_message_bytes: of one message.
        most_calls: running and waiting; more are refused with RESOURCE_EXHAUSTED. Null lets any number wait.
        interceptors: see every call first, in this order.
    """
    options = [("grpc.max_receive_message_length", max_message_bytes), ("grpc.so_reuseport", 0)]
    pool = ThreadPoolExecutor(workers, "intima-rpc")
    seen = (ObservedCalls(), *interceptors)
    return grpc.server(pool, interceptors=seen, options=options, maximum_concurrent_rpcs=most_calls)


class Health(health.HealthServicer):  # type: ignore[misc]
    """Health whose watches can be left at any moment.

    The one of grpcio-health-checking 1.85 holds its lock while a status is on its way to a watcher, and takes the same
    lock in the thread that would say that it arrived, when another watcher leaves: then the whole server stands still.
    """

    def _on_close_callback(self, send_response_callback: Callable[..., None], service: str) -> Callable[[], None]:
        """Return what forgets a watcher that left, in a thread of its own."""
        forget = super()._on_close_callback(send_response_callback, service)
        return lambda: threading.Thread(target=forget, daemon=True).start()


def describe(server: grpc.Server, *services: str) -> health.HealthServicer:
    """Add health and reflection of some services; return what says how they are."""
    servicer = Health()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    for name in ("", *services):
        servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return servicer


def bind(
    server: grpc.Server,
    host: str,
    port: int | None,
    *,
    setting: str,
    tls: TlsFiles | None = None,
    behind_proxy: bool = False,
) -> int:
    """Bind a server and return its port; null and 0 take a free one.

    Raises:
        Conflict: an address that other machines reach, without TLS and without a trusted proxy in front.
        Invalid: the TLS files cannot be used.
        Unavailable: the port is taken.
    """
    if tls is None and not behind_proxy:
        _refuse_open_bind(host)
    credentials = None if tls is None else server_credentials(tls)
    address = f"{host}:{port or 0}"
    try:
        if credentials is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, credentials))
    except RuntimeError as error:
        raise Unavailable(f"{address} ({setting}) is taken.", hint=f"Choose another {setting}.") from error


def _refuse_open_bind(host: str) -> None:
    if not is_loopback(host):
        raise Conflict(
            f"Refusing to serve gRPC on {host} without TLS.",
            code="open_bind",
            hint="Set INTIMA_GRPC_TLS_CERT and INTIMA_GRPC_TLS_KEY, listen on 127.0.0.1, or put a proxy in front that "
            "speaks TLS and set INTIMA_BEHIND_PROXY=true.",
        )
