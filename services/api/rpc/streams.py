"""Streams of messages from clients, with limits: how many at once, and how long one may be silent."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

import grpc

from intima.errors import IntimaError, Unavailable

_AHEAD = 2
"""Messages read before they are wanted."""
_PUT_S = 0.5
_Ended: TypeAlias = grpc.RpcError | IntimaError
"""Why nothing more comes: the caller left, or may send no more."""
M = TypeVar("M")


@contextmanager
def one_stream(streams: threading.BoundedSemaphore) -> Iterator[None]:
    """Hold one of the places for streams. Raises Unavailable where all are taken, so that short calls get through."""
    if not streams.acquire(blocking=False):
        raise Unavailable("As many streams are open as this server holds.", code="busy", hint="Try again later.")
    try:
        yield
    finally:
        streams.release()


def incoming(messages: Iterator[M], *, silence_s: float) -> Iterator[M]:
    """Yield the messages of a client as they come.

    Raises:
        Unavailable: nothing came for ``silence_s`` (code "request_timeout"), or the client left.
        IntimaError: reading a message raised it.
    """
    ahead: queue.Queue[M | _Ended | None] = queue.Queue(_AHEAD)
    stop = threading.Event()
    threading.Thread(target=_read, args=(messages, ahead, stop), daemon=True, name="intima-rpc-reader").start()
    try:
        while (message := _next(ahead, silence_s)) is not None:
            yield message
    finally:
        stop.set()


def _next(ahead: "queue.Queue[M | _Ended | None]", silence_s: float) -> M | None:
    try:
        message = ahead.get(timeout=silence_s)
    except queue.Empty as error:
        raise Unavailable(f"No message for {silence_s:g} s.", code="request_timeout") from error
    if isinstance(message, grpc.RpcError):
        raise Unavailable("The caller left.", code="caller_left") from message
    if isinstance(message, IntimaError):
        raise message
    return message


def _read(messages: Iterator[M], ahead: "queue.Queue[M | _Ended | None]", stop: threading.Event) -> None:
    """Read until the client or the call ends; nothing else wakes a thread that waits for a client."""
    last: _Ended | None = None
    try:
        for message in messages:
            if not _put(ahead, message, stop):
                return
    except (grpc.RpcError, IntimaError) as error:
        last = error
    _put(ahead, last, stop)


def _put(ahead: "queue.Queue[M | _Ended | None]", message: M | _Ended | None, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            ahead.put(message, timeout=_PUT_S)
        except queue.Full:
            continue
        return True
    return False
