"""What the gRPC doors share: a bounded server, refusals with the problem in the metadata, health and reflection."""

import json
import logging
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from pydantic import ValidationError

from intima.errors import Conflict, IntimaError, Invalid, NotFound, Unavailable

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
    request_id = f"req_{uuid.uuid4().hex}"
    family = next((s for family, s in STATUS.items() if isinstance(error, family)), grpc.StatusCode.INTERNAL)
    status = STATUS_OF_CODE.get(error.code, family)
    problem = {"code": error.code, "pointer": error.pointer, "hint": error.hint, "request_id": request_id}
    _log.info("%s %s %s", status.name, error.message, request_id)
    context.set_trailing_metadata(((PROBLEM, json.dumps(problem).encode()),))
    context.abort(status, f"{error.message} {error.hint}".strip())
    raise AssertionError("abort raises")


def new_server(*, workers: int, max_message_bytes: int, most_calls: int | None = None) -> grpc.Server:
    """Return a server without services that reads messages up to a size and runs as many calls as it has workers.

    Args:
        workers: calls that run at once.
        max_message_bytes: of one message.
        most_calls: running and waiting; more are refused with RESOURCE_EXHAUSTED. Null lets any number wait.
    """
    options = [("grpc.max_receive_message_length", max_message_bytes), ("grpc.so_reuseport", 0)]
    pool = ThreadPoolExecutor(workers, "intima-rpc")
    return grpc.server(pool, options=options, maximum_concurrent_rpcs=most_calls)


def describe(server: grpc.Server, *services: str) -> None:
    """Add health and reflection of some services."""
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    for name in ("", *services):
        servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)


def bind(server: grpc.Server, host: str, port: int | None, *, setting: str) -> int:
    """Bind a server and return its port; null and 0 take a free one. Raises Unavailable where it is taken."""
    address = f"{host}:{port or 0}"
    try:
        return int(server.add_insecure_port(address))
    except RuntimeError as error:
        raise Unavailable(f"{address} is taken.", hint=f"Choose another {setting}.") from error


def stop_as_by_hand() -> None:
    """Let SIGTERM end this process as Ctrl-C does.

    uvicorn, once it has stopped, raises the signal again; by default that kills what would end after it.
    """
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
