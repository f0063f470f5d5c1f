"""A real api on a free port, in threads of the test's own process."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI


@contextmanager
def http_server(app: FastAPI) -> Iterator[str]:
    """Serve an app by uvicorn; yields host:port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline = time.monotonic() + 30
            while not server.started:
                assert thread.is_alive(), "uvicorn ended"
                assert time.monotonic() < deadline, "uvicorn did not start"
                time.sleep(0.02)
            yield f"127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()
