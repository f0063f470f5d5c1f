"""Run the api: ``python -m services.api``."""

import logging

from services.api.app import create_app
from services.api.dependencies import State, open_state
from services.api.rpc import create_server
from services.api.settings import Settings
from services.api.turns import TurnMetrics
from services.serving import serve_http, stop_as_by_hand
from services.telemetry import doors, units
from services.telemetry.exposition import showing_metrics
from services.telemetry.ledger_state import LedgerMetrics
from services.telemetry.logs import configure_logs
from services.telemetry.settings import TelemetrySettings
from services.telemetry.traces import open_traces

_log = logging.getLogger("intima.api")


def main() -> None:
    """Serve REST, and gRPC where a port is given, until stopped."""
    telemetry, settings = TelemetrySettings(), Settings()
    configure_logs(telemetry.log_format)
    stop_as_by_hand()
    open_traces(telemetry.otlp_endpoint, service="api")
    state = open_state(settings)
    turns = TurnMetrics({"segment": state.segment_turns, "infer": state.infer_turns, "finish": state.finish_turns})
    shown = (doors.REGISTRY, units.REGISTRY, turns, LedgerMetrics(state.storage))
    try:
        with showing_metrics(telemetry, service="api", data=settings.data, collectors=shown):
            _serve(state)
    finally:
        state.close()


def _serve(state: State) -> None:
    settings, app = state.settings, create_app(state.settings, state=state)
    if settings.grpc_port is None:
        serve_http(app, host=settings.host, port=settings.port, grace_s=settings.grace_s)
        return
    door = create_server(state)
    door.server.start()
    _log.info("gRPC on %s:%d", settings.host, door.port)
    try:
        serve_http(app, host=settings.host, port=settings.port, grace_s=settings.grace_s, on_stop=door.tell_stopping)
    finally:
        state.stopping.set()
        door.stop(settings.grace_s)


if __name__ == "__main__":
    main()
