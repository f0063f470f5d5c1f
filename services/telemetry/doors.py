"""Metrics of the doors: requests over HTTP, calls over gRPC, problems, models held in memory."""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.telemetry.labels import Bounded

REGISTRY = CollectorRegistry()
UNMATCHED = "unmatched"
"""Route of every path that no route has."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

http_requests = Counter(
    "intima_http_requests", "Requests that ended.", ["method", "route", "status"], registry=REGISTRY
)
http_seconds = Histogram(
    "intima_http_request_seconds",
    "From the headers of a request to the last byte of its answer.",
    ["method", "route"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
http_in_flight = Gauge("intima_http_requests_in_flight", "Requests that have no whole answer yet.", registry=REGISTRY)
rpc_calls = Counter("intima_rpc_calls", "gRPC calls that ended.", ["method", "status"], registry=REGISTRY)
rpc_seconds = Histogram(
    "intima_rpc_call_seconds",
    "From the start of a gRPC call to its end.",
    ["method"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
rpc_in_flight = Gauge("intima_rpc_calls_in_flight", "gRPC calls that have not ended.", registry=REGISTRY)
_problems = Counter("intima_problems", "Refusals and failures told to clients.", ["door", "code"], registry=REGISTRY)
_models = Counter("intima_model_lookups", "Models asked for; hit: in memory already.", ["outcome"], registry=REGISTRY)
_codes = Bounded(200)
for _code in ("blobs_unavailable", "busy", "database_unavailable", "defect", "storage_full"):
    # A series that is born with its first error shows no increase of it.
    _problems.labels("http", _codes(_code))


def count_problem(door: Literal["http", "rpc"], code: str) -> None:
    """Count one problem that a client is told."""
    _problems.labels(door, _codes(code)).inc()


def count_model_lookup(*, hit: bool) -> None:
    """Count one look into the models held in memory."""
    _models.labels("hit" if hit else "load").inc()
