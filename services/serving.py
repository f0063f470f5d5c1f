"""Run an ASGI app in this process until it is told to stop, and say so before anything is cut."""

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

_NOT_STARTED = 3


class _Server(uvicorn.Server):
    """A server that tells of a signal at once: uvicorn's own shutdown comes after its requests have ended."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self._on_stop()
        super().handle_exit(sig, frame)


def serve_http(
    app: ASGIApp, *, host: str, port: int, grace_s: float, on_stop: Callable[[], None] = lambda: None
) -> None:
    """Serve until SIGTERM or SIGINT; then ``on_stop`` is called, and requests in work are given some seconds to end.

    Raises:
        SystemExit: the app or the port could not be opened.
    """
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", log_config=None, timeout_graceful_shutdown=round(grace_s)
    )
    server = _Server(config, on_stop)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(_NOT_STARTED)


def stop_as_by_hand() -> None:
    """Let SIGTERM end this process as Ctrl-C does.

    uvicorn, once it has stopped, raises the signal again; by default that kills what would end after it.
    """
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
