"""Settings of the stats service, read from the environment once."""

from pydantic import Field

from services.access.settings import AccessSettings
from services.stores import StoreConfiguration
from services.tls import TlsSettings


class Settings(StoreConfiguration, AccessSettings, TlsSettings):
    """Every field is a variable with the prefix INTIMA_, e.g. INTIMA_DATA, or a file (services/configuration.py)."""

    stats_port: int = Field(default=8001, ge=1, le=65535)
    stats_grpc_port: int | None = Field(default=None, ge=0, le=65535)
    """Null: no gRPC. 0 takes a free port."""
    stats_grpc_workers: int = Field(default=4, ge=1, le=64)
    max_body_bytes: int = Field(default=16 * 2**20, ge=1)
    """Limit of one request, on both doors."""
    silence_s: float = Field(default=30.0, gt=0)
    """A body that sends nothing for this long is ended with 408."""
    grace_s: float = Field(default=5.0, ge=0)
    """Requests and calls in work are given this long to end when the service is told to stop."""
