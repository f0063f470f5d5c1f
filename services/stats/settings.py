"""Settings of the stats service, read from the environment once."""

from pathlib import Path

from pydantic import Field

from services.access.settings import AccessSettings
from services.stores import StoreConfiguration
from services.tls import TlsFiles, choose_tls


class Settings(StoreConfiguration, AccessSettings):
    """Every field is a variable with the prefix INTIMA_, e.g. INTIMA_DATA, or a file (services/configuration.py)."""

    stats_port: int = Field(default=8001, ge=1, le=65535)
    stats_grpc_port: int | None = Field(default=None, ge=0, le=65535)
    """Null: no gRPC. 0 takes a free port."""
    stats_grpc_workers: int = Field(default=4, ge=1, le=64)
    grpc_tls_cert: Path | None = None
    """PEM file of the gRPC server's certificate and its chain; null: no TLS. Read again when it changes."""
    grpc_tls_key: Path | None = None
    """PEM file of its key."""
    grpc_tls_client_ca: Path | None = None
    """PEM file of who signs clients; where given, clients need such a certificate."""
    max_body_bytes: int = Field(default=16 * 2**20, ge=1)
    """Limit of one request, on both doors."""
    silence_s: float = Field(default=30.0, gt=0)
    """A body that sends nothing for this long is ended with 408."""
    grace_s: float = Field(default=5.0, ge=0)
    """Requests and calls in work are given this long to end when the service is told to stop."""

    @property
    def grpc_tls(self) -> TlsFiles | None:
        """Files of TLS; null: none. Raises Conflict for half of them."""
        return choose_tls(self.grpc_tls_cert, self.grpc_tls_key, self.grpc_tls_client_ca)
