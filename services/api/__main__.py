"""Run the api: ``python -m services.api``."""

import logging

import uvicorn
from fastapi import FastAPI

from services.api.app import create_app
from services.api.dependencies import open_state
from services.api.rpc import create_server
from services.api.settings import Settings
from services.rpc import stop_as_by_hand

_log = logging.getLogger("intima.api")
GRACE_S = 5.0


def main() -> None:
    """Serve REST, and gRPC where a port is given, until stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    settings = Settings()
    if settings.grpc_port is None:
        _serve(create_app(settings), settings)
        return
    state = open_state(settings)
    app = create_app(settings, state=state)
    server, port = create_server(state)
    server.start()
    stop_as_by_hand()
    _log.info("gRPC on %s:%d", settings.host, port)
    try:
        _serve(app, settings)
    finally:
        state.stopping.set()
        server.stop(GRACE_S).wait()
        state.close()


def _serve(app: FastAPI, settings: Settings) -> None:
    uvicorn.run(
        app, host=settings.host, port=settings.port, log_level="warning", timeout_graceful_shutdown=int(GRACE_S)
    )


if __name__ == "__main__":
    main()
