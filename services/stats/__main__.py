"""Run the stats service: ``python -m services.stats``."""

import logging

import uvicorn
from fastapi import FastAPI

from services.rpc import stop_as_by_hand
from services.stats.app import create_app
from services.stats.dependencies import open_state
from services.stats.rpc import create_server
from services.stats.settings import Settings

_log = logging.getLogger("intima.stats")
GRACE_S = 5.0


def main() -> None:
    """Serve REST, and gRPC where a port is given, until stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    settings = Settings()
    app = create_app(settings)
    if settings.stats_grpc_port is None:
        _serve(app, settings)
        return
    state = open_state(settings)
    server, port = create_server(state)
    server.start()
    stop_as_by_hand()
    _log.info("gRPC on %s:%d", settings.host, port)
    try:
        _serve(app, settings)
    finally:
        server.stop(GRACE_S).wait()
        state.close()


def _serve(app: FastAPI, settings: Settings) -> None:
    uvicorn.run(
        app, host=settings.host, port=settings.stats_port, log_level="warning", timeout_graceful_shutdown=int(GRACE_S)
    )


if __name__ == "__main__":
    main()
