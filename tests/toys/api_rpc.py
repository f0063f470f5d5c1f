"""The gRPC door of an api in the test's own process, and what a refused call says."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from services.api.dependencies import State
from services.api.rpc import create_server
from services.rpc import PROBLEM

DEADLINE_S = 60.0


@contextmanager
def rpc_server(state: State) -> Iterator[str]:
    """Serve gRPC on a free port; yields host:port."""
    door = create_server(state)
    door.server.start()
    try:
        yield f"127.0.0.1:{door.port}"
    finally:
        door.stop(None)


def refused(call: Callable[..., Any], *messages: Any, **more: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Return status, text and problem of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        _drain(call(*messages, timeout=DEADLINE_S, **more))
    error = caught.value
    trailing = dict(error.trailing_metadata() or ())
    return error.code(), error.details(), json.loads(trailing.get(PROBLEM, b"{}"))


def _drain(answer: Any) -> None:
    """Read an answer to its end where it is a stream."""
    if isinstance(answer, grpc.RpcError):
        list(answer)
