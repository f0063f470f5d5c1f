"""Run an ASGI app in this process until it is told to stop, and say so before anything is cut."""

import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

GRACE_S = 5.0
"""Requests and calls in work are given this long to end."""
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


def serve_http(app: ASGIApp, *, host: str, port: int, on_stop: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or SIGINT; ``on_stop`` is called first, while requests in work go on.

    Raises:
        SystemExit: the app or the port could not be opened.
    """
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=int(GRACE_S))
    server = _Server(config, on_stop)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(_NOT_STARTED)
