"""Settings of the api, read from the environment once."""

from pathlib import Path

from pydantic import Field

from intima.contracts.model import ProviderName
from services.access.settings import AccessSettings
from services.stores import StoreConfiguration
from services.tls import TlsSettings

_MIB = 2**20


class Settings(StoreConfiguration, AccessSettings, TlsSettings):
    """Every field is a variable with the prefix INTIMA_, e.g. INTIMA_DATA, or a file (services/configuration.py)."""

    port: int = Field(default=8000, ge=1, le=65535)
    grpc_port: int | None = Field(default=None, ge=0, le=65535)
    """Null: no gRPC. 0 takes a free port."""
    grpc_workers: int = Field(default=16, ge=2, le=256)
    """Calls that run at once, at most half of them streams; half as many streams of segmentations run beside them."""
    max_message_bytes: int = Field(default=32 * _MIB, ge=2 * _MIB)
    """Limit of one gRPC message; uploads come in many."""
    stats_url: str | None = None
    """Where the stats service answers; null takes the next port on this host."""
    slots: int | None = Field(default=None, ge=1)
    """Slides that the api's Celery worker segments at a time; null: one per core."""
    alive_file: Path | None = None
    """A Celery worker touches it every 5 s while its event loop runs, for probes; null: none."""
    provider: ProviderName = "cpu"
    """Where ONNX Runtime runs models, in requests and in jobs; one that is not there is an error."""
    provider_fallback: bool = False
    """Whether the CPU may stand in for it. /readyz and every result say what was used."""
    tiles_per_run: int | None = Field(default=None, ge=1, le=64)
    """Tiles of a model's size that one run of a network takes from requests for raw tiles (/v2) together. Null: 8 on
    cuda, else 1, which shares nothing: a CPU gains nothing by it, TensorRT builds an engine for each number of tiles.
    """
    max_upload_bytes: int = Field(default=100 * _MIB, ge=1)
    """Limit of one slide upload in one request."""
    max_resumable_bytes: int = Field(default=8192 * _MIB, ge=1)
    """Limit of one upload over several requests (/v1/uploads); a proxy in front must let one as large through."""
    upload_hours: float = Field(default=48.0, gt=0, le=24 * 365)
    """An upload that is not whole, or not made a slide, is forgotten this long after its last byte."""
    max_dataset_bytes: int = Field(default=2048 * _MIB, ge=1)
    """Limit of one dataset zip."""
    max_image_pixels: int = Field(default=32_000_000, ge=1)
    """Largest image that POST /v1/segment answers in the request."""
    max_request_work_px: int = Field(default=12_000_000, ge=1)
    """Largest number of working pixels times passes that POST /v1/segment does in the request: some 20 s on a core."""
    silence_s: float = Field(default=30.0, gt=0)
    """A body or a stream that sends nothing for this long is ended (408, DEADLINE_EXCEEDED)."""

    grace_s: float = Field(default=5.0, ge=0)
    """Requests and calls in work are given this long to end when the service is told to stop."""

    @property
    def shared_tiles(self) -> int:
        """Tiles per run that requests share."""
        return self.tiles_per_run or (8 if self.provider == "cuda" else 1)

    @property
    def stats_address(self) -> str:
        """Base URL of the stats service."""
        return self.stats_url or f"http://127.0.0.1:{self.port + 1}"
