"""Run the api: ``python -m services.api``."""

import logging

from services.api.app import create_app
from services.api.dependencies import open_state
from services.api.rpc import create_server
from services.api.settings import Settings
from services.rpc import stop_as_by_hand
from services.serving import serve_http

_log = logging.getLogger("intima.api")


def main() -> None:
    """Serve REST, and gRPC where a port is given, until stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    settings = Settings()
    if settings.grpc_port is None:
        serve_http(create_app(settings), host=settings.host, port=settings.port, grace_s=settings.grace_s)
        return
    state = open_state(settings)
    app = create_app(settings, state=state)
    door = create_server(state)
    door.server.start()
    stop_as_by_hand()
    _log.info("gRPC on %s:%d", settings.host, door.port)
    try:
        serve_http(app, host=settings.host, port=settings.port, grace_s=settings.grace_s, on_stop=door.tell_stopping)
    finally:
        state.stopping.set()
        door.stop(settings.grace_s)
        state.close()


if __name__ == "__main__":
    main()
