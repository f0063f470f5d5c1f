"""ASGI middleware that observes HTTP requests: their id, their trace, one log line and the metrics of each."""

import logging
import time
from dataclasses import dataclass
from urllib.parse import quote

import httpx
from fastapi.telemetry import TelemetryConfig
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.telemetry import doors, traces
from services.telemetry.context import Context, current, enter, new_request_id, new_traceparent, read_traceparent

_log = logging.getLogger("intima.http")
PROBES = frozenset({"/livez", "/readyz"})
TRACES: TelemetryConfig = {
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "exclude": lambda scope: scope.get("path") in PROBES,
}
"""What FastAPI itself tells: one span per request where this process exports traces."""
_PATH_SHOWN = 500
"""Characters of a path that a log line holds."""
_BROKEN_OFF = 499
"""Status of a request whose client left before an answer began, as nginx writes it."""


@dataclass(slots=True)
class _Seen:
    status: int = _BROKEN_OFF


class Observed:
    """Give every request an id and a trace, say the id in the answer, write one line about it, and count it.

    Put it outermost, so that what other middleware refuses is seen too. Not Starlette's BaseHTTPMiddleware: that makes
    a task group for every piece of a body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = new_request_id()
        scope.setdefault("state", {})["request_id"] = request_id
        # For the rest of the task and not of this call: the handler of defects answers outside of it.
        enter(Context(request_id=request_id, traceparent=_traceparent(scope)))
        seen = _Seen()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
                seen.status = message["status"]
            await send(message)

        started = time.perf_counter()
        doors.http_in_flight.inc()
        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            seen.status = 500
            raise
        finally:
            doors.http_in_flight.dec()
            _tell(scope, seen.status, time.perf_counter() - started)


async def pass_trace_on(request: httpx.Request) -> None:
    """Let the service that is asked go on with the trace of the request that asks."""
    if current().traceparent:
        request.headers["traceparent"] = current().traceparent


def _traceparent(scope: Scope) -> str:
    """Return the span of this request where traces are exported, else what the client sent, else a new trace."""
    sent = next((v for k, v in scope["headers"] if k == b"traceparent"), b"")
    return traces.active() or read_traceparent(sent.decode("latin-1")) or new_traceparent()


def _tell(scope: Scope, status: int, seconds: float) -> None:
    method = scope["method"] if scope["method"] in doors.METHODS else "OTHER"
    route = getattr(scope.get("route"), "path", doors.UNMATCHED)
    doors.http_requests.labels(method, route, str(status)).inc()
    doors.http_seconds.labels(method, route).observe(seconds)
    told = {"method": method, "route": route, "status": status, "seconds": round(seconds, 4)}
    quiet = route in PROBES and status == 200
    request_id = scope["state"]["request_id"]
    line = (method, quote(scope["path"][:_PATH_SHOWN]), status, 1000 * seconds, request_id)
    _log.log(logging.DEBUG if quiet else logging.INFO, "%s %s %s %.0f ms %s", *line, extra={"fields": told})
