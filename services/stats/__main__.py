"""Run the stats service: ``python -m services.stats``."""

import logging

from services.serving import serve_http, stop_as_by_hand
from services.stats.app import create_app
from services.stats.dependencies import open_state
from services.stats.rpc import create_server
from services.stats.settings import Settings
from services.telemetry import doors
from services.telemetry.exposition import showing_metrics
from services.telemetry.logs import configure_logs
from services.telemetry.settings import TelemetrySettings
from services.telemetry.traces import open_traces

_log = logging.getLogger("intima.stats")


def main() -> None:
    """Serve REST, and gRPC where a port is given, until stopped."""
    telemetry, settings = TelemetrySettings(), Settings()
    configure_logs(telemetry.log_format)
    stop_as_by_hand()
    open_traces(telemetry.otlp_endpoint, service="stats")
    with showing_metrics(telemetry, service="stats", data=settings.data, collectors=[doors.REGISTRY]):
        _serve(settings)


def _serve(settings: Settings) -> None:
    app = create_app(settings)
    if settings.stats_grpc_port is None:
        serve_http(app, host=settings.host, port=settings.stats_port, grace_s=settings.grace_s)
        return
    state = open_state(settings)
    door = create_server(state)
    door.server.start()
    _log.info("gRPC on %s:%d", settings.host, door.port)
    try:
        serve_http(
            app, host=settings.host, port=settings.stats_port, grace_s=settings.grace_s, on_stop=door.tell_stopping
        )
    finally:
        door.stop(settings.grace_s)
        state.close()


if __name__ == "__main__":
    main()
