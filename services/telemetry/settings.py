"""Settings of metrics, traces and logs, the same for every service."""

from typing import Literal, TypeAlias

from pydantic import Field

from services.configuration import Configuration

LogFormat: TypeAlias = Literal["text", "json"]


class TelemetrySettings(Configuration):
    """Every field is an environment variable with the prefix INTIMA_, e.g. INTIMA_METRICS_PORT."""

    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Where Prometheus reads this process, apart from all other ports; null: nowhere. 0 takes a free port."""
    metrics_host: str = "127.0.0.1"
    """Needs no token, so never publish it: another address than loopback belongs on a private network."""
    otlp_endpoint: str | None = None
    """Base URL of an OpenTelemetry collector, e.g. http://collector:4318; null: no traces are exported."""
    log_format: LogFormat = "text"
    """json: one object per line."""
